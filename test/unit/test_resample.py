from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.errors import InputError
from edge_inference.speech.audio.resample import Resampler, to_mono

RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000]


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (np.zeros(3, np.uint8), "expected int16, .*, got uint8"),
        (np.zeros(3, np.complex64), "got complex64"),
        (np.zeros((1, 2, 3), np.int16), r"shape .*, got \[1, 2, 3\]"),
        (np.zeros((3, 0), np.int16), r"shape .*, got \[3, 0\]"),
        (np.float32(1.0) * np.ones(()), r"shape .*, got \[\]"),
        (np.array([0.0, np.nan]), "expected finite numbers"),
        (np.array([np.inf]), "expected finite numbers"),
    ],
)
def test_invalid_samples_are_refused(samples: np.ndarray, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        to_mono(samples)


@pytest.mark.parametrize(
    ("samples", "mono"),
    [
        (np.zeros(0, np.int16), []),
        (np.array([-32768, 16384], np.int16), [-1.0, 0.5]),
        (np.array([-(2**31), 2**30], np.int32), [-1.0, 0.5]),
        (np.array([0.25, -3.0, 3.0]), [0.25, -1.0, 1.0]),
        (np.array([[0.5, 0.0], [1.0, -1.0]], np.float32), [0.25, 0.0]),
        (np.array([[32767, -32768]], np.int16), [-1 / 65536]),
    ],
)
def test_any_format_becomes_mono(samples: np.ndarray, mono: list[float]) -> None:
    result = to_mono(samples)
    assert result.dtype == np.float32
    assert result == pytest.approx(mono)


@pytest.mark.parametrize("rate", [-1, 0, 3_999, 192_001])
def test_rate_out_of_range_is_refused(rate: int) -> None:
    with pytest.raises(InputError, match=f"rate: expected 4000 to 192000 .* got {rate}"):
        Resampler(rate)


def test_target_rate_is_passed_through() -> None:
    samples = np.ones(5, np.float32)
    resampler = Resampler(16_000)
    assert resampler.feed(samples) is samples
    assert (len(resampler.flush()), resampler.pending_s) == (0, 0.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("pitch", [50.0, 440.0, 3_000.0])
def test_tone_keeps_frequency_phase_and_amplitude(rate: int, pitch: float) -> None:
    def tone(at: int) -> np.ndarray:
        return (0.5 * np.sin(2 * np.pi * pitch * np.arange(at // 2) / at)).astype(np.float32)

    resampler = Resampler(rate)
    result = np.concatenate((resampler.feed(tone(rate)), resampler.flush()))
    assert abs(len(result) - 8_000) <= 1
    inner = slice(
        200, 7_800
    )  # without the ends, where the tone starts and stops with a wide spectrum
    assert result[inner] == pytest.approx(tone(16_000)[inner], abs=2e-3)


def test_frequencies_above_nyquist_are_removed() -> None:
    high = np.sin(2 * np.pi * 10_000 * np.arange(48_000) / 48_000).astype(np.float32)
    assert np.abs(Resampler(48_000).feed(high)[100:]).max() < 1e-3


@given(st.sampled_from(RATES), st.lists(st.integers(0, 900), max_size=8), st.integers(0, 9))
def test_blocks_give_the_same_result_as_the_whole(rate: int, cuts: list[int], seed: int) -> None:
    whole = np.random.default_rng(seed).uniform(-1, 1, 3_000).astype(np.float32)
    at_once, in_pieces = Resampler(rate), Resampler(rate)
    wanted = np.concatenate((at_once.feed(whole), at_once.flush()))
    pieces = np.split(whole, np.minimum(np.cumsum(cuts), len(whole)).astype(int))
    found = np.concatenate([*(in_pieces.feed(piece) for piece in pieces), in_pieces.flush()])
    assert found == pytest.approx(wanted, abs=1e-6)


@given(st.sampled_from(RATES), st.lists(st.integers(1, 2_000), min_size=1, max_size=5))
def test_pending_and_output_equal_the_input(rate: int, lengths: list[int]) -> None:
    resampler = Resampler(rate)
    out = sum(len(resampler.feed(np.zeros(length, np.float32))) for length in lengths)
    assert out / 16_000 + resampler.pending_s == pytest.approx(sum(lengths) / rate)


def test_reset_starts_a_new_stream() -> None:
    resampler, fresh = Resampler(44_100), Resampler(44_100)
    resampler.feed(np.ones(777, np.float32))
    resampler.reset()
    samples = np.linspace(-1, 1, 500, dtype=np.float32)
    assert np.array_equal(resampler.feed(samples), fresh.feed(samples))


def test_long_block_equals_its_parts() -> None:
    sound = np.sin(np.arange(48_000 * 3 + 7) / 20).astype(np.float32)
    parts, whole = Resampler(48_000), Resampler(48_000)
    pieces = [parts.feed(piece) for piece in np.array_split(sound, 50)]
    assert np.array_equal(whole.feed(sound), np.concatenate(pieces))
