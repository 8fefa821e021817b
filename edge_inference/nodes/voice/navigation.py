"""Goes to places by Nav2, where nav2_msgs is installed."""

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
from edge_inference.nodes.voice.abandoned_goals import AbandonedGoal, AbandonedGoals
from edge_inference.nodes.voice.active_goals import ActiveGoals
from edge_inference.speech.planning.limits import NamedPlace

_NO_NAVIGATION = "I have no navigation"
_ACTION = "/navigate_to_pose"
_LOOK_S = 0.1


class Navigation:
    """One goal at a time of the action ``navigate_to_pose``.

    Nothing here waits: answers come in the executor. A goal that was given up and has not ended
    ``cancel_s()`` later is given up again, and shown as an error until it has. So is a goal that
    one who had this node's name before has left behind.
    """

    def __init__(self, node: Component, cancel_s: Callable[[], float]) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._goal: AbandonedGoal | None = None
        self._outcome: str | None = ""
        self._given_up = AbandonedGoals(cancel_s)
        self._client: Any = None
        self._timer: Timer | None = None
        try:
            from nav2_msgs.action import NavigateToPose
        except ImportError:
            return
        self._action = NavigateToPose
        self._client = ActionClient(node, NavigateToPose, _ACTION)
        self._under_way = ActiveGoals(node, _ACTION, self._take_over)
        self._timer = node.make_timer(_LOOK_S, self._look)

    @property
    def outcome(self) -> str | None:
        """None while a goal is under way, empty when the robot has got there, else why not."""
        with self._lock:
            lost = None
            if self._outcome is None and not self._client.server_is_ready():
                lost, self._goal = self._goal, None
                self._outcome = "Navigation is gone"
            outcome = self._outcome
        if lost is not None:
            self._given_up.add(lost)
        return outcome

    @property
    def problem(self) -> str:
        """What keeps a goal that was given up from ending; empty where nothing does."""
        return self._given_up.problem

    def go(self, place: NamedPlace) -> None:
        """Set off for a place, in place of the goal that is under way."""
        self.cancel()
        if self._client is None or not self._client.server_is_ready():
            with self._lock:
                self._outcome = _NO_NAVIGATION
            return
        with self._lock:
            goal = self._goal = AbandonedGoal(id=self._under_way.new_id())
            self._outcome = None
        future = self._client.send_goal_async(self._message(place), goal_uuid=_uuid(goal.id))
        future.add_done_callback(lambda done: self._settle(done, goal, self._answered))

    def cancel(self) -> None:
        """Give the goal up; one that is not yet accepted is cancelled as soon as it is."""
        with self._lock:
            goal, self._goal = self._goal, None
            self._outcome = ""
        if goal is not None:
            self._given_up.add(goal)

    def cancel_all(self) -> None:
        """Have all goals end, whoever has sent them: what was refused is asked for anew."""
        self._given_up.insist()
        self.cancel()
        if self._client is None:
            return
        self._under_way.end_all(is_there := self._client.server_is_ready())
        if not is_there:
            return
        # This reaches what navigation has not told of yet; an id of zeros means all of them.
        answer = ClientGoalHandle(self._client, _uuid(bytes(16)), None).cancel_goal_async()
        answer.add_done_callback(self._node.guard(self._all_answered))

    def close(self) -> None:
        """Give up, and leave the graph."""
        self.cancel()
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        if self._client is not None:
            self._under_way.close()
            self._client.destroy()
            self._client = None

    def _message(self, place: NamedPlace) -> Any:
        message = self._action.Goal()
        message.pose = to_pose(place, self._node.now_ns())
        return message

    def _look(self) -> None:
        self._given_up.look(self._client.server_is_ready())
        problem = self._given_up.problem
        if problem and self._node.health.report_ongoing("navigation", problem, time.monotonic_ns()):
            self._node.get_logger().error(problem)

    def _settle(
        self, done: Any, goal: AbandonedGoal, take: Callable[[Any, AbandonedGoal], None]
    ) -> None:
        """Take an answer; a goal whose answer fails is over, so that nobody waits for its end."""
        try:
            take(done.result(), goal)
        except BaseException:
            self._node.get_logger().error(traceback.format_exc())
            if self._settled(goal, "Navigation has failed"):
                self._given_up.add(goal)

    def _settled(self, goal: AbandonedGoal, outcome: str) -> bool:
        """Note how a goal has come out; tell whether it was the one that is waited for."""
        with self._lock:
            if goal is not self._goal:
                return False
            self._goal, self._outcome = None, outcome
            return True

    def _answered(self, handle: Any, goal: AbandonedGoal) -> None:
        if not handle.accepted:
            self._given_up.over(goal)
            self._settled(goal, "I cannot go there")
            return
        goal.handle = handle
        if goal is not self._goal:
            self._given_up.add(goal)
        self._await_end(goal)

    def _await_end(self, goal: AbandonedGoal) -> None:
        future = goal.handle.get_result_async()
        future.add_done_callback(lambda done: self._settle(done, goal, self._ended))

    def _all_answered(self, done: Any) -> None:
        for each in done.result().goals_canceling:
            self._take_over(bytes(each.goal_id.uuid))

    def _take_over(self, goal_id: bytes) -> None:
        """Have a goal end that is known by its id alone."""
        with self._lock:
            is_ours = self._goal is not None and self._goal.id == goal_id
        if (client := self._client) is None or is_ours or self._given_up.knows(goal_id):
            return
        goal = AbandonedGoal(ClientGoalHandle(client, _uuid(goal_id), None), goal_id)
        self._given_up.add(goal)
        self._await_end(goal)

    def _ended(self, end: Any, goal: AbandonedGoal) -> None:
        self._given_up.over(goal)
        is_there = end.status == GoalStatus.STATUS_SUCCEEDED
        if not self._settled(goal, "" if is_there else "I did not get there"):
            return
        # Before Jazzy the result does not say why.
        why = getattr(end.result, "error_msg", "")
        if not is_there and why:
            self._node.get_logger().warning(one_line(f"navigation: {why}"))


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
