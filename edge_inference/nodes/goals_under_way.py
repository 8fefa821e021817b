"""The goals of an action that go on, whoever has sent them."""

from __future__ import annotations

import hashlib
import os
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


class GoalsUnderWay:
    """Knows by the server's word which goals go on; numbers ours, so that they are told apart.

    The id of a goal begins with what is the same for all who ever had this node's full name, and
    goes on with what only this one has. ``left`` is given each goal that another one of our name
    has sent, again and again for as long as it goes on: who sent it has crashed, or was cleaned up.
    """

    def __init__(self, node: Component, action: str, left: Callable[[bytes], None]) -> None:
        self._node = node
        self._left = left
        self._name = hashlib.sha256(node.get_fully_qualified_name().encode()).digest()[:8]
        self._ours = self._name + os.urandom(4)
        self._count = 0
        #: Their ids; goals that are ours and were given up are among them until they end.
        self.ids: tuple[bytes, ...] = ()
        self._subscription: Any = node.create_subscription(
            GoalStatusArray,
            f"{node.resolve_topic_name(action)}/_action/status",
            node.guarded(self._take),
            qos_profile_action_status_default,
        )

    def new_id(self) -> bytes:
        """Return an id for another goal of ours."""
        self._count += 1
        return self._ours + self._count.to_bytes(4, "big")

    def close(self) -> None:
        """Listen no more."""
        self._node.destroy_subscription(self._subscription)

    def _take(self, message: GoalStatusArray) -> None:
        self.ids = tuple(
            bytes(each.goal_info.goal_id.uuid)
            for each in message.status_list
            if each.status in _UNDER_WAY
        )
        for each in self.ids:
            if each.startswith(self._name) and not each.startswith(self._ours):
                self._left(each)
