"""Texts whose stop or no takes effect if no plan carries it out.

"Go forward, then stop" is a plan that ends in a stop, and "no, go left" is a plan that turns. If
the planner refuses the text or no planner runs, the stop or the no in the text still counts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from typing import NamedTuple

from edge_inference.core.voice import STOP, ActionPlan, Transcript
from edge_inference.speech.language.stop_phrases import find_stop_word, starts_with_no

_REMEMBERED = 16


class UnplannedText(NamedTuple):
    """A text with a stop or a no, and its deadline for a plan, by the steady clock."""

    transcript: Transcript
    is_stop: bool
    until_ns: int

    def is_satisfied_by(self, plan: ActionPlan) -> bool:
        """Tell whether a plan carries out the text: it moves for a no, ends in stop for a stop."""
        if plan.is_refused:
            return False
        return not self.is_stop or any(step.action == STOP for step in plan.steps)


class UnplannedTextTracker:
    """Returns each stop or no for which no plan has arrived. Not thread-safe.

    A plan and its text have the same stamp, and may arrive in either order.
    """

    def __init__(self, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._steady_ns = steady_ns
        self._waiting: dict[int, UnplannedText] = {}
        self._plans: deque[ActionPlan] = deque(maxlen=_REMEMBERED)

    def add_transcript(
        self, transcript: Transcript, stop_words: Collection[str], plan_timeout_s: float
    ) -> UnplannedText | None:
        """Add a final transcript; return a text that must take effect now, if any.

        ``plan_timeout_s`` is the time in which its plan must arrive.
        """
        text = transcript.text
        is_stop = bool(find_stop_word(text, stop_words, in_turn=False))
        if not transcript.is_final or not (is_stop or starts_with_no(text, stop_words)):
            return None
        until_ns = self._steady_ns() + int(plan_timeout_s * 1e9)
        unplanned = UnplannedText(transcript, is_stop, until_ns)
        # Without a stamp an earlier plan cannot be matched to the text.
        plans = [plan for plan in self._plans if 0 < plan.stamp_ns == transcript.stamp_ns]
        if plans:
            return None if any(map(unplanned.is_satisfied_by, plans)) else unplanned
        self._waiting[transcript.stamp_ns] = unplanned
        return self._pop_oldest() if len(self._waiting) > _REMEMBERED else None

    def add_plan(self, plan: ActionPlan) -> UnplannedText | None:
        """Add a plan; return its text if the plan does not carry it out."""
        self._plans.append(plan)
        unplanned = self._waiting.pop(plan.stamp_ns, None)
        return None if unplanned is None or unplanned.is_satisfied_by(plan) else unplanned

    def pop_overdue(self) -> UnplannedText | None:
        """Remove and return a text whose plan did not arrive in time, if any."""
        now_ns = self._steady_ns()
        if any(unplanned.until_ns <= now_ns for unplanned in self._waiting.values()):
            return self._pop_oldest()
        return None

    def clear(self) -> None:
        """Remove all waiting texts: the robot has stopped."""
        self._waiting.clear()

    def _pop_oldest(self) -> UnplannedText:
        return self._waiting.pop(next(iter(self._waiting)))
