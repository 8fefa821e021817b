"""Private topics: only one publisher is accepted, even if there are several.

Two pipelines with the same names would feed each other's stages, and any process can
publish messages that look like a stage's output. So a private topic has one publisher:
the one of this process if there is one, whose objects come by reference; else the
first one received, until it leaves the graph or is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_inference.composition.reception import GID_LENGTH, publisher_id

if TYPE_CHECKING:
    from rclpy.node import Node

#: A publisher is silent if it has sent nothing for this time, unless it is slow.
_SILENT_NS = 2_000_000_000
#: A slow publisher is silent after this many of its periods, and at most this time.
_SILENT_PERIODS = 3
_MAX_SILENT_NS = 60_000_000_000
#: The minimum period of checks of the graph and of reports about other publishers.
_CHECK_PERIOD_NS = 500_000_000

_HINT = "stop one of them, or give it its own namespace or ROS_DOMAIN_ID"


class PublisherFilter:
    """Chooses the accepted publisher of one topic.

    ``local_publishers`` returns the names of the nodes of this process that publish. ``report``
    receives a message about other publishers, repeatedly while there are some. If rclpy does not
    report the identity of publishers and none is in this process, all messages are accepted, and
    ``report`` receives all publishers in the graph. Only for the executor's thread.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        local_publishers: Callable[[], tuple[str, ...]],
        report: Callable[[str], None],
    ) -> None:
        self._node = node
        self._topic = topic
        self._local_publishers = local_publishers
        self._report = report
        self._chosen_gid: bytes | None = None
        self._received_ns = self._period_ns = 0
        self._checked_ns = -_CHECK_PERIOD_NS

    def accepts(self, info: Any, now_ns: int) -> bool:
        """Tell whether to accept a message from DDS; ``now_ns`` is on a monotonic clock."""
        gid = publisher_id(info)
        local_publishers = self._local_publishers()
        if local_publishers:
            self._chosen_gid = None
            if self._is_check_due(now_ns):
                self._report_others(local_publishers, gid)
            return False
        if gid is None:
            if self._is_check_due(now_ns):
                self._report_all()
            return True
        if gid != self._chosen_gid:
            if not self._has_fallen_silent(now_ns) and not (
                self._is_check_due(now_ns) and self._has_gone(gid)
            ):
                return False
            self._chosen_gid, self._received_ns = gid, now_ns
        self._period_ns, self._received_ns = now_ns - self._received_ns, now_ns
        return True

    def _has_fallen_silent(self, now_ns: int) -> bool:
        silent_ns = max(_SILENT_NS, _SILENT_PERIODS * self._period_ns)
        silent_ns = min(silent_ns, _MAX_SILENT_NS)
        return self._chosen_gid is None or now_ns - self._received_ns > silent_ns

    def _has_gone(self, gid: bytes) -> bool:
        """Tell whether the chosen publisher has left the graph; else report the other one."""
        names = self._publishers()
        if gid not in names:  # some middleware uses other identities in the graph
            everyone = ", ".join(sorted(names.values()))
            self._report(
                f"{self._topic}: expected one publisher, got {everyone}: only the first one is "
                f"accepted; {_HINT}"
            )
            return False
        if self._chosen_gid not in names:
            return True
        self._report(_format_conflict(self._topic, names[self._chosen_gid], [names[gid]]))
        return False

    def _report_others(self, local_publishers: tuple[str, ...], gid: bytes | None) -> None:
        """Report publishers of other processes; late messages of our own are ignored."""
        names = self._publishers()
        others = list(names.values())
        for name in local_publishers:
            if name in others:
                others.remove(name)
        if gid in names and names[gid] in others:
            others = [names[gid]]
        if others:
            self._report(
                _format_conflict(
                    self._topic, f"{', '.join(local_publishers)} of this process", others
                )
            )

    def _report_all(self) -> None:
        names = sorted(self._publishers().values())
        if len(names) > 1:
            self._report(
                f"{self._topic}: expected one publisher, got {', '.join(names)}; this ROS release "
                f"does not report the publisher of a message, so their messages mix: {_HINT}"
            )

    def _is_check_due(self, now_ns: int) -> bool:
        due = now_ns - self._checked_ns >= _CHECK_PERIOD_NS
        if due:
            self._checked_ns = now_ns
        return due

    def _publishers(self) -> dict[bytes | None, str]:
        """Return the full name of the node of each publisher, by the publisher's identity."""
        return {
            bytes(info.endpoint_gid)[:GID_LENGTH]: join_name(info.node_name, info.node_namespace)
            for info in self._node.get_publishers_info_by_topic(self._topic)
        }


def join_name(name: str, namespace: str) -> str:
    """Return the full name of a node."""
    return f"{namespace.rstrip('/')}/{name}"


def _format_conflict(topic: str, chosen: str, others: Sequence[str]) -> str:
    names = ", ".join(sorted(f"another {each}" if each in chosen else each for each in others))
    return f"{topic}: expected one publisher, got two: {chosen}, and refused: {names}; {_HINT}"
