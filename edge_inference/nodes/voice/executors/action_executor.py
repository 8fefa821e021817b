"""The contract of an executor: it executes the steps of one or several actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from edge_inference.core.voice import ActionStep


class ActionExecutor(ABC):
    """Executes one step at a time, from ``start`` until ``outcome`` or ``cancel``.

    A step starts only while the base stands still, and the base stays at zero velocity until it has
    ended. A step is canceled when the user says stop or no, when another plan begins, when the
    clock or the time limit says so, and when the command node ends.

    An executor of another package is called in threads of its own; an exception or a call that
    takes too long ends the plan, never the command node. ``cancel`` may come from another thread at
    any time, also during ``start``, several times, and without a step.
    """

    #: Whether the executor publishes the base's velocities while a step runs.
    drives_base: ClassVar[bool] = False

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
        """End the step because the user said stop; also what other clients have started."""
        self.cancel()

    @property
    def warning(self) -> str:
        """What is said aloud while a canceled step may still be going on; empty if none is."""
        return ""

    def close(self) -> None:
        """Free what the executor holds; its last call."""
        self.cancel()
