"""What every actuator can do, and what comes of using one."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

#: What an actuator needs to put everything back; goes into the journal as JSON.
Saved = Mapping[str, Any]


class Actuator(Protocol):
    """One setting of the machine. Values are texts; every method raises ActuatorError.

    Nothing but ``set`` and ``restore`` changes the machine.
    """

    @property
    def name(self) -> str:
        """What it is called in an allow-list."""

    @property
    def survives_reboot(self) -> bool:
        """Tell whether the machine keeps the value over a reboot."""

    def describe(self) -> str:
        """Say in a few words what it sets."""

    def choices(self) -> Sequence[str]:
        """Return the values that it takes; empty where they are not a list."""

    def read(self) -> str:
        """Return the value in force."""

    def save(self) -> Saved:
        """Return what ``restore`` needs to bring the present state back."""

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Say step by step what ``set`` would do; empty where the value is in force already.

        ``saved`` is the state before the first change, None where there was none.
        """

    def set(self, value: str, saved: Saved) -> str:
        """Change it and read it back; return what differs from what was asked, or an empty text."""

    def restore(self, saved: Saved) -> None:
        """Bring a saved state back and check that it is; a change may have been half done."""


class ActuatorResult(enum.Enum):
    """What came of a wish."""

    SET = "set"
    UNCHANGED = "unchanged"
    #: A dry run: nothing was written.
    DRY_RUN = "dry_run"
    RESTORED = "restored"
    #: Set, but what is in force now is something else.
    DIFFERS = "differs"
    #: Not allowed, or another process is the writer; nothing was written.
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class ActuatorOutcome:
    """What came of a wish: ``message`` is a sentence, ``current_value`` None where it cannot be read."""

    actuator: str
    requested: str
    result: ActuatorResult
    current_value: str | None
    message: str

    @property
    def is_problem(self) -> bool:
        """Tell whether what was asked is not what is."""
        return self.result in (
            ActuatorResult.DIFFERS,
            ActuatorResult.REFUSED,
            ActuatorResult.FAILED,
        )
