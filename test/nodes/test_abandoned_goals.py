"""Abandoned goals: cancel requests are repeated, and a goal that does not end is a problem."""

from __future__ import annotations

import types

import pytest
from action_msgs.msg import GoalInfo
from action_msgs.srv import CancelGoal
from unique_identifier_msgs.msg import UUID

from edge_inference.nodes.voice.navigation.abandoned_goals import (
    MAX_CANCEL_ATTEMPTS,
    AbandonedGoal,
    AbandonedGoals,
)

ID = UUID(uuid=[7] * 16)
OTHER = UUID(uuid=[8] * 16)
TIMEOUT_S = 1.0


class Handle:
    """An accepted goal, and the responses to its cancel requests."""

    goal_id = ID

    def __init__(self) -> None:
        self.callbacks: list = []

    def cancel_goal_async(self):
        self.callbacks.append(None)
        place = len(self.callbacks) - 1

        def add_done_callback(callback) -> None:
            self.callbacks[place] = callback

        return types.SimpleNamespace(add_done_callback=add_done_callback)

    def respond(self, code: int, *canceling: UUID) -> None:
        response = CancelGoal.Response(
            return_code=code, goals_canceling=[GoalInfo(goal_id=each) for each in canceling]
        )
        self.callbacks[-1](types.SimpleNamespace(result=lambda: response))


