"""Private topics: whose messages count where more than one node publishes.

Two pipelines that share their names feed each other's stages, and anybody may
send what looks like a stage's output. So a private topic has one publisher: the
one of this process where there is one, whose objects come by reference; else the
first that is heard, until it is gone or has fallen silent.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.node import Node

#: A publisher that has sent nothing for so long is silent, unless it is slow.
_SILENT_NS = 2_000_000_000
#: One that is slow may miss so many of its periods, for so long at the most.
_SILENT_PERIODS = 3
_SILENT_AT_MOST_NS = 60_000_000_000
#: How often the graph is looked at, and the company told of, at the most.
_LOOK_NS = 500_000_000
#: Endpoints are told apart by so many bytes; some releases of ROS fill up with zeros.
_GID_LENGTH = 16

_HINT = "end one of them, or give it a namespace or a ROS_DOMAIN_ID of its own"


class RawCallback:
    """A subscription's callback that gets the bytes and what ROS knows of their message.

    rclpy asks a callback's signature whether it takes both; its events executor hands them over
    as one tuple, and before Iron there are only the bytes.
    """

    __signature__ = inspect.signature(lambda data, info: None)

    def __init__(self, take: Callable[[bytes, Any], None]) -> None:
        self._take = take

    def __call__(self, *given: Any) -> None:
        """Take a message."""
        if len(given) == 1:
            given = given[0] if isinstance(given[0], tuple) else (given[0], None)
        self._take(*given)


class PublisherFilter:
    """Chooses the publisher of one topic; ``own`` returns the nodes of this process that publish.

    ``tell`` hears who publishes beside the chosen one, again and again while that goes on. Where
    rclpy does not tell publishers apart and none is our own, nobody is refused, and ``tell`` hears
    of all that the graph knows. For the executor's thread.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        own: Callable[[], tuple[str, ...]],
        tell: Callable[[str], None],
    ) -> None:
        self._node = node
        self._topic = topic
        self._own = own
        self._tell = tell
        self._chosen: bytes | None = None
        self._heard_ns = self._period_ns = 0
        self._looked_ns = -_LOOK_NS

    def admits(self, info: Any, now_ns: int) -> bool:
        """Tell whether a message from outside counts; ``now_ns`` is of one rising clock."""
        gid = _gid(info)
        own = self._own()
        if own:
            self._chosen = None
            if self._is_due(now_ns):
                self._look_beside(own, gid)
            return False
        if gid is None:
            if self._is_due(now_ns):
                self._look_at_all()
            return True
        if gid != self._chosen:
            if not self._has_fallen_silent(now_ns) and not (
                self._is_due(now_ns) and self._has_gone(gid)
            ):
                return False
            self._chosen, self._heard_ns = gid, now_ns
        self._period_ns, self._heard_ns = now_ns - self._heard_ns, now_ns
        return True

    def _has_fallen_silent(self, now_ns: int) -> bool:
        patience_ns = max(_SILENT_NS, _SILENT_PERIODS * self._period_ns)
        patience_ns = min(patience_ns, _SILENT_AT_MOST_NS)
        return self._chosen is None or now_ns - self._heard_ns > patience_ns

    def _has_gone(self, gid: bytes) -> bool:
        """Tell whether the chosen publisher has left the graph; else tell of the other one."""
        names = self._publishers()
        if gid not in names:  # some middleware names publishers otherwise in its graph
            everybody = ", ".join(sorted(names.values()))
            self._tell(
                f"{self._topic}: expected one publisher, got {everybody}: the first that spoke is "
                f"heard alone; {_HINT}"
            )
            return False
        if self._chosen not in names:
            return True
        self._tell(_sentence(self._topic, names[self._chosen], [names[gid]]))
        return False

    def _look_beside(self, own: tuple[str, ...], gid: bytes | None) -> None:
        """Tell of publishers that are not our own; a message of ours that comes late is no news."""
        names = self._publishers()
        others = list(names.values())
        for name in own:
            if name in others:
                others.remove(name)
        if gid in names and names[gid] in others:
            others = [names[gid]]
        if others:
            self._tell(_sentence(self._topic, f"{', '.join(own)} of this process", others))

    def _look_at_all(self) -> None:
        names = sorted(self._publishers().values())
        if len(names) > 1:
            self._tell(
                f"{self._topic}: expected one publisher, got {', '.join(names)}; this release of "
                f"ROS does not tell whose message is whose, so they mix: {_HINT}"
            )

    def _is_due(self, now_ns: int) -> bool:
        due = now_ns - self._looked_ns >= _LOOK_NS
        if due:
            self._looked_ns = now_ns
        return due

    def _publishers(self) -> dict[bytes | None, str]:
        """Return the full name of each publisher's node, by the publisher's identity."""
        return {
            bytes(info.endpoint_gid)[:_GID_LENGTH]: join_name(info.node_name, info.node_namespace)
            for info in self._node.get_publishers_info_by_topic(self._topic)
        }


def join_name(name: str, namespace: str) -> str:
    """Put a node's namespace before its name."""
    return f"{namespace.rstrip('/')}/{name}"


def _gid(info: Any) -> bytes | None:
    """Return who has sent a message, None where rclpy does not tell."""
    gid = info.get("publisher_gid") if isinstance(info, Mapping) else None
    return gid["data"][:_GID_LENGTH] if gid else None


def _sentence(topic: str, heard: str, others: Sequence[str]) -> str:
    told = ", ".join(sorted(f"another {each}" if each in heard else each for each in others))
    return f"{topic}: expected one publisher, got two: {heard}, and not heard: {told}; {_HINT}"
