"""Goals that were given up: navigation is told again, and what it does not heed is told of."""

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
WAIT_S = 1.0


class Handle:
    """A goal that was accepted, and what is answered to those who give it up."""

    goal_id = ID

    def __init__(self) -> None:
        self.asked: list = []

    def cancel_goal_async(self):
        self.asked.append(None)
        place = len(self.asked) - 1

        def add_done_callback(callback) -> None:
            self.asked[place] = callback

        return types.SimpleNamespace(add_done_callback=add_done_callback)

    def answer(self, code: int, *ending: UUID) -> None:
        response = CancelGoal.Response(
            return_code=code, goals_canceling=[GoalInfo(goal_id=each) for each in ending]
        )
        self.asked[-1](types.SimpleNamespace(result=lambda: response))


class Watch:
    """Goals that were given up, and a clock for them."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.given_up = AbandonedGoals(lambda: WAIT_S, lambda: self.now_s)

    def after(self, seconds: float, is_there: bool = True) -> str:
        self.now_s += seconds
        self.given_up.look(is_there)
        return self.given_up.problem


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def handle() -> Handle:
    return Handle()


def test_a_goal_that_ends_in_time_is_no_problem(watch: Watch, handle: Handle) -> None:
    goal = AbandonedGoal(handle)
    watch.given_up.add(goal)
    assert len(handle.asked) == 1
    handle.answer(CancelGoal.Response.ERROR_NONE, OTHER, ID)
    assert watch.after(0.9) == ""
    watch.given_up.over(goal)
    assert watch.after(100.0) == ""
    assert len(handle.asked) == 1


def test_a_goal_that_nobody_knows_any_more_is_no_problem(watch: Watch, handle: Handle) -> None:
    watch.given_up.add(AbandonedGoal(handle))
    handle.answer(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert watch.after(100.0) == ""


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (CancelGoal.Response.ERROR_REJECTED, ()),
        (CancelGoal.Response.ERROR_NONE, ()),
        (CancelGoal.Response.ERROR_NONE, (OTHER,)),
    ],
)
def test_a_refusal_is_a_problem_at_once_and_asked_again(
    watch: Watch, handle: Handle, code: int, ending: tuple[UUID, ...]
) -> None:
    goal = AbandonedGoal(handle)
    watch.given_up.add(goal)
    for tries in range(1, MAX_CANCEL_ATTEMPTS + 1):
        assert len(handle.asked) == tries
        handle.answer(code, *ending)
        assert "refuses to end its goal" in watch.after(0.0)
        assert len(handle.asked) == tries  # not in a flood
        assert "refuses to end its goal" in watch.after(1.1)
    assert len(handle.asked) == MAX_CANCEL_ATTEMPTS
    assert "refuses" in watch.after(100.0)  # for as long as it goes on
    assert len(handle.asked) == MAX_CANCEL_ATTEMPTS
    watch.given_up.over(goal)
    assert watch.after(0.0) == ""


def test_no_answer_is_a_problem_and_asked_again(watch: Watch, handle: Handle) -> None:
    watch.given_up.add(AbandonedGoal(handle))
    assert watch.after(0.9) == ""
    assert "does not answer" in watch.after(0.2)
    assert len(handle.asked) == 2
    handle.answer(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert watch.after(0.0) == ""


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (CancelGoal.Response.ERROR_NONE, (ID,)),
        (CancelGoal.Response.ERROR_GOAL_TERMINATED, ()),  # also what ends already
    ],
)
def test_who_agrees_and_goes_on_is_a_problem_until_the_goal_ends(
    watch: Watch, handle: Handle, code: int, ending: tuple[UUID, ...]
) -> None:
    goal = AbandonedGoal(handle)
    watch.given_up.add(goal)
    handle.answer(code, *ending)
    assert watch.after(0.9) == ""
    assert "agreed to end its goal, and goes on" in watch.after(0.2)
    assert watch.after(100.0)
    assert len(handle.asked) == 1
    watch.given_up.over(goal)
    assert watch.after(0.0) == ""


def test_a_goal_that_is_not_accepted_yet_is_asked_for_once_it_is(
    watch: Watch, handle: Handle
) -> None:
    goal = AbandonedGoal()
    watch.given_up.add(goal)
    assert "does not answer" in watch.after(1.1)
    goal.handle = handle
    watch.given_up.add(goal)
    assert len(handle.asked) == 1
    handle.answer(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert watch.after(0.0) == ""


def test_a_goal_of_which_nobody_ever_hears_is_forgotten(watch: Watch) -> None:
    watch.given_up.add(AbandonedGoal())
    problems = [watch.after(1.1) for _ in range(MAX_CANCEL_ATTEMPTS)]
    assert all(problems[:-1]) and not problems[-1]


def test_whether_anything_drives_is_unknown_once_navigation_has_gone(
    watch: Watch, handle: Handle
) -> None:
    watch.given_up.add(AbandonedGoal(handle))
    assert "has gone before it has ended its goal" in watch.after(0.0, is_there=False)
    assert watch.after(4.9, is_there=False)
    assert watch.after(0.2, is_there=False) == ""
    assert len(handle.asked) == 1


def test_navigation_that_is_back_is_asked_again(watch: Watch, handle: Handle) -> None:
    watch.given_up.add(AbandonedGoal(handle))
    watch.after(0.0, is_there=False)
    assert watch.after(5.1, is_there=True)
    assert len(handle.asked) == 2
    handle.answer(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert watch.after(0.0) == ""


def test_a_goal_that_was_forgotten_and_is_accepted_after_all_is_asked_for_as_often_as_any(
    watch: Watch, handle: Handle
) -> None:
    goal = AbandonedGoal()
    watch.given_up.add(goal)
    while watch.after(1.1):
        pass
    goal.handle = handle
    watch.given_up.add(goal)
    for tries in range(1, MAX_CANCEL_ATTEMPTS + 1):
        assert len(handle.asked) == tries
        handle.answer(CancelGoal.Response.ERROR_REJECTED)
        assert "refuses to end its goal" in watch.after(1.1)
    assert watch.after(100.0)
    watch.given_up.over(goal)
    assert watch.after(0.0) == ""


def test_a_goal_that_is_added_again_is_watched_once(watch: Watch, handle: Handle) -> None:
    goal = AbandonedGoal()
    watch.given_up.add(goal)
    goal.handle = handle
    watch.given_up.add(goal)
    watch.after(1.1)
    assert len(handle.asked) == 2


def test_who_insists_asks_at_once_and_as_often_as_at_first(watch: Watch, handle: Handle) -> None:
    watch.given_up.add(AbandonedGoal(handle))
    for _ in range(MAX_CANCEL_ATTEMPTS):
        handle.answer(CancelGoal.Response.ERROR_REJECTED)
        watch.after(1.1)
    assert len(handle.asked) == MAX_CANCEL_ATTEMPTS
    watch.given_up.insist()
    for tries in range(1, MAX_CANCEL_ATTEMPTS + 1):
        assert len(handle.asked) == MAX_CANCEL_ATTEMPTS + tries
        handle.answer(CancelGoal.Response.ERROR_REJECTED)
        watch.after(1.1)
    watch.after(100.0)
    assert len(handle.asked) == 2 * MAX_CANCEL_ATTEMPTS


def test_who_insists_leaves_time_to_a_goal_that_has_it_still(watch: Watch, handle: Handle) -> None:
    watch.given_up.add(AbandonedGoal(handle))
    watch.given_up.insist()
    handle.answer(CancelGoal.Response.ERROR_NONE, ID)
    watch.given_up.insist()
    assert len(handle.asked) == 1
    assert watch.after(1.1)
    watch.given_up.insist()
    assert len(handle.asked) == 2


def test_another_server_that_has_come_is_asked_though_the_first_one_was_asked_often_enough(
    watch: Watch, handle: Handle
) -> None:
    watch.given_up.add(AbandonedGoal(handle))
    for _ in range(MAX_CANCEL_ATTEMPTS):
        handle.answer(CancelGoal.Response.ERROR_REJECTED)
        watch.after(1.1)
    watch.after(0.0, is_there=False)
    assert watch.after(5.1, is_there=True)
    assert len(handle.asked) == MAX_CANCEL_ATTEMPTS + 1
    handle.answer(CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID)
    assert watch.after(0.0) == ""


def test_what_cannot_be_asked_is_told(watch: Watch, handle: Handle) -> None:
    def broken():
        raise RuntimeError("no handle")

    handle.cancel_goal_async = broken
    watch.given_up.add(AbandonedGoal(handle))
    assert "cannot be told to end its goal: RuntimeError: no handle" in watch.given_up.problem


def test_an_answer_that_fails_is_told(watch: Watch, handle: Handle) -> None:
    def broken():
        raise RuntimeError("torn")

    watch.given_up.add(AbandonedGoal(handle))
    handle.asked[-1](types.SimpleNamespace(result=broken))
    assert "fails to end its goal: RuntimeError: torn" in watch.given_up.problem


def test_goals_are_not_kept_without_end(watch: Watch) -> None:
    handles = [Handle() for _ in range(40)]
    for each in handles:
        watch.given_up.add(AbandonedGoal(each))
    watch.after(1.1)
    assert sum(len(each.asked) == 2 for each in handles) == 16
