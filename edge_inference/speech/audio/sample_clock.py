"""Time stamps of samples, from their count and their arrival times."""

from __future__ import annotations

#: The clocks of device and computer differ by some 100 ppm; this part of the error is corrected
#: with each block.
_GAIN = 0.01
#: A larger error means lost samples or a clock that was set: the count restarts.
_MAX_ERROR_NS = 200_000_000


class SampleClock:
    """Stamps blocks of audio evenly although they arrive unevenly.

    A first-order loop: each block starts where the last one ended, corrected by a hundredth of
    the difference from its arrival time.
    """

    def __init__(self) -> None:
        self._end_ns: float | None = None

    def stamp_ns(self, count: int, sample_rate: int, now_ns: int) -> int:
        """Return the time of the first of ``count`` samples whose last arrived at ``now_ns``."""
        length_ns = count * 1e9 / sample_rate
        measured_ns = now_ns - length_ns
        start_ns = measured_ns if self._end_ns is None else self._end_ns
        error_ns = measured_ns - start_ns
        start_ns += error_ns if abs(error_ns) > _MAX_ERROR_NS else error_ns * _GAIN
        self._end_ns = start_ns + length_ns
        return round(start_ns)
