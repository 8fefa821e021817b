"""A PI controller from the distance to a temperature to a power budget.

After Linux's power allocator (IPA): ``budget = sustainable + kp * error``, where the sustainable
part is the integral, so that no property of the board has to be known. Fast down, slow up. Power
may be in watts or, on a machine that measures none, in busy shares: gains follow the span.
"""

from __future__ import annotations

#: The whole span is taken away over this many degrees.
_PROPORTIONAL_C = 12.0
#: Time in which the integral moves as far as the proportional part.
_INTEGRAL_DOWN_S = 60.0
_INTEGRAL_UP_S = 120.0
#: The error is smoothed over this time: the forecast looks far ahead, and so do its errors.
_SMOOTH_S = 4.0
#: Share of the span by which the budget may rise in a second.
_RISE_PER_S = 0.02


class PowerController:
    """Holds the sustainable power; ``lowest`` and ``highest`` bound it, so nothing winds up."""

    def __init__(self) -> None:
        """Start with everything allowed."""
        self._sustainable = self._budget = 0.0
        self._error_c: float | None = None
        self._is_free = True

    def update(self, error_c: float, elapsed_s: float, lowest: float, highest: float) -> float:
        """Return the budget for a temperature ``error_c`` below its target (above: negative)."""
        error_c = self._smooth(error_c, elapsed_s)
        span = max(0.0, highest - lowest)
        gain = span / _PROPORTIONAL_C
        if self._is_free:
            # What was never held back is not held back by wanting more.
            self._sustainable = self._budget = highest
        integral_s = _INTEGRAL_UP_S if error_c > 0.0 else _INTEGRAL_DOWN_S
        moved = self._sustainable + gain * error_c * elapsed_s / integral_s
        self._sustainable = min(highest, max(lowest, moved))
        wanted = min(highest, max(lowest, self._sustainable + gain * error_c))
        wanted = min(wanted, max(lowest, self._budget) + _RISE_PER_S * span * elapsed_s)
        self._budget = wanted
        self._is_free = wanted >= highest and self._sustainable >= highest
        return wanted

    def drop(self) -> None:
        """Give up everything at once; it comes back as slowly as any rise."""
        self._budget = 0.0
        self._is_free = False

    def _smooth(self, error_c: float, elapsed_s: float) -> float:
        if self._error_c is None:
            self._error_c = error_c
        self._error_c += min(1.0, elapsed_s / _SMOOTH_S) * (error_c - self._error_c)
        return self._error_c
