"""Which of several managers speaks: one at a time, without asking anybody."""

from __future__ import annotations

from edge_inference.core.runtime.recent import RecentNames

#: So long a newcomer listens before it speaks.
LISTEN_NS = 2_000_000_000
#: A manager that has been silent for so long is gone.
SILENCE_NS = 3_000_000_000
#: One other is enough to stand by.
_MOST_OTHERS = 16


class ManagerElection:
    """One manager's view; ``own`` is its name. Times are nanoseconds of one rising clock.

    Whoever speaks goes on; whoever hears another one speak before it has begun stands by. Two
    that begin at the same moment hear each other: the one whose name sorts first goes on.
    """

    def __init__(self, own: str, now_ns: int) -> None:
        self._own = own
        self._started_ns = now_ns
        self._heard: RecentNames[None] = RecentNames(_MOST_OTHERS, SILENCE_NS)
        self._leads = False

    def hear(self, manager: str, now_ns: int) -> None:
        """Take note that a manager has spoken."""
        if manager != self._own:
            self._heard.hear(manager, None, now_ns)

    def others(self, now_ns: int) -> list[str]:
        """Return the other managers that speak, sorted."""
        return sorted(self._heard.known(now_ns))

    def leads(self, now_ns: int) -> bool:
        """Tell whether this manager is the one to speak."""
        others = self.others(now_ns)
        if self._leads:
            self._leads = not others or self._own < others[0]
        else:
            self._leads = not others and now_ns - self._started_ns >= LISTEN_NS
        return self._leads
