"""Goes to places by Nav2, where nav2_msgs is installed."""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from rclpy.node import Node

from edge_inference.core.text_line import one_line
from edge_inference.nodes.conversions.headers import to_header
from edge_inference.speech.limits import Place

_NO_NAVIGATION = "I have no navigation"


class Navigation:
    """One goal at a time of the action ``navigate_to_pose``.

    Nothing here waits: answers come in the executor.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._goal_number = 0
        self._handle: Any = None
        self._outcome: str | None = ""
        self._client: Any = None
        try:
            from nav2_msgs.action import NavigateToPose
        except ImportError:
            return
        self._action = NavigateToPose
        self._client = ActionClient(node, NavigateToPose, "/navigate_to_pose")

    @property
    def outcome(self) -> str | None:
        """None while a goal is under way, empty when the robot has got there, else why not."""
        with self._lock:
            if self._outcome is None and not self._client.server_is_ready():
                self._goal_number += 1
                self._handle = None
                self._outcome = "Navigation is gone"
            return self._outcome

    def go(self, place: Place) -> None:
        """Set off for a place, in place of the goal that is under way."""
        self.cancel()
        if self._client is None or not self._client.server_is_ready():
            with self._lock:
                self._outcome = _NO_NAVIGATION
            return
        with self._lock:
            self._outcome = None
            number = self._goal_number
        goal = self._action.Goal()
        goal.pose = to_pose(place, int(self._node.get_clock().now().nanoseconds))
        future = self._client.send_goal_async(goal)
        future.add_done_callback(lambda done: self._settle(done, number, self._answered))

    def cancel(self) -> None:
        """Give the goal up; one that is not yet accepted is cancelled as soon as it is."""
        with self._lock:
            self._goal_number += 1
            handle, self._handle = self._handle, None
            self._outcome = ""
        if handle is not None:
            handle.cancel_goal_async()

    def close(self) -> None:
        """Give up, and leave the graph."""
        self.cancel()
        if self._client is not None:
            self._client.destroy()
            self._client = None

    def _settle(self, done: Any, number: int, take: Callable[[Any, int], None]) -> None:
        """Take an answer; a goal whose answer fails is over, so that nobody waits for its end."""
        try:
            take(done.result(), number)
        except BaseException:
            self._node.get_logger().error(traceback.format_exc())
            with self._lock:
                if number != self._goal_number:
                    return
                handle, self._handle = self._handle, None
                self._outcome = "Navigation has failed"
            if handle is not None:
                handle.cancel_goal_async()

    def _answered(self, handle: Any, number: int) -> None:
        with self._lock:
            is_wanted = number == self._goal_number
            if is_wanted and not handle.accepted:
                self._outcome = "I cannot go there"
            if is_wanted and handle.accepted:
                self._handle = handle
        if not handle.accepted:
            return
        if is_wanted:
            future = handle.get_result_async()
            future.add_done_callback(lambda done: self._settle(done, number, self._ended))
        else:
            handle.cancel_goal_async()

    def _ended(self, end: Any, number: int) -> None:
        is_there = end.status == GoalStatus.STATUS_SUCCEEDED
        with self._lock:
            if number != self._goal_number:
                return
            self._handle = None
            self._outcome = "" if is_there else "I did not get there"
        # Before Jazzy the result does not say why.
        why = getattr(end.result, "error_msg", "")
        if not is_there and why:
            self._node.get_logger().warning(one_line(f"navigation: {why}"))


def to_pose(place: Place, stamp_ns: int) -> PoseStamped:
    """Return a place as a stamped pose."""
    pose = PoseStamped(header=to_header(stamp_ns, place.frame_id))
    pose.pose.position.x = place.x_m
    pose.pose.position.y = place.y_m
    pose.pose.orientation.z = math.sin(place.yaw_rad / 2)
    pose.pose.orientation.w = math.cos(place.yaw_rad / 2)
    return pose
