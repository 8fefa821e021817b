"""Cancel requests that navigation rejects or ignores, with a real action server."""

from __future__ import annotations

import pytest

from edge_inference.nodes.voice.navigation.abandoned_goals import MAX_CANCEL_ATTEMPTS
from navigation_rig import STILL, Navigator, Robot
from rig import Rig, wait_for

pytestmark = pytest.mark.usefixtures("patient")


@pytest.mark.parametrize("text", ["stop", "don't do that"])
def test_rejected_requests_are_repeated_until_one_is_accepted(
    rig: Rig, navigator: Navigator, text: str
) -> None:
    navigator.rejections = 2
    robot = Robot(rig).drive_to_kitchen()
    robot.say(text)
    wait_for(lambda: robot.node.health.status(0).values.get("error: navigation"), "an error")
    assert "rejects a cancel request" in robot.node.health.status(0).values["last error"]
    navigator.cancels.wait(3)
    wait_for(lambda: "Attention, navigation may still be driving me" in robot.said, "a warning")
    navigator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


def test_all_requests_are_rejected(rig: Rig, navigator: Navigator) -> None:
    navigator.rejections = 1000
    robot = Robot(rig).drive_to_kitchen()
    robot.say("stop")
    navigator.cancels.wait(MAX_CANCEL_ATTEMPTS)
    wait_for(lambda: robot.has_error("rejects a cancel request"), "an error")
    robot.assert_stands()
    assert len(navigator.cancels) == MAX_CANCEL_ATTEMPTS + 1  # one more for all goals
    assert robot.said.count("Attention, navigation may still be driving me") == 1


def test_an_accepted_request_without_effect_is_an_error(rig: Rig, navigator: Navigator) -> None:
    robot = Robot(rig).drive_to_kitchen()
    robot.say("stop")
    wait_for(
        lambda: robot.has_error("has accepted a cancel request, but its goal is still active"),
        "an error",
    )
    robot.assert_stands()
    navigator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


def test_a_server_that_leaves_is_an_error(rig: Rig, navigator: Navigator) -> None:
    robot = Robot(rig, cancel_timeout_s=60.0).drive_to_kitchen()
    navigator.vanish()
    wait_for(lambda: "Navigation is gone" in robot.said, "the announcement")
    wait_for(lambda: STILL in robot.velocities, "zero velocity")
    last = "last error"
    wait_for(
        lambda: "left the graph before" in robot.node.health.status(0).values.get(last, ""), last
    )


def test_an_accepted_request_is_no_error(rig: Rig, navigator: Navigator) -> None:
    robot = Robot(rig, cancel_timeout_s=60.0).drive_to_kitchen()
    robot.say("stop")
    navigator.cancels.wait()
    navigator.end()
    wait_for(lambda: not robot.node._navigation._abandoned._goals, "its end")
    assert "error: navigation" not in robot.node.health.status(0).values
    assert robot.said == []
    assert len(navigator.cancels) == 1
