"""A stop that navigation does not heed, with a real action server (of whatever action)."""

from __future__ import annotations

import sys
import threading
import types

import pytest
import rclpy
from edge_inference.action import Listen
from rclpy.action import ActionServer, CancelResponse
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from edge_inference.composition.bus import Publisher
from edge_inference.core.health import Level
from edge_inference.core.voice import ActionPlan, Step, Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter
from edge_inference.nodes.given_up import MOST_TRIES
from edge_inference.nodes.navigation import Navigation
from rig import Collected, Rig, wait_for

pytestmark = pytest.mark.usefixtures("patient")

STILL = (0.0, 0.0)
KITCHEN = Step("go_to", target="kitchen")


class Navigator:
    """Takes goals; refuses to end them so many times."""

    def __init__(self) -> None:
        self.refusals = 0
        self.goals, self.cancels = Collected(), Collected()
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self._node = rclpy.create_node("navigator", context=self._context)
        self._server = ActionServer(
            self._node,
            Listen,
            "/navigate_to_pose",
            execute_callback=lambda handle: Listen.Result(),
            handle_accepted_callback=self.goals.take,
            cancel_callback=self._cancel,
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def end(self) -> None:
        def execute(handle):
            handle.canceled()
            return Listen.Result()

        self.goals[-1].execute(execute)

    def vanish(self) -> None:
        self._executor.shutdown()
        self._context.try_shutdown()
        self._thread.join()

    def _cancel(self, handle) -> CancelResponse:
        self.cancels.take(handle)
        refuses = len(self.cancels) <= self.refusals
        return CancelResponse.REJECT if refuses else CancelResponse.ACCEPT

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except rclpy.executors.ExternalShutdownException:
            return
        finally:
            self._server.destroy()
            self._node.destroy_node()


@pytest.fixture
def navigator(monkeypatch: pytest.MonkeyPatch):
    package, module = types.ModuleType("nav2_msgs"), types.ModuleType("nav2_msgs.action")
    module.NavigateToPose = Listen
    monkeypatch.setitem(sys.modules, "nav2_msgs", package)
    monkeypatch.setitem(sys.modules, "nav2_msgs.action", module)
    monkeypatch.setattr(Navigation, "_message", lambda self, place: Listen.Goal(timeout_s=1.0))
    navigator = Navigator()
    yield navigator
    navigator.vanish()


class Robot:
    """A command node on its way to the kitchen."""

    def __init__(self, rig: Rig, navigator: Navigator, cancel_s: float = 0.1) -> None:
        self.velocities, self.said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
        self.node = rig.load("Command", zeros_s=0.1, cancel_s=cancel_s)
        node = rig.container.node
        self._now_ns = self.node.now_ns
        self._plans, self._words = rig.call(
            lambda: (
                Publisher(node, ActionPlanAdapter(), "/ai/action_plan", RELIABLE),
                Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE),
            )
        )
        wait_for(self.node._navigation._client.server_is_ready, "navigation")
        self._plans.publish(ActionPlan("go_to", (KITCHEN,), self._now_ns()))
        navigator.goals.wait()
        wait_for(lambda: self.node._navigation._goal.handle, "the goal accepted")

    def say(self, text: str) -> None:
        self._words.publish(Transcript(text, 0.9, "command", self._now_ns()))

    def shows(self, words: str) -> bool:
        status = self.node.health.status(0)
        return status.level is Level.ERROR and words in status.message

    def stands(self) -> None:
        """Wait for zeros that go on, however short ``zeros_s`` is."""
        count = len(self.velocities)
        self.velocities.wait(count + 10)
        assert set(self.velocities) == {STILL}


@pytest.mark.parametrize("text", ["stop", "don't do that"])
def test_it_is_told_again_until_it_heeds(rig: Rig, navigator: Navigator, text: str) -> None:
    navigator.refusals = 2
    robot = Robot(rig, navigator)
    robot.say(text)
    wait_for(lambda: robot.node.health.status(0).values.get("error: navigation"), "an error")
    assert "refuses to end its goal" in robot.node.health.status(0).values["last error"]
    navigator.cancels.wait(3)
    wait_for(lambda: "Attention, navigation may still be driving me" in robot.said, "a warning")
    navigator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


def test_it_never_heeds(rig: Rig, navigator: Navigator) -> None:
    navigator.refusals = 1000
    robot = Robot(rig, navigator)
    robot.say("stop")
    navigator.cancels.wait(MOST_TRIES)
    wait_for(lambda: robot.shows("refuses to end its goal"), "an error")
    robot.stands()
    assert len(navigator.cancels) == MOST_TRIES + 1  # all goals were told to end once, too
    assert robot.said.count("Attention, navigation may still be driving me") == 1


def test_it_agrees_and_goes_on(rig: Rig, navigator: Navigator) -> None:
    robot = Robot(rig, navigator)
    robot.say("stop")
    wait_for(lambda: robot.shows("has agreed to end its goal, and goes on"), "an error")
    robot.stands()
    navigator.end()
    wait_for(lambda: not robot.node._navigation.problem, "its end")


def test_it_is_gone_while_it_drives(rig: Rig, navigator: Navigator) -> None:
    robot = Robot(rig, navigator, cancel_s=60.0)
    navigator.vanish()
    wait_for(lambda: "Navigation is gone" in robot.said, "word of it")
    wait_for(lambda: STILL in robot.velocities, "zero velocity")
    last = "last error"
    wait_for(lambda: "has gone before" in robot.node.health.status(0).values.get(last, ""), last)


def test_it_heeds_at_once(rig: Rig, navigator: Navigator) -> None:
    robot = Robot(rig, navigator, cancel_s=60.0)
    robot.say("stop")
    navigator.cancels.wait()
    navigator.end()
    wait_for(lambda: not robot.node._navigation._given_up._goals, "its end")
    assert "error: navigation" not in robot.node.health.status(0).values
    assert robot.said == []
    assert len(navigator.cancels) == 1