class Tracker:
    """Abandoned goals with a clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.goals = AbandonedGoals(lambda: TIMEOUT_S, lambda: self.now_s)

    def problem_after(self, seconds: float, is_server_ready: bool = True) -> str:
        self.now_s += seconds
        self.goals.update(is_server_ready)
        return self.goals.problem


@pytest.fixture
def tracker() -> Tracker:
    return Tracker()


@pytest.fixture
def handle() -> Handle:
    return Handle()


def test_a_goal_that_ends_in_time_is_no_problem(tracker: Tracker, handle: Handle) -> None:
    goal = AbandonedGoal(handle)
    tracker.goals.add(goal)
    assert len(handle.callbacks) == 1
    handle.respond(CancelGoal.Response.ERROR_NONE, OTHER, ID)
    assert tracker.problem_after(0.9) == ""
    tracker.goals.remove(goal)
    assert tracker.problem_after(100.0) == ""
    assert len(handle.callbacks) == 1


def test_a_goal_that_the_server_does_not_know_is_no_problem(
    tracker: Tracker, handle: Handle
) -> None:
    tracker.goals.add(AbandonedGoal(handle))
    handle.respond(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert tracker.problem_after(100.0) == ""


@pytest.mark.parametrize(
    ("code", "canceling"),
    [
        (CancelGoal.Response.ERROR_REJECTED, ()),
        (CancelGoal.Response.ERROR_NONE, ()),
        (CancelGoal.Response.ERROR_NONE, (OTHER,)),
    ],
)
def test_a_rejection_is_a_problem_at_once_and_the_request_is_repeated(
    tracker: Tracker, handle: Handle, code: int, canceling: tuple[UUID, ...]
) -> None:
    goal = AbandonedGoal(handle)
    tracker.goals.add(goal)
    for attempts in range(1, MAX_CANCEL_ATTEMPTS + 1):
        assert len(handle.callbacks) == attempts
        handle.respond(code, *canceling)
        assert "rejects a cancel request" in tracker.problem_after(0.0)
        assert len(handle.callbacks) == attempts  # not repeated before the timeout
        assert "rejects a cancel request" in tracker.problem_after(1.1)
    assert len(handle.callbacks) == MAX_CANCEL_ATTEMPTS
    assert "rejects" in tracker.problem_after(100.0)  # as long as the goal is active
    assert len(handle.callbacks) == MAX_CANCEL_ATTEMPTS
    tracker.goals.remove(goal)
    assert tracker.problem_after(0.0) == ""


def test_a_missing_response_is_a_problem_and_the_request_is_repeated(
    tracker: Tracker, handle: Handle
) -> None:
    tracker.goals.add(AbandonedGoal(handle))
    assert tracker.problem_after(0.9) == ""
    assert "does not answer" in tracker.problem_after(0.2)
    assert len(handle.callbacks) == 2
    handle.respond(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert tracker.problem_after(0.0) == ""


@pytest.mark.parametrize(
    ("code", "canceling"),
    [
        (CancelGoal.Response.ERROR_NONE, (ID,)),
        (CancelGoal.Response.ERROR_GOAL_TERMINATED, ()),  # servers report a canceling goal so too
    ],
)
def test_an_accepted_request_is_a_problem_until_the_goal_ends(
    tracker: Tracker, handle: Handle, code: int, canceling: tuple[UUID, ...]
) -> None:
    goal = AbandonedGoal(handle)
    tracker.goals.add(goal)
    handle.respond(code, *canceling)
    assert tracker.problem_after(0.9) == ""
    assert "accepted a cancel request, but its goal is still active" in tracker.problem_after(0.2)
    assert tracker.problem_after(100.0)
    assert len(handle.callbacks) == 1
    tracker.goals.remove(goal)
    assert tracker.problem_after(0.0) == ""


def test_a_goal_that_is_not_accepted_yet_is_canceled_once_it_is(
    tracker: Tracker, handle: Handle
) -> None:
    goal = AbandonedGoal()
    tracker.goals.add(goal)
    assert "does not answer" in tracker.problem_after(1.1)
    goal.handle = handle
    tracker.goals.add(goal)
    assert len(handle.callbacks) == 1
    handle.respond(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert tracker.problem_after(0.0) == ""


def test_a_goal_that_is_never_accepted_is_forgotten(tracker: Tracker) -> None:
    tracker.goals.add(AbandonedGoal())
    problems = [tracker.problem_after(1.1) for _ in range(MAX_CANCEL_ATTEMPTS)]
    assert all(problems[:-1]) and not problems[-1]


def test_a_server_that_leaves_is_a_problem_for_some_time(tracker: Tracker, handle: Handle) -> None:
    tracker.goals.add(AbandonedGoal(handle))
    assert "left the graph before its goal ended" in tracker.problem_after(
        0.0, is_server_ready=False
    )
    assert tracker.problem_after(4.9, is_server_ready=False)
    assert tracker.problem_after(0.2, is_server_ready=False) == ""
    assert len(handle.callbacks) == 1


def test_a_server_that_is_back_receives_another_request(tracker: Tracker, handle: Handle) -> None:
    tracker.goals.add(AbandonedGoal(handle))
    tracker.problem_after(0.0, is_server_ready=False)
    assert tracker.problem_after(5.1, is_server_ready=True)
    assert len(handle.callbacks) == 2
    handle.respond(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert tracker.problem_after(0.0) == ""


def test_a_forgotten_goal_that_is_accepted_later_gets_all_attempts(
    tracker: Tracker, handle: Handle
) -> None:
    goal = AbandonedGoal()
    tracker.goals.add(goal)
    while tracker.problem_after(1.1):
        pass
    goal.handle = handle
    tracker.goals.add(goal)
    for attempts in range(1, MAX_CANCEL_ATTEMPTS + 1):
        assert len(handle.callbacks) == attempts
        handle.respond(CancelGoal.Response.ERROR_REJECTED)
        assert "rejects a cancel request" in tracker.problem_after(1.1)
    assert tracker.problem_after(100.0)
    tracker.goals.remove(goal)
    assert tracker.problem_after(0.0) == ""


def test_a_goal_that_is_added_again_is_tracked_once(tracker: Tracker, handle: Handle) -> None:
    goal = AbandonedGoal()
    tracker.goals.add(goal)
    goal.handle = handle
    tracker.goals.add(goal)
    tracker.problem_after(1.1)
    assert len(handle.callbacks) == 2


def test_retry_repeats_the_request_at_once_with_all_attempts(
    tracker: Tracker, handle: Handle
) -> None:
    tracker.goals.add(AbandonedGoal(handle))
    for _ in range(MAX_CANCEL_ATTEMPTS):
        handle.respond(CancelGoal.Response.ERROR_REJECTED)
        tracker.problem_after(1.1)
    assert len(handle.callbacks) == MAX_CANCEL_ATTEMPTS
    tracker.goals.retry()
    for attempts in range(1, MAX_CANCEL_ATTEMPTS + 1):
        assert len(handle.callbacks) == MAX_CANCEL_ATTEMPTS + attempts
        handle.respond(CancelGoal.Response.ERROR_REJECTED)
        tracker.problem_after(1.1)
    tracker.problem_after(100.0)
    assert len(handle.callbacks) == 2 * MAX_CANCEL_ATTEMPTS


def test_retry_leaves_a_goal_alone_that_may_still_end_in_time(
    tracker: Tracker, handle: Handle
) -> None:
    tracker.goals.add(AbandonedGoal(handle))
    tracker.goals.retry()
    handle.respond(CancelGoal.Response.ERROR_NONE, ID)
    tracker.goals.retry()
    assert len(handle.callbacks) == 1
    assert tracker.problem_after(1.1)
    tracker.goals.retry()
    assert len(handle.callbacks) == 2


def test_a_new_server_receives_a_request_although_the_attempts_were_used_up(
    tracker: Tracker, handle: Handle
) -> None:
    tracker.goals.add(AbandonedGoal(handle))
    for _ in range(MAX_CANCEL_ATTEMPTS):
        handle.respond(CancelGoal.Response.ERROR_REJECTED)
        tracker.problem_after(1.1)
    tracker.problem_after(0.0, is_server_ready=False)
    assert tracker.problem_after(5.1, is_server_ready=True)
    assert len(handle.callbacks) == MAX_CANCEL_ATTEMPTS + 1
    handle.respond(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert tracker.problem_after(0.0) == ""


def test_a_request_that_cannot_be_sent_is_a_problem(tracker: Tracker, handle: Handle) -> None:
    def broken():
        raise RuntimeError("no handle")

    handle.cancel_goal_async = broken
    tracker.goals.add(AbandonedGoal(handle))
    assert "cannot be sent: RuntimeError: no handle" in tracker.goals.problem


def test_a_response_that_fails_is_a_problem(tracker: Tracker, handle: Handle) -> None:
    def broken():
        raise RuntimeError("torn")

    tracker.goals.add(AbandonedGoal(handle))
    handle.callbacks[-1](types.SimpleNamespace(result=broken))
    assert "a cancel request to navigation fails: RuntimeError: torn" in tracker.goals.problem


def test_the_number_of_goals_is_limited(tracker: Tracker) -> None:
    handles = [Handle() for _ in range(40)]
    for each in handles:
        tracker.goals.add(AbandonedGoal(each))
    tracker.problem_after(1.1)
    assert sum(len(each.callbacks) == 2 for each in handles) == 16
