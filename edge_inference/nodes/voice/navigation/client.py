"""The action client for Nav2's ``navigate_to_pose``, where nav2_msgs is installed."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalInfo, GoalStatus
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.timer import Timer

from edge_inference.core.text_line import one_line
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.headers import to_header
from edge_inference.nodes.voice.navigation.abandoned_goals import AbandonedGoal, AbandonedGoals
from edge_inference.nodes.voice.navigation.active_goals import ActiveGoals
from edge_inference.speech.actions.limits import NamedPlace

_NO_NAVIGATION = "I have no navigation"
_ACTION = "/navigate_to_pose"
_UPDATE_PERIOD_S = 0.1


class NavigationClient:
    """Sends one goal at a time to the action ``navigate_to_pose``.

    No method blocks: responses arrive in the executor. If an abandoned goal has not ended after
    ``cancel_timeout_s()``, the client reports an error until it ends, and repeats a cancel request
    that was rejected or not answered. The same holds for a goal of an earlier node of this name.
    """

    def __init__(self, node: Component, cancel_timeout_s: Callable[[], float]) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._goal: AbandonedGoal | None = None
        self._outcome: str | None = ""
        self._abandoned = AbandonedGoals(cancel_timeout_s)
        self._client: Any = None
        self._timer: Timer | None = None
        try:
            from nav2_msgs.action import NavigateToPose
        except ImportError:
            return
        self._action = NavigateToPose
        self._client = ActionClient(node, NavigateToPose, _ACTION)
        self._active = ActiveGoals(node, _ACTION, self._cancel_by_id)
        self._timer = node.make_timer(_UPDATE_PERIOD_S, self._update)

    @property
    def outcome(self) -> str | None:
        """None while a goal is active, empty once the robot has arrived, else the reason."""
        with self._lock:
            lost = None
            if self._outcome is None and not self._client.server_is_ready():
                lost, self._goal = self._goal, None
                self._outcome = "Navigation is gone"
            outcome = self._outcome
        if lost is not None:
            self._abandoned.add(lost)
        return outcome

    @property
    def problem(self) -> str:
        """What keeps an abandoned goal from ending; empty if nothing does."""
        return self._abandoned.problem

    def go(self, place: NamedPlace) -> None:
        """Send a goal for a place; it replaces the active goal."""
        self.cancel()
        if self._client is None or not self._client.server_is_ready():
            with self._lock:
                self._outcome = _NO_NAVIGATION
            return
        with self._lock:
            goal = self._goal = AbandonedGoal(id=self._active.new_id())
            self._outcome = None
        future = self._client.send_goal_async(self._message(place), goal_uuid=_uuid(goal.id))
        future.add_done_callback(lambda done: self._handle_future(done, goal, self._on_response))

    def cancel(self) -> None:
        """Cancel the goal; one that is not accepted yet is canceled as soon as it is."""
        with self._lock:
            goal, self._goal = self._goal, None
            self._outcome = ""
        if goal is not None:
            self._abandoned.add(goal)

    def cancel_all(self) -> None:
        """Cancel the goals of all clients, and again those that have not ended in time."""
        self._abandoned.retry()
        self.cancel()
        if self._client is None:
            return
        self._active.cancel_all(is_server_ready := self._client.server_is_ready())
        if not is_server_ready:
            return
        # An id of zeros means all goals, those that no status message has named yet as well.
        response = ClientGoalHandle(self._client, _uuid(bytes(16)), None).cancel_goal_async()
        response.add_done_callback(self._node.guard(self._on_all_canceled))

    def close(self) -> None:
        """Cancel the goal and destroy the action client."""
        self.cancel()
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        if self._client is not None:
            self._active.close()
            self._client.destroy()
            self._client = None

    def _message(self, place: NamedPlace) -> Any:
        message = self._action.Goal()
        message.pose = to_pose(place, self._node.now_ns())
        return message

    def _update(self) -> None:
        self._abandoned.update(self._client.server_is_ready())
        problem = self._abandoned.problem
        if problem and self._node.health.report_ongoing("navigation", problem, time.monotonic_ns()):
            self._node.get_logger().error(problem)

    def _handle_future(
        self, done: Any, goal: AbandonedGoal, handle: Callable[[Any, AbandonedGoal], None]
    ) -> None:
        """Handle a result; a failure ends the goal, so that the plan does not wait for it."""
        try:
            handle(done.result(), goal)
        except BaseException:
            self._node.get_logger().error(traceback.format_exc())
            if self._finish(goal, "Navigation has failed"):
                self._abandoned.add(goal)

    def _finish(self, goal: AbandonedGoal, outcome: str) -> bool:
        """Set the outcome of a goal; return whether it is the current one."""
        with self._lock:
            if goal is not self._goal:
                return False
            self._goal, self._outcome = None, outcome
            return True

    def _on_response(self, handle: Any, goal: AbandonedGoal) -> None:
        if not handle.accepted:
            self._abandoned.remove(goal)
            self._finish(goal, "I cannot go there")
            return
        goal.handle = handle
        if goal is not self._goal:
            self._abandoned.add(goal)
        self._request_result(goal)

    def _request_result(self, goal: AbandonedGoal) -> None:
        future = goal.handle.get_result_async()
        future.add_done_callback(lambda done: self._handle_future(done, goal, self._on_result))

    def _on_all_canceled(self, done: Any) -> None:
        for each in done.result().goals_canceling:
            self._cancel_by_id(bytes(each.goal_id.uuid))

    def _cancel_by_id(self, goal_id: bytes) -> None:
        """Cancel a goal of another client, and track it until it ends."""
        with self._lock:
            is_current = self._goal is not None and self._goal.id == goal_id
        if (client := self._client) is None or is_current or self._abandoned.contains(goal_id):
            return
        goal = AbandonedGoal(ClientGoalHandle(client, _uuid(goal_id), None), goal_id)
        self._abandoned.add(goal)
        self._request_result(goal)

    def _on_result(self, result: Any, goal: AbandonedGoal) -> None:
        self._abandoned.remove(goal)
        has_arrived = result.status == GoalStatus.STATUS_SUCCEEDED
        if not self._finish(goal, "" if has_arrived else "I did not get there"):
            return
        # Before Jazzy the result has no field for the reason.
        reason = getattr(result.result, "error_msg", "")
        if not has_arrived and reason:
            self._node.get_logger().warning(one_line(f"navigation: {reason}"))


def _uuid(goal_id: bytes) -> Any:
    uuid = GoalInfo().goal_id
    uuid.uuid = list(goal_id)
    return uuid


def to_pose(place: NamedPlace, stamp_ns: int) -> PoseStamped:
    """Return a place as a stamped pose."""
    pose = PoseStamped(header=to_header(stamp_ns, place.frame_id))
    pose.pose.position.x = place.x_m
    pose.pose.position.y = place.y_m
    pose.pose.orientation.z = math.sin(place.yaw_rad / 2)
    pose.pose.orientation.w = math.cos(place.yaw_rad / 2)
    return pose
