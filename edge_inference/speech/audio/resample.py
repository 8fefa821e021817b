"""Any sound to mono float32 at 16 kHz, piece by piece without a click between the pieces.

The filter is a sinc in a Kaiser window, one set of weights for each phase that the ratio of the
rates has (Crochiere & Rabiner, "Multirate Digital Signal Processing", 1983). It is centred, so a
sound keeps its place in time; the price is that the last millisecond waits for what follows.
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
# Every usual rate needs a tenth of it, and one without a common factor the hundredfold.
_MOST_WEIGHTS = 1 << 19
_KAISER_BETA = 8.0
# Leaves the filter room to fall off before the lower rate's limit.
_PASS_BAND = 0.95
_FULL_SCALE = {np.dtype(f"int{bits}"): 2.0 ** (bits - 1) for bits in (16, 32)}


def to_mono(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return float32 [n] within -1..1 from [n] or [n, channels] of int16, int32 or float.

    Channels are averaged. Floats beyond -1..1 are cut off. Raises InputError for another type
    or shape, and for values that are no numbers.
    """
    scale = _FULL_SCALE.get(samples.dtype)
    if scale is None and samples.dtype.kind != "f":
        raise InputError(f"samples are {samples.dtype}; expected int16, int32, float32 or float64")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not samples.shape[1]):
        raise InputError(f"samples have shape {list(samples.shape)}; expected [n] or [n, channels]")
    values = samples.astype(np.float32)
    if scale is not None:
        values /= np.float32(scale)
    if values.ndim == 2:
        values = values.mean(axis=1, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("samples that are no numbers (NaN or infinite); check the audio source")
    mono: NDArray[np.float32] = np.clip(values, -1.0, 1.0)
    return mono


def check_rate(rate: int, target: int = SAMPLE_RATE) -> None:
    """Raise InputError for a rate that cannot be, or whose filter would be too large."""
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise InputError(
            f"rate: expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} samples a second, got {rate}"
        )
    up, down = _ratio(rate, target)
    if up * 2 * _half_length(up, down) > _MOST_WEIGHTS:
        raise InputError(
            f"rate: expected a usual one such as 8000, 44100 or 48000 samples a second, got "
            f"{rate}, which is {down}/{up} of {target}; set another rate at the audio source"
        )


class Resampler:
    """Changes the rate of one stream of float32 [n]; ``feed`` pieces of any length in order."""

    def __init__(self, rate: int, target: int = SAMPLE_RATE) -> None:
        check_rate(target, target)
        check_rate(rate, target)
        self.rate, self.target = rate, target
        self._up, self._down = _ratio(rate, target)
        self._weights = _weights(self._up, self._down)
        self._half: int = self._weights.shape[1] // 2
        self.reset()

    @property
    def waiting_s(self) -> float:
        """Seconds of sound that were fed and wait for what follows."""
        if self._up == self._down:
            return 0.0
        ahead = len(self._kept) - (self._half - 1) - self._next / self._up
        return float(ahead / self.rate)

    def reset(self) -> None:
        """Forget the stream; the next piece starts another one."""
        self._kept: NDArray[np.float32] = np.zeros(self._half - 1, np.float32)
        # The next output's place, in 1 / up of an input sample, from the first one it can have.
        self._next = 0

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what can be said of the sound so far and was not returned yet."""
        if self._up == self._down:
            return samples
        # By the second, since every result takes a window of its own while it is computed.
        seconds = np.split(samples, range(self.rate, len(samples), self.rate))
        return np.concatenate([self._feed(second) for second in seconds])

    def _feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        line = np.concatenate((self._kept, samples))
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
        self._kept = line[used:]
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
    """Return by how much the rate goes up, and then down."""
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
    weights /= weights.sum(axis=1, keepdims=True)  # a constant stays what it is
    narrow: NDArray[np.float32] = weights.astype(np.float32)
    narrow.flags.writeable = False
    return narrow
