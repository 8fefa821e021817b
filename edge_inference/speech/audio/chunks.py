"""Sound in chunks of any length to windows of a fixed one, with an eye on what is wrong with it."""

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
_LATEST_NS = 1_000_000_000
# A source that starts again may have another rate; two on one topic take turns.
_MOST_CHANGES = 8
_CHUNKS_A_CHANGE = 16


@dataclass(frozen=True)
class ChunkSettings:
    """What counts as a gap and as clipping."""

    gap_ms: float = setting(
        40.0,
        "a stamp that is off by more than this is a gap, where the source does not count",
        unit="ms",
        minimum=0.0,
    )
    max_filled_gap_ms: float = setting(
        120.0, "a shorter gap is filled with silence", unit="ms", minimum=0.0, maximum=1000.0
    )
    clipped_share: float = setting(
        0.01,
        "share of samples at full scale from which a chunk is clipped",
        minimum=0.0,
        maximum=1.0,
    )


@dataclass
class ChunkCounts:
    """What came so far: chunks, those left out for being late, gaps before one, clipped ones."""

    chunks: int = 0
    late: int = 0
    gaps: int = 0
    clipped: int = 0


class Window(NamedTuple):
    """One window; ``follows_gap`` tells that it does not go on from the one before."""

    samples: NDArray[np.float32]
    stamp_ns: int
    follows_gap: bool


class Rechunker:
    """Cuts a stream of chunks into windows of ``length`` samples at 16 kHz.

    Another rate is resampled. A chunk that does not start where the one before has ended, by
    stamp or by sequence number, is behind a gap: a short one is filled with silence, behind a
    longer one the stream starts anew, and what was left of the time before is dropped.
    One that comes after its successor, or twice, is late and left out.
    """

    def __init__(self, length: int = 512, settings: ChunkSettings | None = None) -> None:
        self.settings = settings or ChunkSettings()
        self.counts = ChunkCounts()
        self._length = length
        self._resampler: Resampler | None = None
        self._rate: int | None = None
        self._changes_left = float(_MOST_CHANGES)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next chunk starts another one."""
        self._rest: NDArray[np.float32] = np.zeros(0, np.float32)
        self._rest_ns = 0  # stamp of the rest's first sample
        self._last: AudioChunk | None = None
        self._follows_gap = True
        if self._resampler is not None:
            self._resampler.reset()

    def feed(self, chunk: AudioChunk) -> Iterator[Window]:
        """Yield the windows that a chunk completes.

        Raises InputError for one that is no sound, and while the rate changes all the time.
        """
        _check(chunk)
        self.counts.chunks += 1
        if not len(chunk.samples):
            return
        if self._is_late(chunk):
            self.counts.late += 1
            return
        self._follow_rate(chunk.sample_rate)
        if self._is_behind_gap(chunk):
            self.counts.gaps += 1
            chunk = self._bridged(chunk)
        self._note_clipping(chunk)
        self._append(chunk)
        self._last = chunk
        while len(self._rest) >= self._length:
            window = Window(self._rest[: self._length], self._rest_ns, self._follows_gap)
            self._rest = self._rest[self._length :]
            self._rest_ns += _duration_ns(self._length)
            self._follows_gap = False
            yield window

    def _follow_rate(self, rate: int) -> None:
        self._changes_left = min(_MOST_CHANGES, self._changes_left + 1 / _CHUNKS_A_CHANGE)
        if self._rate is not None and rate != self._rate:
            if self._changes_left < 1:
                raise InputError(
                    f"a chunk of {rate} samples a second behind one of {self._rate}: the rate "
                    "changes too often; stop all audio sources on this topic but one"
                )
            self._changes_left -= 1
        self._rate = rate

    def _is_late(self, chunk: AudioChunk) -> bool:
        if self._last is None or chunk.sequence > self._last.sequence:
            return False
        # Far behind, a source has started again or its clock was set back.
        return 0 <= self._last.stamp_ns - chunk.stamp_ns <= _LATEST_NS

    def _is_behind_gap(self, chunk: AudioChunk) -> bool:
        if self._last is None:
            return False
        if chunk.sample_rate != self._last.sample_rate:
            return True
        off_ns = abs(chunk.stamp_ns - self._last.end_ns)
        if chunk.sequence == self._last.sequence + 1:
            # Nothing is lost: a machine that was busy has stamped it late.
            return off_ns > _LATEST_NS
        # Sources that do not count leave the number as it is.
        return chunk.sequence != self._last.sequence or off_ns > self.settings.gap_ms * 1e6

    def _bridged(self, chunk: AudioChunk) -> AudioChunk:
        """Return the chunk with silence for what is missing before it, if that is little."""
        assert self._last is not None
        missing = round((chunk.stamp_ns - self._last.end_ns) * chunk.sample_rate / 1e9)
        most = self.settings.max_filled_gap_ms / 1e3 * chunk.sample_rate
        if not 0 < missing <= most or chunk.sample_rate != self._last.sample_rate:
            self.reset()
            return chunk
        samples = np.concatenate((np.zeros(missing, np.float32), chunk.samples))
        return replace(chunk, samples=samples, stamp_ns=self._last.end_ns)

    def _note_clipping(self, chunk: AudioChunk) -> None:
        share = float(np.mean(np.abs(chunk.samples) >= _FULL_SCALE))
        if share > self.settings.clipped_share:
            self.counts.clipped += 1

    def _append(self, chunk: AudioChunk) -> None:
        samples, waiting_s = chunk.samples, 0.0
        if chunk.sample_rate != SAMPLE_RATE:
            if self._resampler is None or self._resampler.rate != chunk.sample_rate:
                self._resampler = Resampler(chunk.sample_rate)
            samples = self._resampler.feed(samples)
            waiting_s = self._resampler.waiting_s
        self._rest = np.concatenate((self._rest, samples))
        # The newest stamp is the best: a clock that drifts must not add up to a gap.
        self._rest_ns = chunk.end_ns - round(waiting_s * 1e9) - _duration_ns(len(self._rest))


def _check(chunk: AudioChunk) -> None:
    samples = chunk.samples
    if samples.dtype != np.float32 or samples.ndim != 1:
        raise InputError(
            f"a chunk of {samples.dtype} {list(samples.shape)}; expected float32 [n] of one channel"
        )
    if not np.isfinite(samples).all():
        raise InputError("a chunk with samples that are no numbers; check the audio source")
    if not MIN_SAMPLE_RATE <= chunk.sample_rate <= MAX_SAMPLE_RATE:
        raise InputError(
            f"a chunk of {chunk.sample_rate} samples a second; expected {MIN_SAMPLE_RATE} to "
            f"{MAX_SAMPLE_RATE}; set the rate at the audio source"
        )
    check_rate(chunk.sample_rate)
    if len(samples) > chunk.sample_rate * MAX_CHUNK_S:
        raise InputError(
            f"a chunk of {len(samples) / chunk.sample_rate:.1f} s; expected at most "
            f"{MAX_CHUNK_S:g} s: a command waits for the chunk's end"
        )


def _duration_ns(samples: int) -> int:
    return round(samples * 1e9 / SAMPLE_RATE)
