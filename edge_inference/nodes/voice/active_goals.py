"""The goals of an action that go on, whoever has sent them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.qos import qos_profile_action_status_default

from edge_inference.nodes.component import Component

_UNDER_WAY = (
    GoalStatus.STATUS_ACCEPTED,
    GoalStatus.STATUS_EXECUTING,
    GoalStatus.STATUS_CANCELING,
)

#: Who has just come into the graph hears within this time of goals that were there before.
_HEARS_WITHIN_S = 5.0


class ActiveGoals:
    """Knows by the server's word which goals go on; numbers ours, so that they are told apart.

    The id of a goal begins with what is the same for all who ever had this node's full name, and
    goes on with what only this one has. ``end`` is given each goal that is to end: one that another
    one of our name has sent, who has crashed or was cleaned up, and in ``end_all`` every one. It is
    given the same one again and again.
    """

    def __init__(self, node: Component, action: str, end: Callable[[bytes], None]) -> None:
        self._node = node
        self._end = end
        self._name = hashlib.sha256(node.get_fully_qualified_name().encode()).digest()[:8]
        self._ours = self._name + os.urandom(4)
        self._count = 0
        #: Their ids, ours too; None before the first word of them.
        self.ids: tuple[bytes, ...] | None = None
        self._all_until_s = 0.0
        self._subscription: Any = node.create_subscription(
            GoalStatusArray,
            f"{node.resolve_topic_name(action)}/_action/status",
            node.guard(self._take),
            qos_profile_action_status_default,
        )

    def new_id(self) -> bytes:
        """Return an id for another goal of ours."""
        self._count += 1
        return self._ours + self._count.to_bytes(4, "big")

    def end_all(self, is_there: bool) -> None:
        """End every goal that goes on; where nothing is known yet, as soon as it is.

        ``is_there`` tells whether the server is known: one that comes tells all anew.
        """
        if not is_there:
            self.ids = None
        if self.ids is None:
            self._all_until_s = time.monotonic() + _HEARS_WITHIN_S
        for each in self.ids or ():
            self._end(each)

    def close(self) -> None:
        """Listen no more."""
        self._node.destroy_subscription(self._subscription)

    def _take(self, message: GoalStatusArray) -> None:
        is_late = self.ids is None and time.monotonic() < self._all_until_s
        self.ids = tuple(
            bytes(each.goal_info.goal_id.uuid)
            for each in message.status_list
            if each.status in _UNDER_WAY
        )
        for each in self.ids:
            if is_late or (each.startswith(self._name) and not each.startswith(self._ours)):
                self._end(each)
