"""A no stops a motion, and drops plans of earlier speech."""

from __future__ import annotations

import pytest

from command_rig import FAR, STILL, Speaker
from edge_inference.speech.planning.motion import MotionState
from rig import Rig

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture
def speaker(rig: Rig) -> Speaker:
    return Speaker(rig)


@pytest.mark.parametrize("text", ["don't", "Don\u2019t do that!", "no", "no no", "not there"])
def test_a_no_stops_what_moves(rig: Rig, speaker: Speaker, text: str) -> None:
    """The age of the plan does not matter."""
    velocities, feedback = rig.tap("/cmd_vel"), rig.tap("/ai/command_feedback")
    said = rig.tap("/ai/say")
    node = rig.load("Command")
    speaker.plan(*FAR, age_s=1.0)
    assert velocities[-1] != STILL
    speaker.say(text)
    assert velocities[-1] == STILL  # before the call returned
    before = len(velocities)
    velocities.wait(before + 5)
    assert set(velocities[before:]) == {STILL}
    assert feedback[-1].state is MotionState.STOPPED
    assert said == ["All right, I leave that"]
    speaker.plan(*FAR, age_s=60.0)  # said before it
    assert velocities[-1] == STILL
    assert node.health.drop_counts() == {"said_before_stop": 1}


def test_a_partial_no_does_not_act(rig: Rig, speaker: Speaker) -> None:
    velocities = rig.tap("/cmd_vel")
    rig.load("Command")
    speaker.plan(*FAR)
    speaker.say("don't", is_final=False)
    speaker.say("don't stop")
    velocities.wait(len(velocities) + 3)
    assert velocities[-1] != STILL


def test_a_no_at_rest_drops_earlier_plans_and_publishes_nothing(rig: Rig, speaker: Speaker) -> None:
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    node = rig.load("Command")
    speaker.say("no", age_s=0.5)
    speaker.plan(*FAR, age_s=60.0)  # it took longer than the no
    assert (velocities, said) == ([], ["All right, I leave that"])
    assert node.health.drop_counts() == {"said_before_stop": 1}
    speaker.plan(*FAR, age_s=0.4)
    assert velocities[-1] != STILL


def test_a_no_does_not_lift_a_stop(rig: Rig, speaker: Speaker) -> None:
    velocities = rig.tap("/cmd_vel")
    node = rig.load("Command")
    speaker.say("stop")
    speaker.say("no", age_s=100.0)
    speaker.plan(*FAR, age_s=60.0)
    assert set(velocities) <= {STILL}
    assert node.health.drop_counts() == {"said_before_stop": 1}


@pytest.mark.parametrize("text", ["only if I say so", "unless I tell you", "I did not mean it"])
def test_a_late_negation_or_condition_near_the_plan_stops_it(
    rig: Rig, speaker: Speaker, text: str
) -> None:
    velocities = rig.tap("/cmd_vel")
    rig.load("Command")
    speaker.plan(*FAR, age_s=1.0)
    assert velocities[-1] != STILL
    speaker.say(text, age_s=1.5)
    assert velocities[-1] == STILL
