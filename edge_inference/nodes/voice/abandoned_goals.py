"""Goals of an action that were given up, until they have come to their end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from action_msgs.srv import CancelGoal

from edge_inference.core.runtime.worker import format_error

#: So often navigation is told to end a goal; after that only who watches can help.
MOST_TRIES = 5
_MOST_GOALS = 16
_SILENT = "navigation does not answer when it is told to end its goal"
_REFUSES = "navigation refuses to end its goal"
_GOES_ON = "navigation has agreed to end its goal, and goes on with it"
_GONE = "navigation has gone before it has ended its goal; whether anything drives is not known"


@dataclass(eq=False)
class AbandonedGoal:
    """A goal that was sent; ``handle`` is None until it is accepted."""

    handle: Any = None
    id: bytes = b""
    tries: int = 0
    #: What is wrong if the goal has not ended by ``due_s``, a time of the steady clock.
    suspicion: str = _SILENT
    due_s: float = 0.0
    problem: str = ""


class AbandonedGoals:
    """Has goals ended: tells navigation to, looks at its answer, and tells it again.

    ``wait_s`` is how long a goal may take to end. ``problem`` says what is wrong while one does
    not. Answers come in the executor; no other thread is needed but one that calls ``look``.
    """

    def __init__(
        self, wait_s: Callable[[], float], steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._wait_s = wait_s
        self._steady_s = steady_s
        self._lock = threading.Lock()
        self._goals: list[AbandonedGoal] = []

    @property
    def problem(self) -> str:
        """What keeps a goal from ending; empty where all have ended, or may yet be in time."""
        with self._lock:
            return next((goal.problem for goal in self._goals if goal.problem), "")

    def add(self, goal: AbandonedGoal) -> None:
        """Have a goal ended; one that is not accepted yet is to be added again once it is."""
        with self._lock:
            others = [each for each in self._goals if each is not goal]
            self._goals = [*others, goal][-_MOST_GOALS:]
            goal.tries = 0
        self._ask(goal)

    def knows(self, goal_id: bytes) -> bool:
        """Tell whether a goal is among those that are to end."""
        with self._lock:
            return any(goal.id == goal_id for goal in self._goals)

    def insist(self) -> None:
        """Begin anew: tell navigation at once again where it has not done as it was told."""
        with self._lock:
            again = [goal for goal in self._goals if goal.problem]
            for goal in again:
                goal.tries = 0
        for goal in again:
            self._ask(goal)

    def over(self, goal: AbandonedGoal) -> None:
        """Forget a goal: it has come to its end."""
        with self._lock:
            self._goals = [each for each in self._goals if each is not goal]

    def look(self, is_there: bool) -> None:
        """Tell navigation again where it is time to; ``is_there`` says whether it can hear that."""
        now_s, again = self._steady_s(), []
        with self._lock:
            for goal in list(self._goals):
                if not is_there and goal.suspicion != _GONE:
                    goal.suspicion = goal.problem = _GONE
                    goal.tries = 0  # whoever comes back is another one
                    goal.due_s = now_s + MOST_TRIES * self._wait_s()
                elif now_s >= goal.due_s:
                    is_lost = goal.handle is None and goal.tries >= MOST_TRIES
                    if is_lost or (goal.suspicion == _GONE and not is_there):
                        self._goals.remove(goal)  # nobody is left to ask, or nothing to ask for
                        continue
                    goal.problem = goal.suspicion
                    if goal.tries < MOST_TRIES:
                        again.append(goal)
        for goal in again:
            self._ask(goal)

    def _ask(self, goal: AbandonedGoal) -> None:
        """Tell navigation to end a goal."""
        with self._lock:
            goal.due_s = self._steady_s() + self._wait_s()
            goal.tries += 1
            goal.suspicion = _SILENT
            if goal.handle is None:
                return
        try:
            answer = goal.handle.cancel_goal_async()
        except Exception as error:
            with self._lock:
                goal.problem = f"navigation cannot be told to end its goal: {format_error(error)}"
            return
        answer.add_done_callback(lambda done: self._answered(goal, done))

    def _answered(self, goal: AbandonedGoal, done: Any) -> None:
        try:
            answer = done.result()
        except BaseException as error:
            suspicion = f"navigation fails to end its goal: {format_error(error)}"
        else:
            if answer.return_code == CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID:
                self.over(goal)
                return
            suspicion = _GOES_ON if _is_ending(goal, answer) else _REFUSES
        with self._lock:
            goal.suspicion = suspicion
            if suspicion == _GOES_ON:
                goal.tries = MOST_TRIES  # to say it again changes nothing; its end is waited for
            else:
                goal.problem = suspicion


def _is_ending(goal: AbandonedGoal, answer: Any) -> bool:
    """Tell whether a goal ends, or has ended: one that ends already counts as terminated."""
    if answer.return_code == CancelGoal.Response.ERROR_GOAL_TERMINATED:
        return True
    return bytes(goal.handle.goal_id.uuid) in {
        bytes(each.goal_id.uuid) for each in answer.goals_canceling
    }
