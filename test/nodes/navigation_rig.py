"""A real action server that replaces Nav2, and a command node as its client."""

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
    """Accepts goals while ``may_accept`` is set; rejects the first ``rejections`` requests."""

    def __init__(self) -> None:
        self.rejections = 0
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
        is_rejected = len(self.cancels) <= self.rejections
        return CancelResponse.REJECT if is_rejected else CancelResponse.ACCEPT

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except rclpy.executors.ExternalShutdownException:
            return
        finally:
            self._server.destroy()
            self._node.destroy_node()


class Robot:
    """A command node that has found the action server."""

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

    def drive_to_kitchen(self) -> Robot:
        """Wait until the robot is on its way to the kitchen."""
        self.plan(KITCHEN)
        wait_for(lambda: self.node._navigation._goal.handle, "the goal accepted")
        return self

    def say(self, text: str) -> None:
        self._words.publish(Transcript(text, 0.9, "command", self._now_ns()))

    def has_error(self, text: str) -> bool:
        status = self.node.health.status(0)
        return status.level is HealthLevel.ERROR and text in status.message

    def assert_stands(self) -> None:
        """Wait for zero velocities beyond ``zero_velocity_s``."""
        count = len(self.velocities)
        self.velocities.wait(count + 10)
        assert set(self.velocities) == {STILL}
