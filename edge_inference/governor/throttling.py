"""What the machine itself says: it slows down. That counts more than any temperature."""

from __future__ import annotations

import math

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, Role

#: A count that rose tells of a moment; it is taken to hold for this long.
_COUNT_HOLDS_S = 5.0
#: While the machine slows itself down, this share is left at first and then every few seconds.
_CUT = 0.7
_CUT_EVERY_S = 3.0
#: Afterwards nothing is given back for a while, then this much in a second.
_REST_S = 10.0
_GIVEN_BACK_PER_S = 0.02


class ThrottleWatch:
    """Remembers counts, and how much is to be left while the machine slows itself down."""

    def __init__(self) -> None:
        """Start with nothing seen; the first value of a count is what later ones compare with."""
        self._counts: dict[str, float] = {}
        self._rose_s: dict[str, float] = {}
        self._time_s = 0.0
        self._cut_s: float | None = None
        self._quiet_since_s: float | None = None
        #: Share of full speed that the machine's own throttling leaves.
        self.factor = 1.0

    def look(self, state: PlatformState, elapsed_s: float, minimum: float) -> tuple[str, ...]:
        """Return what slows the machine down, in words, and bring ``factor`` up to date."""
        self._time_s += elapsed_s
        held = tuple(filter(None, (self._words(each) for each in state.by_role(Role.THROTTLE))))
        if held:
            self._tighten(minimum)
        elif self._cut_s is not None:
            self._relax(elapsed_s)
        return held

    def _words(self, reading: Reading) -> str:
        """Say what a reading tells of throttling; nothing where it tells of none."""
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
        if rose_s is None or self._time_s - rose_s > _COUNT_HOLDS_S:
            return ""
        return f"{reading.name} rose to {value:g}"

    def _tighten(self, minimum: float) -> None:
        self._quiet_since_s = None
        if self._cut_s is None or self._time_s - self._cut_s >= _CUT_EVERY_S:
            self.factor = max(minimum, self.factor * _CUT)
            self._cut_s = self._time_s

    def _relax(self, elapsed_s: float) -> None:
        if self._quiet_since_s is None:
            self._quiet_since_s = self._time_s
        if self._time_s - self._quiet_since_s < _REST_S:
            return
        self.factor = min(1.0, self.factor + _GIVEN_BACK_PER_S * elapsed_s)
        if self.factor >= 1.0:
            self._cut_s = self._quiet_since_s = None
