"""The active goals of an action, from all clients."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.qos import qos_profile_action_status_default

from edge_inference.nodes.component import Component

_ACTIVE = (
    GoalStatus.STATUS_ACCEPTED,
    GoalStatus.STATUS_EXECUTING,
    GoalStatus.STATUS_CANCELING,
)

#: A new subscriber receives the status of earlier goals within this time.
_FIRST_STATUS_TIMEOUT_S = 5.0


class ActiveGoals:
    """Tracks active goals by the status that the action server publishes, and makes goal ids.

    A goal id begins with a digest of the node's full name, followed by bytes that are unique to
    this process. So the goals of an earlier process with the same node name can be recognized.
    ``cancel`` receives the id of each goal to cancel: those of such an earlier process, and in
    ``cancel_all`` all of them. It may receive the same id several times.
    """

    def __init__(self, node: Component, action: str, cancel: Callable[[bytes], None]) -> None:
        self._node = node
        self._cancel = cancel
        self._name_prefix = hashlib.sha256(node.get_fully_qualified_name().encode()).digest()[:8]
        self._own_prefix = self._name_prefix + os.urandom(4)
        self._count = 0
        #: Ids of all active goals, own ones too; None before the first status message.
        self.ids: tuple[bytes, ...] | None = None
        self._cancel_until_s = 0.0
        self._subscription: Any = node.create_subscription(
            GoalStatusArray,
            f"{node.resolve_topic_name(action)}/_action/status",
            node.guard(self._on_status),
            qos_profile_action_status_default,
        )

    def new_id(self) -> bytes:
        """Return an id for a new goal of this process."""
        self._count += 1
        return self._own_prefix + self._count.to_bytes(4, "big")

    def cancel_all(self, is_server_ready: bool) -> None:
        """Cancel every active goal, or those of the first status if none has arrived yet.

        A server that is not ready publishes a new first status when it appears.
        """
        if not is_server_ready:
            self.ids = None
        if self.ids is None:
            self._cancel_until_s = time.monotonic() + _FIRST_STATUS_TIMEOUT_S
        for each in self.ids or ():
            self._cancel(each)

    def close(self) -> None:
        """Destroy the subscription."""
        self._node.destroy_subscription(self._subscription)

    def _on_status(self, message: GoalStatusArray) -> None:
        cancel_all = self.ids is None and time.monotonic() < self._cancel_until_s
        self.ids = tuple(
            bytes(each.goal_info.goal_id.uuid)
            for each in message.status_list
            if each.status in _ACTIVE
        )
        for each in self.ids:
            is_from_earlier_process = each.startswith(self._name_prefix) and not each.startswith(
                self._own_prefix
            )
            if cancel_all or is_from_earlier_process:
                self._cancel(each)
