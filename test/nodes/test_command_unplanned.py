"""A stop or a no in a text without a plan stops the robot, whichever node refuses the text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from command_rig import FAR, STILL, Speaker
from edge_inference.speech.planning.motion import MotionState
from rig import Collected, Rig, wait_for

pytestmark = pytest.mark.usefixtures("patient")

REFUSED = [
    *("no and stop", "yes and stop", "pick up the ball and stop", "take the cup and halt"),
    *("no, and freeze", "go forward fifty meters and stop", "turn left and cancel"),
    *("slow down and stop", "go forward a bit then halt", "turn left and wait"),
    " ".join(["la"] * 101) + " and stop",
    "l" * 1001 + " and stop",
    *("no that is not it", "no, go forward fifty meters", "nope, the other one", "go forward, no"),
]


@pytest.fixture
def speaker(rig: Rig) -> Speaker:
    return Speaker(rig)


@pytest.fixture
def driving(rig: Rig, speaker: Speaker) -> Callable[[], Collected]:
    """Start a motion with all nodes loaded; return the velocities."""

    def drive() -> Collected:
        velocities = rig.tap("/cmd_vel")
        for plugin in ("Command", "Planner", "IntentParser"):
            rig.load(plugin)
        speaker.plan(*FAR)
        assert velocities[-1] != STILL
        return velocities

    return drive


@pytest.mark.parametrize("text", REFUSED)
def test_it_stops(driving: Callable[[], Collected], speaker: Speaker, text: str) -> None:
    velocities = driving()
    speaker.say(text)
    wait_for(lambda: velocities[-1] == STILL, "the robot standing")
    before = len(velocities)
    velocities.wait(before + 5)
    assert set(velocities[before:]) == {STILL}


@pytest.mark.parametrize(("age_s", "problem"), [(4.0, ""), (0.0, "the robot itself spoke")])
def test_a_text_that_is_too_old_or_has_a_problem_stops_too(
    driving: Callable[[], Collected], speaker: Speaker, age_s: float, problem: str
) -> None:
    velocities = driving()
    speaker.say("turn around and stop", age_s=age_s, problem=problem)
    wait_for(lambda: velocities[-1] == STILL, "the robot standing")


@pytest.mark.parametrize("text", ["go forward two meters and stop", "turn left, then halt"])
def test_a_stop_in_a_plan_is_executed_as_planned(
    rig: Rig, driving: Callable[[], Collected], speaker: Speaker, text: str
) -> None:
    feedback = rig.tap("/ai/command_feedback")
    driving()
    begun = len(feedback)
    speaker.say(text)
    wait_for(
        lambda: any(
            each.state is MotionState.MOVING and each.intent != "test" and each.progress > 0
            for each in feedback[begun:]
        ),
        "the new plan at work",
    )
    assert not any(each.state is MotionState.STOPPED for each in feedback[begun:])


def test_it_stops_without_a_planner(rig: Rig, speaker: Speaker) -> None:
    velocities = rig.tap("/cmd_vel")
    rig.load("Command")
    speaker.plan(*FAR)
    speaker.say("go forward, then stop")
    assert velocities[-1] != STILL
    wait_for(lambda: velocities[-1] == STILL, "the robot standing")


def test_an_announced_plan_that_is_held_back_is_canceled_aloud(rig: Rig, speaker: Speaker) -> None:
    said = rig.tap("/ai/say")
    for plugin in ("Command", "Planner", "IntentParser"):
        rig.load(plugin)
    speaker.say("don't")
    said.wait()
    before = len(said)
    speaker.say("go forward two meters")
    said.wait(before + 2)
    announced, left = said[before : before + 2]
    assert announced == "going forward 2 meters"
    assert left.startswith('I heard "don\'t" just before that')


def test_a_plan_from_before_a_stop_is_canceled_aloud(rig: Rig, speaker: Speaker) -> None:
    said = rig.tap("/ai/say")
    rig.load("Command")
    speaker.say("stop")
    speaker.plan(*FAR, age_s=1.0)
    assert said == ["All right, I leave that"]
