"""Moments of samples, from how many there were and when they came."""

from __future__ import annotations

#: A device's clock and ours differ by some 100 ppm; so much of what is seen is put right at once.
_SHARE = 0.01
#: Beyond this something was lost, or a clock was set: counting starts anew.
_JUMP_NS = 200_000_000


class SampleClock:
    """Stamps pieces of sound evenly although they come unevenly.

    A first-order loop: each piece begins where the last one ended, moved by a
    hundredth of what the moment of its coming says.
    """

    def __init__(self) -> None:
        self._end_ns: float | None = None

    def stamp_ns(self, count: int, sample_rate: int, now_ns: int) -> int:
        """Return the moment of the first of ``count`` samples whose last came at ``now_ns``."""
        length_ns = count * 1e9 / sample_rate
        seen_ns = now_ns - length_ns
        start_ns = seen_ns if self._end_ns is None else self._end_ns
        off_ns = seen_ns - start_ns
        start_ns += off_ns if abs(off_ns) > _JUMP_NS else off_ns * _SHARE
        self._end_ns = start_ns + length_ns
        return round(start_ns)
