"""How high clocks need to be: a wish for the optional actuator.

The same work at a lower clock and voltage costs less energy. Only while the machine is held back
anyway, and only while there is time left in every second, the cap goes down a step.
"""

from __future__ import annotations

_STEP = 0.1
_LOWEST = 0.6
_EVERY_S = 30.0
_BACK_S = 60.0
#: Busy for less than this part of the time there is room for a lower clock; above the second
#: there is none.
_ROOM = 0.6
_NO_ROOM = 0.8


class ClockCapController:
    """Steps the cap down and up."""

    def __init__(self) -> None:
        """Start with the highest clock."""
        self.share = 1.0
        self._since_s = 0.0

    def update(self, time_s: float, busy: float, *, held_back: bool) -> float | None:
        """Return the share of the highest clock that would do; None for no wish."""
        waited_s = time_s - self._since_s
        if busy > _NO_ROOM and waited_s >= _STEP * _EVERY_S:
            self._move(_STEP, time_s)
        elif held_back and busy < _ROOM and waited_s >= _EVERY_S:
            self._move(-_STEP, time_s)
        elif not held_back and waited_s >= _BACK_S:
            self._move(_STEP, time_s)
        return self.share if self.share < 1.0 else None

    def _move(self, by: float, time_s: float) -> None:
        self.share = round(min(1.0, max(_LOWEST, self.share + by)), 3)
        self._since_s = time_s
