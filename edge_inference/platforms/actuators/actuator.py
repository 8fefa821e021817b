"""The protocol of actuators, and the outcome of a request to one."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

#: What an actuator needs to restore the original state; stored in the journal as JSON.
Saved = Mapping[str, Any]


class Actuator(Protocol):
    """One setting of the machine. Values are strings; every method may raise ActuatorError.

    Only ``set`` and ``restore`` change the machine.
    """

    @property
    def name(self) -> str:
        """The name in an allow-list."""

    @property
    def survives_reboot(self) -> bool:
        """Tell whether the machine keeps the value over a reboot."""

    def describe(self) -> str:
        """Return in a few words what the actuator sets."""

    def choices(self) -> Sequence[str]:
        """Return the accepted values; empty if they cannot be listed."""

    def read(self) -> str:
        """Return the current value."""

    def save(self) -> Saved:
        """Return what ``restore`` needs to restore the current state."""

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Return the steps that ``set`` would take; empty if the value is already set.

        ``saved`` is the state before the first change, None if nothing has changed yet.
        """

    def set(self, value: str, saved: Saved) -> str:
        """Set the value and read it back; return the difference, or an empty string."""

    def restore(self, saved: Saved) -> None:
        """Restore a saved state and check it, also after an incomplete change."""


class ActuatorResult(enum.Enum):
    """The result of a request."""

    SET = "set"
    UNCHANGED = "unchanged"
    #: Nothing was written, because this is a dry run.
    DRY_RUN = "dry_run"
    RESTORED = "restored"
    #: Set, but another value was read back.
    DIFFERS = "differs"
    #: Not allowed, or another process is the writer; nothing was written.
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class ActuatorOutcome:
    """The outcome of a request. ``current_value`` is None if it cannot be read."""

    actuator: str
    requested: str
    result: ActuatorResult
    current_value: str | None
    message: str

    @property
    def is_problem(self) -> bool:
        """Tell whether the request was not fulfilled."""
        return self.result in (
            ActuatorResult.DIFFERS,
            ActuatorResult.REFUSED,
            ActuatorResult.FAILED,
        )
