from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.audio import AudioChunk
from edge_inference.errors import InputError
from edge_inference.speech.audio.chunks import ChunkCounts, Rechunker

MS = 1_000_000
START = 5_000 * MS


def chunk(
    at_ms: float, length: int = 512, sequence: int = 0, rate: int = 16_000, value: float = 0.1
) -> AudioChunk:
    samples = np.full(length, value, np.float32)
    return AudioChunk(samples, rate, START + round(at_ms * MS), sequence)


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (np.zeros(5, np.int16), "int16"),
        (np.zeros((5, 2), np.float32), r"\[5, 2\]"),
        (np.full(5, np.nan, np.float32), "expected finite samples"),
        (np.zeros(16_000 * 31, np.float32), "expected at most 30 s, got 31.0 s"),
    ],
)
def test_invalid_chunk_is_refused(samples: np.ndarray, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        list(Rechunker().feed(AudioChunk(samples, 16_000, 0)))


@pytest.mark.parametrize("rate", [0, 3_999, 192_001, 2**32 - 1])
def test_rate_out_of_range_is_refused(rate: int) -> None:
    with pytest.raises(InputError, match=f"expected 4000 to 192000 Hz, got {rate} Hz"):
        list(Rechunker().feed(AudioChunk(np.zeros(5, np.float32), rate, 0)))


def test_empty_chunk_changes_nothing() -> None:
    rechunker = Rechunker()
    assert list(rechunker.feed(chunk(0, length=0))) == []
    (window,) = rechunker.feed(chunk(10_000))
    assert (window.stamp_ns, rechunker.counts.gaps) == (START + 10_000 * MS, 0)


@given(st.lists(st.integers(1, 2_000), max_size=12))
def test_windows_keep_order_and_stamps(lengths: list[int]) -> None:
    rechunker = Rechunker()
    total = sum(lengths)
    stream = 0.9 * np.arange(total, dtype=np.float32) / max(total, 1)
    windows, at = [], 0
    for number, length in enumerate(lengths):
        piece = AudioChunk(stream[at : at + length], 16_000, START + at * 62_500, number)
        windows += rechunker.feed(piece)
        at += length
    assert len(windows) == total // 512
    for number, window in enumerate(windows):
        assert np.array_equal(window.samples, stream[number * 512 : (number + 1) * 512])
        assert window.stamp_ns == START + number * 32 * MS
        assert window.follows_gap == (number == 0)
    assert rechunker.counts == ChunkCounts(chunks=len(lengths))


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_resampling_keeps_the_stamps(rate: int) -> None:
    rechunker = Rechunker()
    length = rate // 100
    windows = []
    for number in range(100):
        windows += rechunker.feed(chunk(10 * number, length, number, rate, 0.25))
    assert len(windows) in (30, 31)
    stamps = [window.stamp_ns - START for window in windows]
    assert stamps == pytest.approx([32 * MS * n for n in range(len(windows))], abs=0.1 * MS)
    assert windows[20].samples == pytest.approx(np.full(512, 0.25), abs=1e-4)


@pytest.mark.parametrize(
    ("second", "counts"),
    [
        (chunk(32, sequence=1), ChunkCounts(2)),
        (chunk(32, sequence=0), ChunkCounts(2)),  # a source without sequence numbers
        (chunk(65, sequence=1), ChunkCounts(2)),  # a jitter of 33 ms
        (chunk(32, sequence=2), ChunkCounts(2, gaps=1)),
        (chunk(200, sequence=9), ChunkCounts(2, gaps=1)),
        (chunk(200, sequence=0), ChunkCounts(2, gaps=1)),
        (chunk(1_100, sequence=1), ChunkCounts(2, gaps=1)),
        # Consecutive numbers, but late stamps of a busy machine.
        (chunk(500, sequence=1), ChunkCounts(2)),
        (chunk(-100, sequence=1), ChunkCounts(2)),
        (chunk(32, sequence=1, rate=48_000, length=1_536), ChunkCounts(2, gaps=1)),
        (chunk(0, sequence=0), ChunkCounts(2, late=1)),  # twice
        (chunk(-32, sequence=-1), ChunkCounts(2, late=1)),
        (chunk(-9_000, sequence=0), ChunkCounts(2, gaps=1)),  # the clock was set back
        (chunk(9_000, sequence=0), ChunkCounts(2, gaps=1)),
        (chunk(32, sequence=1, value=-1.0), ChunkCounts(2, clipped=1)),
    ],
)
def test_defects_are_counted(second: AudioChunk, counts: ChunkCounts) -> None:
    rechunker = Rechunker()
    list(rechunker.feed(chunk(0)))
    windows = list(rechunker.feed(second))
    assert rechunker.counts == counts
    assert [window.follows_gap for window in windows] in ([], [counts.gaps == 1])
    if counts.late:
        assert windows == []


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("sequence", [0, 2, 3])
def test_short_gap_is_filled_with_silence(sequence: int, rate: int) -> None:
    rechunker, length = Rechunker(), rate * 32 // 1000
    windows = list(rechunker.feed(chunk(0, length, rate=rate)))
    windows += rechunker.feed(chunk(96, length, sequence=sequence, rate=rate))
    windows += rechunker.feed(chunk(128, length, sequence=sequence + 1, rate=rate))
    windows = windows[:4]  # after resampling the last one waits for more input
    assert [window.follows_gap for window in windows] == [True, False, False, False]
    stamps = [(window.stamp_ns - START) / MS for window in windows]
    assert stamps == pytest.approx([0, 32, 64, 96], abs=0.1)
    levels = [float(np.median(window.samples)) for window in windows]
    assert levels == pytest.approx([0.1, 0.0, 0.0, 0.1], abs=1e-3)
    assert rechunker.counts == ChunkCounts(chunks=3, gaps=1)


@pytest.mark.parametrize("at_ms", [-20, 500])
def test_consecutive_sequence_numbers_mean_no_gap(at_ms: int) -> None:
    rechunker = Rechunker()
    list(rechunker.feed(chunk(0)))
    (window,) = rechunker.feed(chunk(at_ms, sequence=1))
    assert not window.follows_gap and window.stamp_ns == START + at_ms * MS
    assert window.samples == pytest.approx(np.full(512, 0.1))


def test_gap_drops_pending_samples() -> None:
    rechunker = Rechunker()
    assert list(rechunker.feed(chunk(0, length=500, value=0.9))) == []
    (window,) = rechunker.feed(chunk(200, sequence=5))
    assert window.follows_gap
    assert window.stamp_ns == START + 200 * MS
    assert window.samples == pytest.approx(np.full(512, 0.1))


def test_late_chunk_does_not_affect_the_next() -> None:
    rechunker = Rechunker()
    for sequence, at in [(0, 0), (1, 32), (0, 0), (2, 64)]:
        list(rechunker.feed(chunk(at, sequence=sequence)))
    assert rechunker.counts == ChunkCounts(chunks=4, late=1)


def test_drifting_clock_is_followed() -> None:
    rechunker = Rechunker()
    last = 0
    for number in range(2_000):
        (window,) = rechunker.feed(chunk(32.1 * number, sequence=number))
        last = window.stamp_ns
    assert last == START + round(32.1 * 1_999 * MS)
    assert rechunker.counts.gaps == 0
