"""The contract of an executor, and the table of those that other packages provide.

An executor executes the steps of one or several actions in the command node. A package adds one by
an entry point ``edge_inference.action_executors``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_inference.core.extension_table import ExtensionTable
from edge_inference.core.voice import ActionStep
from edge_inference.speech.actions.action import MOTION, NAVIGATION, SAY, SCENE
from edge_inference.speech.actions.limits import VoiceLimits

_OWN = (MOTION, NAVIGATION, SAY, SCENE)


class ActionExecutor(ABC):
    """Executes one step at a time, from ``start`` until ``outcome`` or ``cancel``.

    A step starts only while the base stands still, and the base stays at zero velocity until it has
    ended or is canceled. A step is canceled when the user says stop or no, when another plan
    begins, when the clock or the time limit says so, and when the command node ends.

    An executor of another package is called in threads of its own; an exception or a call that
    takes too long ends the plan, never the command node. ``cancel`` may come from another thread at
    any time, also during ``start``, several times, and without a step.
    """

    #: Whether the executor publishes the base's velocities while a step runs.
    drives_base: bool = False

    @abstractmethod
    def start(self, step: ActionStep) -> None:
        """Start a step, and return without waiting for its end."""

    @abstractmethod
    def outcome(self) -> str | None:
        """Return None while the step runs, an empty text once it is done, else why not, to speak.

        Called once per control cycle, or every 20 ms.
        """

    @abstractmethod
    def cancel(self) -> None:
        """End the step at once."""

    def cancel_all(self) -> None:
        """End the step because the user said stop; also what other clients have started.

        Only executors of this package have their own; those of others get ``cancel``.
        """
        self.cancel()

    @property
    def warning(self) -> str:
        """What is said aloud while a canceled step may still be going on; empty if none is.

        Only executors of this package have their own.
        """
        return ""

    def close(self) -> None:
        """Free what the executor holds; its last call."""
        self.cancel()


@dataclass(frozen=True)
class ExecutorRow:
    """One executor of another package, by the name that the rows of its actions give.

    ``make`` gets the limits of the robot and an rclpy node of its own, for topics, services and
    actions, whose callbacks run in a thread of their own.
    """

    name: str
    make: Callable[[Any, VoiceLimits], ActionExecutor]


def _row_problem(row: ExecutorRow, rows: Mapping[str, ExecutorRow]) -> str | None:
    return "the name is one of this package; choose another one" if row.name in _OWN else None


EXECUTORS = ExtensionTable("action_executors", "action executor", ExecutorRow, [], _row_problem)
