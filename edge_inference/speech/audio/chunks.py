"""Converts audio chunks of any length to windows of fixed length, and counts defects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.audio import MAX_CHUNK_S, SAMPLE_RATE, AudioChunk
from edge_inference.core.settings import setting
from edge_inference.errors import InputError
from edge_inference.speech.audio.resample import (
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    Resampler,
    check_rate,
)

_FULL_SCALE = 0.999
_MAX_LATE_NS = 1_000_000_000
# A restarted source may have another rate. Two sources on one topic alternate between rates.
_MAX_RATE_CHANGES = 8
_CHUNKS_PER_CHANGE = 16


@dataclass(frozen=True)
class ChunkSettings:
    """Limits from which a gap or clipping is counted."""

    gap_ms: float = setting(
        40.0,
        "a stamp error above this is a gap, if the source does not number its chunks",
        unit="ms",
        minimum=0.0,
    )
    max_filled_gap_ms: float = setting(
        120.0, "longest gap that is filled with silence", unit="ms", minimum=0.0, maximum=1000.0
    )
    clipped_share: float = setting(
        0.01,
        "share of samples at full scale above which a chunk counts as clipped",
        minimum=0.0,
        maximum=1.0,
    )


@dataclass
class ChunkCounts:
    """Counts since the start: all chunks, late chunks (dropped), gaps, clipped chunks."""

    chunks: int = 0
    late: int = 0
    gaps: int = 0
    clipped: int = 0


class Window(NamedTuple):
    """One window; ``follows_gap``: it does not continue the previous window."""

    samples: NDArray[np.float32]
    stamp_ns: int
    follows_gap: bool


class Rechunker:
    """Cuts a stream of chunks into windows of ``length`` samples at 16 kHz.

    It resamples other rates. A chunk follows a gap if it does not start where the previous chunk
    ended, by stamp or by sequence number. A short gap is filled with silence. After a longer gap
    the stream restarts and the remaining samples from before the gap are dropped.
    A chunk that arrives after its successor, or twice, is late and is dropped.
    """

    def __init__(self, length: int = 512, settings: ChunkSettings | None = None) -> None:
        self.settings = settings or ChunkSettings()
        self.counts = ChunkCounts()
        self._length = length
        self._resampler: Resampler | None = None
        self._rate: int | None = None
        self._changes_left = float(_MAX_RATE_CHANGES)
        self.reset()

    def reset(self) -> None:
        """Discard the stream; the next chunk starts a new one."""
        self._pending: NDArray[np.float32] = np.zeros(0, np.float32)
        self._pending_ns = 0  # stamp of the first pending sample
        self._last: AudioChunk | None = None
        self._follows_gap = True
        if self._resampler is not None:
            self._resampler.reset()

    def feed(self, chunk: AudioChunk) -> Iterator[Window]:
        """Yield the windows that a chunk completes.

        Raises InputError for an invalid chunk, and while the rate changes too often.
        """
        _check_chunk(chunk)
        self.counts.chunks += 1
        if not len(chunk.samples):
            return
        if self._is_late(chunk):
            self.counts.late += 1
            return
        self._follow_rate(chunk.sample_rate)
        if self._follows_a_gap(chunk):
            self.counts.gaps += 1
            chunk = self._fill_gap(chunk)
        self._count_clipping(chunk)
        self._append(chunk)
        self._last = chunk
        while len(self._pending) >= self._length:
            window = Window(self._pending[: self._length], self._pending_ns, self._follows_gap)
            self._pending = self._pending[self._length :]
            self._pending_ns += _duration_ns(self._length)
            self._follows_gap = False
            yield window

    def _follow_rate(self, rate: int) -> None:
        self._changes_left = min(_MAX_RATE_CHANGES, self._changes_left + 1 / _CHUNKS_PER_CHANGE)
        if self._rate is not None and rate != self._rate:
            if self._changes_left < 1:
                raise InputError(
                    f"an audio chunk of {rate} Hz follows one of {self._rate} Hz: the rate "
                    "changes too often; stop all audio sources on this topic but one"
                )
            self._changes_left -= 1
        self._rate = rate

    def _is_late(self, chunk: AudioChunk) -> bool:
        if self._last is None or chunk.sequence > self._last.sequence:
            return False
        # A much older stamp means that the source restarted or its clock was set back.
        return 0 <= self._last.stamp_ns - chunk.stamp_ns <= _MAX_LATE_NS

    def _follows_a_gap(self, chunk: AudioChunk) -> bool:
        if self._last is None:
            return False
        if chunk.sample_rate != self._last.sample_rate:
            return True
        error_ns = abs(chunk.stamp_ns - self._last.end_ns)
        if chunk.sequence == self._last.sequence + 1:
            # No chunk is missing: a busy machine stamped this one late.
            return error_ns > _MAX_LATE_NS
        # Sources that do not number their chunks leave the number unchanged.
        return chunk.sequence != self._last.sequence or error_ns > self.settings.gap_ms * 1e6

    def _fill_gap(self, chunk: AudioChunk) -> AudioChunk:
        """Return the chunk with a short gap before it filled with silence."""
        assert self._last is not None
        missing = round((chunk.stamp_ns - self._last.end_ns) * chunk.sample_rate / 1e9)
        max_missing = self.settings.max_filled_gap_ms / 1e3 * chunk.sample_rate
        if not 0 < missing <= max_missing or chunk.sample_rate != self._last.sample_rate:
            self.reset()
            return chunk
        samples = np.concatenate((np.zeros(missing, np.float32), chunk.samples))
        return replace(chunk, samples=samples, stamp_ns=self._last.end_ns)

    def _count_clipping(self, chunk: AudioChunk) -> None:
        ratio = float(np.mean(np.abs(chunk.samples) >= _FULL_SCALE))
        if ratio > self.settings.clipped_share:
            self.counts.clipped += 1

    def _append(self, chunk: AudioChunk) -> None:
        samples, pending_s = chunk.samples, 0.0
        if chunk.sample_rate != SAMPLE_RATE:
            if self._resampler is None or self._resampler.rate != chunk.sample_rate:
                self._resampler = Resampler(chunk.sample_rate)
            samples = self._resampler.feed(samples)
            pending_s = self._resampler.pending_s
        self._pending = np.concatenate((self._pending, samples))
        # Use the newest stamp: the drift of a clock must not add up to a gap.
        self._pending_ns = chunk.end_ns - round(pending_s * 1e9) - _duration_ns(len(self._pending))


def _check_chunk(chunk: AudioChunk) -> None:
    samples = chunk.samples
    if samples.dtype != np.float32 or samples.ndim != 1:
        raise InputError(
            f"audio chunk: expected float32 [n] of one channel, got {samples.dtype} "
            f"{list(samples.shape)}"
        )
    if not np.isfinite(samples).all():
        raise InputError(
            "audio chunk: expected finite samples, got NaN or infinity; check the audio source"
        )
    if not MIN_SAMPLE_RATE <= chunk.sample_rate <= MAX_SAMPLE_RATE:
        raise InputError(
            f"audio chunk: expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, got "
            f"{chunk.sample_rate} Hz; set the rate at the audio source"
        )
    check_rate(chunk.sample_rate)
    if len(samples) > chunk.sample_rate * MAX_CHUNK_S:
        raise InputError(
            f"audio chunk: expected at most {MAX_CHUNK_S:g} s, got "
            f"{len(samples) / chunk.sample_rate:.1f} s; send shorter chunks: a command waits for "
            "the end of a chunk"
        )


def _duration_ns(samples: int) -> int:
    return round(samples * 1e9 / SAMPLE_RATE)
