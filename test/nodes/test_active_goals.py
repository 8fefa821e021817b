"""Goals of navigation that another process has sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import rclpy
from edge_inference.action import Listen
from rclpy.action import ActionClient
from rclpy.context import Context

from edge_inference.core.voice import ActionStep
from edge_inference.nodes.voice.navigation import active_goals
from edge_inference.nodes.voice.navigation.abandoned_goals import MAX_CANCEL_ATTEMPTS
from edge_inference.nodes.voice.navigation.active_goals import ActiveGoals
from edge_inference.nodes.voice.navigation.client import NavigationClient
from navigation_rig import KITCHEN, STILL, Navigator, Robot
from rig import Collected, Rig, later, wait_for

pytestmark = pytest.mark.usefixtures("patient")

BOTH = pytest.mark.parametrize("text", ["stop", "don't do that"])
REJECTS = "rejects a cancel request"


@pytest.fixture
def operator(navigator: Navigator) -> Iterator[Navigator]:
    """An action server with a goal of another client."""
    context = Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node("operator", context=context)
    client = ActionClient(node, Listen, "/navigate_to_pose")
    wait_for(client.server_is_ready, "navigation")
    client.send_goal_async(Listen.Goal(timeout_s=1.0))
    navigator.goals.wait()
    yield navigator
    client.destroy()
    node.destroy_node()
    context.try_shutdown()


def crash(rig: Rig, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unload a command node without canceling its goal, like one that is killed."""
    (component,) = rig.container.components
    with monkeypatch.context() as patch:
        patch.setattr(NavigationClient, "cancel", lambda self: None)
        rig.call(lambda: rig.container.unload(component.id))


def wait_for_status(robot: Robot) -> None:
    wait_for(lambda: robot.node._navigation._active.ids, "word of the goal")


def test_a_goal_of_a_crashed_node_is_canceled_by_its_successor(
    rig: Rig, navigator: Navigator, monkeypatch: pytest.MonkeyPatch
) -> None:
    navigator.rejections = 2
    crash(rig, Robot(rig).drive_to_kitchen(), monkeypatch)
    assert navigator.cancels == []
    robot = Robot(rig)
    navigator.cancels.wait(3)
    wait_for(lambda: "Attention, navigation may still be driving me" in robot.said, "a warning")
    wait_for(lambda: STILL in robot.velocities, "zero velocity")
    wait_for(lambda: robot.node.health.status(0).values.get("error: navigation"), "an error")
    navigator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


