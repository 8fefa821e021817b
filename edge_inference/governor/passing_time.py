"""Time as the governor counts it: it only goes on, and a gap counts for a little."""

from __future__ import annotations

#: After a pause longer than this, what was learned from the flow of time is no longer true.
_GAP_S = 5.0
#: A pause counts as this much at the most, so that nothing that adds up over time runs away.
_MOST_S = 2.0


class Timestep:
    """Turns stamps into seconds passed; a clock that stands or goes back passes none."""

    def __init__(self) -> None:
        """Start at no stamp."""
        self._last_ns: int | None = None
        #: Seconds passed so far, gaps cut short.
        self.time_s = 0.0
        self.elapsed_s = 0.0
        #: The step before this one was no step: a gap, or a clock set back.
        self.jumped = False

    def advance(self, now_ns: int) -> None:
        """Take the next stamp."""
        step_s = 0.0 if self._last_ns is None else (now_ns - self._last_ns) / 1e9
        self.jumped = step_s > _GAP_S or step_s < 0.0
        self.elapsed_s = min(_MOST_S, max(0.0, step_s))
        self.time_s += self.elapsed_s
        self._last_ns = now_ns
