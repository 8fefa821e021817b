"""How long a node stays with an engine before it is asked to change.

Cheaper after a short time, dearer after a long one; a dearer engine that could not be kept makes
the next wait six times as long, so that a machine at the edge between two engines comes to rest.
"""

from __future__ import annotations

#: A dearer engine was kept when it served for this many times the wait.
_KEPT = 30.0
_LONGER = 6.0
_LONGEST = 32.0


class Dwell:
    """The engine that one node is to serve with, and for how long it has."""

    def __init__(self, operating_point: int, time_s: float, *, changed: bool = False) -> None:
        """Start with an operating point in use; ``changed`` just now, the next change has to wait."""
        self.operating_point = operating_point
        self._changed_s: float | None = time_s if changed else None
        self._raised_s: float | None = None
        self._wanted_since_s = time_s
        self._wanted: int | None = None
        self._patience = 1.0

    def choose(
        self, wanted: int, *, is_cheaper: bool, time_s: float, down_s: float, up_s: float, now: bool
    ) -> int:
        """Return the operating point to serve with; ``now`` is an emergency, which bypasses the wait."""
        if wanted == self.operating_point:
            self._wanted = None
            self._grow_calm(time_s, up_s)
            return self.operating_point
        if self._wanted is None or time_s < self._wanted_since_s:
            self._wanted_since_s = time_s
        self._wanted = wanted
        if is_cheaper:
            if now or self._has_been(time_s, down_s):
                self._lower(wanted, time_s, up_s)
        elif not now and self._may_rise(time_s, up_s * self._patience):
            self.operating_point = wanted
            self._changed_s = self._raised_s = time_s
            self._wanted = None
        return self.operating_point

    def _has_been(self, time_s: float, wait_s: float) -> bool:
        return self._changed_s is None or time_s - self._changed_s >= wait_s

    def _may_rise(self, time_s: float, wait_s: float) -> bool:
        return self._has_been(time_s, wait_s) and time_s - self._wanted_since_s >= wait_s

    def _lower(self, wanted: int, time_s: float, up_s: float) -> None:
        if self._raised_s is not None and time_s - self._raised_s < _KEPT * up_s:
            self._patience = min(_LONGEST, _LONGER * self._patience)
        self.operating_point = wanted
        self._changed_s = time_s
        self._raised_s = self._wanted = None

    def _grow_calm(self, time_s: float, up_s: float) -> None:
        """Forget that a dearer engine was not kept, once one has been."""
        if self._raised_s is not None and time_s - self._raised_s >= _KEPT * up_s:
            self._patience = 1.0
            self._raised_s = None