@BOTH
def test_a_stop_cancels_a_goal_of_a_crashed_node(
    rig: Rig, navigator: Navigator, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    navigator.rejections = 1000
    crash(rig, Robot(rig).drive_to_kitchen(), monkeypatch)
    robot = Robot(rig)
    navigator.cancels.wait(MAX_CANCEL_ATTEMPTS)
    robot.say(text)
    # One request for all goals, and new ones for this goal; a busy machine may lose one.
    navigator.cancels.wait(MAX_CANCEL_ATTEMPTS + 3)


def test_a_goal_of_another_client_is_canceled_only_by_a_stop(rig: Rig, operator: Navigator) -> None:
    robot = Robot(rig)
    wait_for_status(robot)
    robot.plan(ActionStep("say", target="hello"))
    robot.say("hello")
    wait_for(lambda: "hello" in robot.said, "an answer")
    robot.say("stop")
    operator.cancels.wait()
    operator.end()
    wait_for(lambda: not robot.node._navigation._abandoned._goals, "its end")
    assert len(operator.cancels) == 1  # none before the stop
    assert robot.said == ["hello"]
    assert "error: navigation" not in robot.node.health.status(0).values


@BOTH
def test_a_goal_of_another_client_is_tracked_until_it_ends(
    rig: Rig, operator: Navigator, text: str
) -> None:
    operator.rejections = 3
    robot = Robot(rig)
    wait_for_status(robot)
    robot.say(text)
    operator.cancels.wait(4)
    wait_for(lambda: "Attention, navigation may still be driving me" in robot.said, "a warning")
    assert robot.node.health.status(0).values["error: navigation"]
    operator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


def test_a_plan_to_stop_is_a_stop(rig: Rig, operator: Navigator) -> None:
    robot = Robot(rig)
    robot.plan(ActionStep("stop"))
    operator.cancels.wait()


def test_a_goal_without_a_status_is_canceled_and_tracked(
    rig: Rig, operator: Navigator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ActiveGoals, "_on_status", lambda self, message: None)
    robot = Robot(rig)
    robot.say("stop")
    wait_for(
        lambda: robot.has_error("has accepted a cancel request, but its goal is still active"),
        "an error",
    )
    operator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


@pytest.fixture
def withheld(monkeypatch: pytest.MonkeyPatch) -> Collected:
    """Status messages that are held back; call one to deliver it."""
    calls, take = Collected(), ActiveGoals._on_status

    def withhold(self: ActiveGoals, message) -> None:
        calls.take(lambda: take(self, message))

    monkeypatch.setattr(ActiveGoals, "_on_status", withhold)
    return calls


def test_a_goal_whose_status_arrives_just_after_a_stop_is_tracked(
    rig: Rig, operator: Navigator, withheld: Collected
) -> None:
    operator.rejections = 2
    robot = Robot(rig)
    robot.say("stop")
    operator.cancels.wait()
    rig.call(withheld.wait()[0])
    operator.cancels.wait(3)
    operator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


def test_a_stop_before_the_discovery_of_navigation_cancels_its_goals(
    rig: Rig, operator: Navigator, withheld: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = Robot(rig)
    with monkeypatch.context() as patch:
        patch.setattr(robot.node._navigation._client, "server_is_ready", lambda: False)
        robot.say("stop")
    assert operator.cancels == []
    rig.call(withheld.wait()[0])
    operator.cancels.wait()


def test_a_stop_cancels_no_goal_whose_status_arrives_long_after_it(
    rig: Rig, operator: Navigator, withheld: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.rejections = 1000
    robot = Robot(rig)
    pass_s = later(monkeypatch, active_goals)
    robot.say("stop")
    operator.cancels.wait()
    pass_s(6.0)
    rig.call(withheld.wait()[0])
    assert not robot.node._navigation._abandoned._goals


@BOTH
def test_another_stop_repeats_rejected_requests(rig: Rig, navigator: Navigator, text: str) -> None:
    navigator.rejections = 1000
    robot = Robot(rig).drive_to_kitchen()
    robot.say("stop")
    navigator.cancels.wait(MAX_CANCEL_ATTEMPTS + 1)
    wait_for(lambda: robot.has_error(REJECTS), "an error")
    navigator.rejections = len(navigator.cancels) + 3
    robot.say(text)
    navigator.cancels.wait(navigator.rejections + 1)
    navigator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


def test_a_goal_that_is_accepted_after_a_stop_is_canceled_and_tracked(
    rig: Rig, navigator: Navigator
) -> None:
    navigator.may_accept.clear()
    robot = Robot(rig)
    robot.plan(KITCHEN)
    robot.say("stop")
    wait_for(lambda: not robot.node._navigation._abandoned._goals, "the end of tracking")
    navigator.rejections = 3
    navigator.may_accept.set()
    navigator.cancels.wait(4)
    robot.assert_stands()
    navigator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


def test_without_navigation_a_stop_is_quiet(rig: Rig, navigator: Navigator) -> None:
    robot = Robot(rig)
    navigator.vanish()
    client = robot.node._navigation._client
    wait_for(lambda: not client.server_is_ready(), "navigation gone")
    robot.say("stop")
    robot.say("don't do that")
    robot.velocities.wait()
    assert robot.said == []
    assert "error: navigation" not in robot.node.health.status(0).values
