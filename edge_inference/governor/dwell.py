"""Limits how often a node is asked to change its engine.

A change to a cheaper engine waits for a short time, a change to a more expensive one for a long
time. If a node could not keep a more expensive engine, the next such change waits six times as
long. A machine at the edge between two engines therefore settles.
"""

from __future__ import annotations

#: An engine counts as kept after serving for this many times the wait.
_KEPT_WAITS = 30.0
_WAIT_GROWTH = 6.0
_MAX_WAIT_FACTOR = 32.0


class Dwell:
    """The operating point that one node is asked to use, and the times of its changes."""

    def __init__(self, operating_point: int, time_s: float, *, changed: bool = False) -> None:
        """Start with the operating point in use; with ``changed``, the next change must wait."""
        self.operating_point = operating_point
        self._changed_s: float | None = time_s if changed else None
        self._raised_s: float | None = None
        self._requested_since_s = time_s
        self._requested: int | None = None
        self._wait_factor = 1.0

    def choose(
        self,
        requested: int,
        *,
        is_cheaper: bool,
        time_s: float,
        down_s: float,
        up_s: float,
        is_urgent: bool,
    ) -> int:
        """Return the operating point to use; an urgent change to a cheaper one does not wait."""
        if requested == self.operating_point:
            self._requested = None
            self._reset_wait_if_kept(time_s, up_s)
            return self.operating_point
        if self._requested is None or time_s < self._requested_since_s:
            self._requested_since_s = time_s
        self._requested = requested
        if is_cheaper:
            if is_urgent or self._has_waited(time_s, down_s):
                self._lower(requested, time_s, up_s)
        elif not is_urgent and self._may_raise(time_s, up_s * self._wait_factor):
            self.operating_point = requested
            self._changed_s = self._raised_s = time_s
            self._requested = None
        return self.operating_point

    def _has_waited(self, time_s: float, wait_s: float) -> bool:
        return self._changed_s is None or time_s - self._changed_s >= wait_s

    def _may_raise(self, time_s: float, wait_s: float) -> bool:
        return self._has_waited(time_s, wait_s) and time_s - self._requested_since_s >= wait_s

    def _lower(self, requested: int, time_s: float, up_s: float) -> None:
        if self._raised_s is not None and time_s - self._raised_s < _KEPT_WAITS * up_s:
            self._wait_factor = min(_MAX_WAIT_FACTOR, _WAIT_GROWTH * self._wait_factor)
        self.operating_point = requested
        self._changed_s = time_s
        self._raised_s = self._requested = None

    def _reset_wait_if_kept(self, time_s: float, up_s: float) -> None:
        if self._raised_s is not None and time_s - self._raised_s >= _KEPT_WAITS * up_s:
            self._wait_factor = 1.0
            self._raised_s = None
