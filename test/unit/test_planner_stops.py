"""A stop is never refused: not among other intents, not with a problem, not late, not unsure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from edge_inference.core.voice import (
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    IntentSlot,
    Transcript,
)
from edge_inference.speech.actions.limits import PlanLimits, VoiceLimits
from edge_inference.speech.planning.planner import ActionPlanner

LIMITS = VoiceLimits(plan=PlanLimits(actions=("move", "stop")))


def intent(name: str, **slots: float | str) -> IntentArray:
    values = {key: IntentSlot(key, value) for key, value in slots.items()}
    intents = (Intent(name, values),) if name else ()
    return IntentArray(intents, 0.9, name, "grammar", stamp_ns=5)


def join(*parts: IntentArray) -> IntentArray:
    return replace(parts[0], intents=tuple(each for part in parts for each in part.intents))


def planned(*parts: IntentArray) -> ActionPlan:
    return ActionPlanner(LIMITS).plan(join(*parts))


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize(
    "other",
    [
        intent("sing_loud"),
        intent("confirm"),
        intent("deny"),
        intent(""),
        intent("move", distance=math.nan),
        intent("move", distance=99.0),
    ],
)
def test_a_stop_among_intents_that_are_refused_stops(other: IntentArray, index: int) -> None:
    parts = [intent("move"), other]
    parts.insert(index, intent("stop"))
    plan = planned(*parts)
    assert plan.steps[-1:] == (ActionStep("stop"),)
    assert not plan.is_refused


STOP_LATER = join(intent("move", distance=2.0), intent("stop"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"problem": "that was cut off"}, "that was cut off"),
        ({"stamp_ns": 0}, "That was said 3600.0 seconds ago, so I leave it"),
        (
            {"needs_confirmation": True},
            "Did you mean: going forward 2 meters, then stopping? Say yes or no",
        ),
    ],
)
def test_a_stop_at_the_end_of_what_is_not_done_stops_at_once(
    changes: dict[str, Any], reason: str
) -> None:
    hour_ns = 3600 * 10**9
    planner = ActionPlanner(LIMITS)
    asked = replace(STOP_LATER, stamp_ns=hour_ns)
    plan = planner.plan(replace(asked, **changes), hour_ns)
    assert plan.steps == (ActionStep("stop"),)
    assert reason in plan.reason
    assert not plan.is_refused


def test_a_question_about_a_later_stop_can_be_answered() -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(replace(STOP_LATER, needs_confirmation=True))
    answered = planner.plan(intent("confirm"))
    assert [step.action for step in answered.steps] == ["move", "stop"]


def test_a_stop_needs_no_confirmation() -> None:
    planner = ActionPlanner(LIMITS)
    asked = replace(intent("stop"), source="embedding", needs_confirmation=True)
    for _ in range(2):
        plan = planner.plan(asked, 10**18)  # and is never too old
        assert (plan.steps, plan.reason) == ((ActionStep("stop"),), "stopping")
    assert planner.plan(intent("confirm")).reason == "I have not asked anything"


def test_stop_with_other_slots_stops() -> None:
    assert planned(intent("stop", distance="far", color="red")).steps == (ActionStep("stop"),)


def test_stop_with_a_problem_stops() -> None:
    assert planned(replace(intent("stop"), problem="that was cut off")).steps == (
        ActionStep("stop"),
    )


def test_a_stop_with_a_problem_stops_after_a_question_that_speech_has_closed() -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(replace(intent("move"), needs_confirmation=True))
    planner.observe(Transcript("no", 0.9, "free", 6))
    asked = replace(STOP_LATER, problem="that was cut off", stamp_ns=7)
    assert planner.plan(asked).steps == (ActionStep("stop"),)
