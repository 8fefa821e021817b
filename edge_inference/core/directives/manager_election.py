"""Elects one active platform manager, without communication between the managers."""

from __future__ import annotations

from edge_inference.core.runtime.expiring_map import ExpiringMap

#: A new manager listens for this long before it publishes.
LISTEN_NS = 2_000_000_000
#: A manager that has been silent for this long is gone.
SILENCE_NS = 3_000_000_000
#: Maximum number of other managers to remember; one is enough for this one to stand by.
_MAX_OTHERS = 16


class ManagerElection:
    """The view of one manager, named ``own``. Times are nanoseconds of one monotonic clock.

    An active manager stays active. A manager that receives directives of another one before it
    becomes active stands by. If two managers become active at the same moment, each receives the
    other's directives, and the one whose name sorts first stays active.
    """

    def __init__(self, own: str, now_ns: int) -> None:
        self._own = own
        self._started_ns = now_ns
        self._others: ExpiringMap[None] = ExpiringMap(_MAX_OTHERS, SILENCE_NS)
        self._is_active = False

    def receive(self, manager: str, now_ns: int) -> None:
        """Record that a manager has published a directive."""
        if manager != self._own:
            self._others.put(manager, None, now_ns)

    def others(self, now_ns: int) -> list[str]:
        """Return the names of the other active managers, sorted."""
        return sorted(self._others.current(now_ns))

    def is_active(self, now_ns: int) -> bool:
        """Tell whether this manager must publish directives."""
        others = self.others(now_ns)
        if self._is_active:
            self._is_active = not others or self._own < others[0]
        else:
            self._is_active = not others and now_ns - self._started_ns >= LISTEN_NS
        return self._is_active
