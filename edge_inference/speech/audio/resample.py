"""Streaming conversion of audio to mono float32 at 16 kHz, without clicks between blocks.

The polyphase filter is a sinc in a Kaiser window, with one set of weights for each phase of the
ratio of the rates (Crochiere & Rabiner, "Multirate Digital Signal Processing", 1983). The filter is
centred, so the output is not delayed in time; therefore the last millisecond waits for more input.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.errors import InputError

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4_000, 192_000
_ZERO_CROSSINGS = 16
# Common rates need a tenth of this; a rate without a common factor needs a hundred times as many.
_MAX_WEIGHTS = 1 << 19
_KAISER_BETA = 8.0
# Leaves a transition band below the Nyquist frequency of the lower rate.
_PASS_BAND = 0.95
_FULL_SCALE = {np.dtype(f"int{bits}"): 2.0 ** (bits - 1) for bits in (16, 32)}


def to_mono(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return float32 [n] within -1..1 from [n] or [n, channels] of int16, int32 or float.

    Channels are averaged. Floats outside -1..1 are clipped. Raises InputError for another type
    or shape, and for NaN or infinity.
    """
    scale = _FULL_SCALE.get(samples.dtype)
    if scale is None and samples.dtype.kind != "f":
        raise InputError(f"samples: expected int16, int32, float32 or float64, got {samples.dtype}")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not samples.shape[1]):
        raise InputError(f"samples: expected shape [n] or [n, channels], got {list(samples.shape)}")
    values = samples.astype(np.float32)
    if scale is not None:
        values /= np.float32(scale)
    if values.ndim == 2:
        values = values.mean(axis=1, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(
            "samples: expected finite numbers, got NaN or infinity; check the audio source"
        )
    mono: NDArray[np.float32] = np.clip(values, -1.0, 1.0)
    return mono


def check_rate(rate: int, target: int = SAMPLE_RATE) -> None:
    """Raise InputError for a rate out of range, or one whose filter would be too large."""
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise InputError(f"rate: expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, got {rate}")
    up, down = _ratio(rate, target)
    if up * 2 * _half_length(up, down) > _MAX_WEIGHTS:
        raise InputError(
            f"rate: expected a common rate such as 8000, 44100 or 48000 Hz, got {rate}, which is "
            f"{down}/{up} of {target}; set another rate at the audio source"
        )


class Resampler:
    """Resamples one stream of float32 [n]; ``feed`` takes blocks of any length, in order."""

    def __init__(self, rate: int, target: int = SAMPLE_RATE) -> None:
        check_rate(target, target)
        check_rate(rate, target)
        self.rate, self.target = rate, target
        self._up, self._down = _ratio(rate, target)
        self._weights = _weights(self._up, self._down)
        self._half: int = self._weights.shape[1] // 2
        self.reset()

    @property
    def pending_s(self) -> float:
        """Seconds of input that wait for more input."""
        if self._up == self._down:
            return 0.0
        ahead = len(self._history) - (self._half - 1) - self._next / self._up
        return float(ahead / self.rate)

    def reset(self) -> None:
        """Discard the stream; the next block starts a new one."""
        self._history: NDArray[np.float32] = np.zeros(self._half - 1, np.float32)
        # The position of the next output sample, in 1 / up of an input sample.
        self._next = 0

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the output samples that the new input completes."""
        if self._up == self._down:
            return samples
        # One second at a time, to limit memory: each output sample needs a window of its own.
        seconds = np.split(samples, range(self.rate, len(samples), self.rate))
        return np.concatenate([self._feed(second) for second in seconds])

    def _feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        line = np.concatenate((self._history, samples))
        ready = (len(line) - 2 * self._half + 1) * self._up - self._next
        count = max(0, -(-ready // self._down))
        places = self._next + np.arange(count) * self._down
        starts, phases = places // self._up, places % self._up
        result = np.zeros(0, np.float32)
        if count:
            windows = np.lib.stride_tricks.sliding_window_view(line, 2 * self._half)
            result = np.einsum("ij,ij->i", windows[starts], self._weights[phases])
        self._next += count * self._down
        used = min(self._next // self._up, len(line))
        self._history = line[used:]
        self._next -= used * self._up
        return result

    def flush(self) -> NDArray[np.float32]:
        """Return the end of the stream, as if silence followed, and ``reset``."""
        if self._up == self._down:
            return np.zeros(0, np.float32)
        rest = self.feed(np.zeros(self._half, np.float32))
        self.reset()
        return rest


def _ratio(rate: int, target: int) -> tuple[int, int]:
    """Return the factors of upsampling and downsampling."""
    common = math.gcd(rate, target)
    return target // common, rate // common


def _cutoff(up: int, down: int) -> float:
    return _PASS_BAND * min(1.0, up / down)


def _half_length(up: int, down: int) -> int:
    return math.ceil(_ZERO_CROSSINGS / _cutoff(up, down))


@functools.lru_cache(maxsize=16)
def _weights(up: int, down: int) -> NDArray[np.float32]:
    """Return weights [phase, tap]; taps run from ``half - 1`` before to ``half`` after."""
    cutoff, half = _cutoff(up, down), _half_length(up, down)
    taps = np.arange(1 - half, half + 1)
    distance = taps[None, :] - np.arange(up)[:, None] / up
    window = np.i0(_KAISER_BETA * np.sqrt(np.maximum(0.0, 1.0 - (distance / half) ** 2)))
    weights = np.sinc(cutoff * distance) * window
    weights /= weights.sum(axis=1, keepdims=True)  # unity gain for a constant signal
    narrow: NDArray[np.float32] = weights.astype(np.float32)
    narrow.flags.writeable = False
    return narrow
