"""Watches the throttling of the machine itself; it takes precedence over any temperature."""

from __future__ import annotations

import math

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, Role

#: A counter reports single events; after an increase, throttling counts as active this long.
_EVENT_HOLD_S = 5.0
#: While the machine throttles, the factor is multiplied by this, at first and at intervals.
_CUT = 0.7
_CUT_INTERVAL_S = 3.0
#: Afterwards the factor stays for a while, then rises by this much per second.
_HOLD_S = 10.0
_RISE_PER_S = 0.02


class ThrottleWatch:
    """Remembers counters, and the factor to apply while the machine throttles."""

    def __init__(self) -> None:
        """Start without counters; the first value of a counter is its reference."""
        self._counts: dict[str, float] = {}
        self._rose_s: dict[str, float] = {}
        self._time_s = 0.0
        self._cut_s: float | None = None
        self._quiet_since_s: float | None = None
        #: Share of full speed that remains while the machine throttles.
        self.factor = 1.0

    def update(self, state: PlatformState, elapsed_s: float, minimum: float) -> tuple[str, ...]:
        """Update ``factor`` and return descriptions of what throttles the machine."""
        self._time_s += elapsed_s
        readings = state.by_role(Role.THROTTLE)
        active = tuple(filter(None, (self._describe(each) for each in readings)))
        if active:
            self._cut(minimum)
        elif self._cut_s is not None:
            self._recover(elapsed_s)
        return active

    def _describe(self, reading: Reading) -> str:
        """Describe the throttling that a reading reports; return an empty text for none."""
        value = reading.value
        if value is None or not math.isfinite(value):
            return ""
        if reading.quantity is not Quantity.COUNT:
            return f"{reading.name} is {value:g}" if value > 0.0 else ""
        before = self._counts.get(reading.name, value)
        self._counts[reading.name] = value
        if value > before:
            self._rose_s[reading.name] = self._time_s
        rose_s = self._rose_s.get(reading.name)
        if rose_s is None or self._time_s - rose_s > _EVENT_HOLD_S:
            return ""
        return f"{reading.name} rose to {value:g}"

    def _cut(self, minimum: float) -> None:
        self._quiet_since_s = None
        if self._cut_s is None or self._time_s - self._cut_s >= _CUT_INTERVAL_S:
            self.factor = max(minimum, self.factor * _CUT)
            self._cut_s = self._time_s

    def _recover(self, elapsed_s: float) -> None:
        if self._quiet_since_s is None:
            self._quiet_since_s = self._time_s
        if self._time_s - self._quiet_since_s < _HOLD_S:
            return
        self.factor = min(1.0, self.factor + _RISE_PER_S * elapsed_s)
        if self.factor >= 1.0:
            self._cut_s = self._quiet_since_s = None
