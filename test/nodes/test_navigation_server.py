"""Going to places with a real action server of Nav2's interface, in a context of its own."""

from __future__ import annotations

import threading

import pytest
import rclpy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from edge_inference.composition.bus import Publisher
from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter
from edge_inference.speech.planning.motion import MotionState
from rig import Collected, Rig, wait_for

action = pytest.importorskip("nav2_msgs.action", reason="nav2_msgs is absent")

KITCHEN = (ActionStep("go_to", target="kitchen"), ActionStep("say", target="here I am"))


class Navigator:
    """Accepts goals and ends them on request of the test."""

    def __init__(self) -> None:
        self.accepts = True
        self.goals = Collected()
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self._node = rclpy.create_node("navigator", context=self._context)
        self._server = ActionServer(
            self._node,
            action.NavigateToPose,
            "/navigate_to_pose",
            execute_callback=lambda handle: action.NavigateToPose.Result(),
            goal_callback=lambda goal: GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT,
            handle_accepted_callback=self.goals.take,
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def feed_back(self, left_m: float) -> None:
        feedback = action.NavigateToPose.Feedback(distance_remaining=left_m)
        self.goals[-1].publish_feedback(feedback)

    def end(self, how: str, words: str = "") -> None:
        """Succeed, abort or cancel the last goal, with a reason if the interface has one."""

        def execute(handle):
            getattr(handle, how)()
            result = action.NavigateToPose.Result()
            if words and hasattr(result, "error_msg"):
                result.error_msg = words
            return result

        self.goals[-1].execute(execute)

    def vanish(self) -> None:
        """Leave the graph, as a process that ends does."""
        self._executor.shutdown()
        self._context.try_shutdown()
        self._thread.join()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except rclpy.executors.ExternalShutdownException:
            return
        finally:
            self._server.destroy()
            self._node.destroy_node()


@pytest.fixture
def navigator():
    navigator = Navigator()
    yield navigator
    navigator.vanish()


class Speaker:
    def __init__(self, rig: Rig) -> None:
        node = rig.container.node
        self._now_ns = lambda: node.get_clock().now().nanoseconds
        self._plans, self._words = rig.call(
            lambda: (
                Publisher(node, ActionPlanAdapter(), "/ai/action_plan", RELIABLE),
                Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE),
            )
        )

    def ask(self, *steps: ActionStep) -> None:
        self._plans.publish(ActionPlan("test", steps, self._now_ns()))

    def say(self, text: str) -> None:
        self._words.publish(Transcript(text, 0.9, "command", self._now_ns()))


@pytest.fixture
def speaker(rig: Rig, navigator: Navigator) -> Speaker:
    """Speaks to a command node that has found the navigator."""
    client = rig.load("Command", zero_velocity_s=0.1)._navigation._client
    wait_for(client.server_is_ready, "navigation")
    return Speaker(rig)


def test_it_gets_there(rig: Rig, navigator: Navigator, speaker: Speaker) -> None:
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    feedback = rig.tap("/ai/command_feedback")
    speaker.ask(*KITCHEN)
    (goal,) = navigator.goals.wait()
    assert goal.request.pose.header.frame_id == "map"
    position = goal.request.pose.pose.position
    assert (position.x, position.y) == (4.0, 1.5)
    navigator.feed_back(1.5)
    assert (velocities, said) == ([], [])  # only navigation publishes
    navigator.end("succeed")
    assert said.wait() == ["here I am"]
    wait_for(lambda: feedback[-1].state is MotionState.DONE, "the end")


def test_it_does_not_get_there(
    rig: Rig, navigator: Navigator, speaker: Speaker, capfd: pytest.CaptureFixture[str]
) -> None:
    said, feedback = rig.tap("/ai/say"), rig.tap("/ai/command_feedback")
    speaker.ask(*KITCHEN)
    navigator.goals.wait()
    navigator.end("abort", "a door is closed")
    assert said.wait() == ["I did not get there"]
    assert feedback[-1].problem == "I did not get there"
    if hasattr(action.NavigateToPose.Result, "error_msg"):
        wait_for(lambda: "navigation: a door is closed" in capfd.readouterr().err, "the reason")


def test_it_is_rejected(rig: Rig, navigator: Navigator, speaker: Speaker) -> None:
    said = rig.tap("/ai/say")
    navigator.accepts = False
    speaker.ask(*KITCHEN)
    assert said.wait() == ["I cannot go there"]
    assert navigator.goals == []


def test_stop_cancels_it(rig: Rig, navigator: Navigator, speaker: Speaker) -> None:
    velocities, feedback = rig.tap("/cmd_vel"), rig.tap("/ai/command_feedback")
    speaker.ask(*KITCHEN)
    (goal,) = navigator.goals.wait()
    speaker.say("stop")
    assert velocities.wait()[0] == (0.0, 0.0)
    wait_for(lambda: goal.is_cancel_requested, "the goal's cancellation")
    navigator.end("canceled")
    wait_for(lambda: feedback[-1].state is MotionState.STOPPED, "the stop in the feedback")


def test_stop_cancels_a_goal_that_is_not_yet_accepted(
    rig: Rig, navigator: Navigator, speaker: Speaker
) -> None:
    rig.call(lambda: (speaker.ask(*KITCHEN), speaker.say("stop")))
    (goal,) = navigator.goals.wait()
    wait_for(lambda: goal.is_cancel_requested, "the goal's cancellation")


def test_another_place_takes_over(rig: Rig, navigator: Navigator, speaker: Speaker) -> None:
    speaker.ask(*KITCHEN)
    (first,) = navigator.goals.wait()
    speaker.ask(ActionStep("go_to", target="door"))
    wait_for(lambda: first.is_cancel_requested, "the first goal's cancellation")
    second = navigator.goals.wait(2)[1]
    assert second.request.pose.pose.position.y == -2.0
    assert not second.is_cancel_requested


def test_navigation_vanishes(rig: Rig, navigator: Navigator, speaker: Speaker) -> None:
    said, feedback = rig.tap("/ai/say"), rig.tap("/ai/command_feedback")
    speaker.ask(*KITCHEN)
    navigator.goals.wait()
    navigator.vanish()
    assert said.wait() == ["Navigation is gone"]
    assert feedback[-1].problem == "Navigation is gone"
    speaker.ask(*KITCHEN)
    assert said.wait(2)[1] == "I have no navigation"


def test_deactivation_cancels_it(rig: Rig, navigator: Navigator, speaker: Speaker) -> None:
    speaker.ask(*KITCHEN)
    (goal,) = navigator.goals.wait()
    (node,) = [each for each in rig.container.executor.get_nodes() if each.get_name() == "command"]
    rig.call(node.trigger_deactivate)
    wait_for(lambda: goal.is_cancel_requested, "the goal's cancellation")
