"""The executors of other packages: entry points ``edge_inference.action_executors``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rclpy.node import Node

from edge_inference.core.extension_table import ExtensionTable
from edge_inference.nodes.voice.executors.action_executor import ActionExecutor
from edge_inference.speech.actions.action import MOTION, NAVIGATION, SAY, SCENE
from edge_inference.speech.actions.limits import VoiceLimits

_OWN = (MOTION, NAVIGATION, SAY, SCENE)


@dataclass(frozen=True)
class ExecutorRow:
    """One executor of another package.

    ``make`` gets a node of its own, for topics, services and actions, which a thread of its own
    spins, and the limits of the robot.
    """

    name: str
    make: Callable[[Node, VoiceLimits], ActionExecutor]


def _row_problem(row: ExecutorRow, rows: Mapping[str, ExecutorRow]) -> str | None:
    return "the name is one of this package; choose another one" if row.name in _OWN else None


EXECUTORS = ExtensionTable("action_executors", "action executor", ExecutorRow, [], _row_problem)
