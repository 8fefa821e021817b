"""Goals of an action that the client has abandoned, tracked until they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from action_msgs.srv import CancelGoal

from edge_inference.core.runtime.worker import format_error

#: Further cancel requests for one goal are unlikely to help; the problem stays on /diagnostics.
MAX_CANCEL_ATTEMPTS = 5
_MAX_GOALS = 16
_NO_ANSWER = "navigation does not answer a cancel request"
_REJECTED = "navigation rejects a cancel request"
_STILL_ACTIVE = "navigation has accepted a cancel request, but its goal is still active"
_SERVER_GONE = "navigation left the graph before its goal ended; the robot may still be driven"


@dataclass(eq=False)
class AbandonedGoal:
    """A goal that was sent; ``handle`` is None until the server accepts it."""

    handle: Any = None
    id: bytes = b""
    attempts: int = 0
    #: The problem to report if the goal has not ended by ``deadline_s`` of the steady clock.
    pending_problem: str = _NO_ANSWER
    deadline_s: float = 0.0
    problem: str = ""


class AbandonedGoals:
    """Cancels goals, checks the responses and repeats the requests until the goals end.

    ``timeout_s`` returns how long a goal may take to end. ``problem`` describes a goal that takes
    longer. Responses arrive in the executor; one thread must call ``update`` regularly.
    """

    def __init__(
        self, timeout_s: Callable[[], float], steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._timeout_s = timeout_s
        self._steady_s = steady_s
        self._lock = threading.Lock()
        self._goals: list[AbandonedGoal] = []

    @property
    def problem(self) -> str:
        """What keeps a goal from ending; empty if every goal has ended or may still end in time."""
        with self._lock:
            return next((goal.problem for goal in self._goals if goal.problem), "")

    def add(self, goal: AbandonedGoal) -> None:
        """Cancel a goal. Add a goal without a handle again once the server accepts it."""
        with self._lock:
            others = [each for each in self._goals if each is not goal]
            self._goals = [*others, goal][-_MAX_GOALS:]
            goal.attempts = 0
        self._send_cancel(goal)

    def contains(self, goal_id: bytes) -> bool:
        """Tell whether a goal is tracked here."""
        with self._lock:
            return any(goal.id == goal_id for goal in self._goals)

    def retry(self) -> None:
        """Cancel each goal with a problem once more, with a new count of attempts."""
        with self._lock:
            failed = [goal for goal in self._goals if goal.problem]
            for goal in failed:
                goal.attempts = 0
        for goal in failed:
            self._send_cancel(goal)

    def remove(self, goal: AbandonedGoal) -> None:
        """Stop tracking a goal that has ended."""
        with self._lock:
            self._goals = [each for each in self._goals if each is not goal]

    def update(self, is_server_ready: bool) -> None:
        """Report goals that are overdue and cancel them again."""
        now_s, overdue = self._steady_s(), []
        with self._lock:
            for goal in list(self._goals):
                if not is_server_ready and goal.pending_problem != _SERVER_GONE:
                    goal.pending_problem = goal.problem = _SERVER_GONE
                    goal.attempts = 0  # a server that appears later is a new one
                    goal.deadline_s = now_s + MAX_CANCEL_ATTEMPTS * self._timeout_s()
                elif now_s >= goal.deadline_s:
                    is_lost = goal.handle is None and goal.attempts >= MAX_CANCEL_ATTEMPTS
                    if is_lost or (goal.pending_problem == _SERVER_GONE and not is_server_ready):
                        self._goals.remove(goal)  # there is no server to ask, or no goal to cancel
                        continue
                    goal.problem = goal.pending_problem
                    if goal.attempts < MAX_CANCEL_ATTEMPTS:
                        overdue.append(goal)
        for goal in overdue:
            self._send_cancel(goal)

    def _send_cancel(self, goal: AbandonedGoal) -> None:
        with self._lock:
            goal.deadline_s = self._steady_s() + self._timeout_s()
            goal.attempts += 1
            goal.pending_problem = _NO_ANSWER
            if goal.handle is None:
                return
        try:
            response = goal.handle.cancel_goal_async()
        except Exception as error:
            with self._lock:
                goal.problem = (
                    f"a cancel request to navigation cannot be sent: {format_error(error)}"
                )
            return
        response.add_done_callback(lambda done: self._on_response(goal, done))

    def _on_response(self, goal: AbandonedGoal, done: Any) -> None:
        try:
            response = done.result()
        except BaseException as error:
            problem = f"a cancel request to navigation fails: {format_error(error)}"
        else:
            if response.return_code == CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID:
                self.remove(goal)
                return
            problem = _STILL_ACTIVE if _is_canceling(goal, response) else _REJECTED
        with self._lock:
            goal.pending_problem = problem
            if problem == _STILL_ACTIVE:
                # The server is already canceling: only the end of the goal is still awaited.
                goal.attempts = MAX_CANCEL_ATTEMPTS
            else:
                goal.problem = problem


def _is_canceling(goal: AbandonedGoal, response: Any) -> bool:
    """Tell whether a goal is being canceled; servers report such a goal as terminated too."""
    if response.return_code == CancelGoal.Response.ERROR_GOAL_TERMINATED:
        return True
    return bytes(goal.handle.goal_id.uuid) in {
        bytes(each.goal_id.uuid) for each in response.goals_canceling
    }
