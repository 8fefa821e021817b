"""A real action server (of whatever action) that stands in for Nav2, and who drives by it."""

from __future__ import annotations

import threading

import rclpy
from edge_inference.action import Listen
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.health import HealthLevel
from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter
from rig import Collected, Rig, wait_for

STILL = (0.0, 0.0)
KITCHEN = ActionStep("go_to", target="kitchen")


class Navigator:
    """Takes goals, as soon as it ``may_accept``; refuses to end them so many times."""

    def __init__(self) -> None:
        self.refusals = 0
        self.may_accept = threading.Event()
        self.may_accept.set()
        self.goals, self.cancels = Collected(), Collected()
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self._node = rclpy.create_node("navigator", context=self._context)
        self._server = ActionServer(
            self._node,
            Listen,
            "/navigate_to_pose",
            execute_callback=lambda handle: Listen.Result(),
            goal_callback=self._accept,
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
        self.may_accept.set()
        self._executor.shutdown()
        self._context.try_shutdown()
        self._thread.join()

    def _accept(self, goal) -> GoalResponse:
        self.may_accept.wait()
        return GoalResponse.ACCEPT

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


class Robot:
    """A command node that knows its navigation."""

    def __init__(self, rig: Rig, cancel_timeout_s: float = 0.1) -> None:
        self.velocities, self.said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
        self.node = rig.load("Command", zero_velocity_s=0.1, cancel_timeout_s=cancel_timeout_s)
        node = rig.container.node
        self._now_ns = self.node.now_ns
        self._plans, self._words = rig.call(
            lambda: (
                Publisher(node, ActionPlanAdapter(), "/ai/action_plan", RELIABLE),
                Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE),
            )
        )
        wait_for(self.node._navigation._client.server_is_ready, "navigation")

    def plan(self, *steps: ActionStep) -> None:
        self._plans.publish(ActionPlan("test", steps, self._now_ns()))

    def sets_off(self) -> Robot:
        """Wait until the robot is on its way to the kitchen."""
        self.plan(KITCHEN)
        wait_for(lambda: self.node._navigation._goal.handle, "the goal accepted")
        return self

    def say(self, text: str) -> None:
        self._words.publish(Transcript(text, 0.9, "command", self._now_ns()))

    def shows(self, words: str) -> bool:
        status = self.node.health.status(0)
        return status.level is HealthLevel.ERROR and words in status.message

    def stands(self) -> None:
        """Wait for zeros that go on, however short ``zero_velocity_s`` is."""
        count = len(self.velocities)
        self.velocities.wait(count + 10)
        assert set(self.velocities) == {STILL}
