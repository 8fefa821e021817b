"""The status of a node or a target, as it is on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: The levels, in the order of their numbers in ``diagnostic_msgs/DiagnosticStatus``.
HEALTH_LEVELS = ("ok", "warn", "error", "stale")


@dataclass(frozen=True)
class NodeHealth:
    """``level`` is one of ``HEALTH_LEVELS``; ``values`` are texts by key."""

    name: str
    level: str
    message: str
    values: Mapping[str, str] = field(default_factory=dict)
