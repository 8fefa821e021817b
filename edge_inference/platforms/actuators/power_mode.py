"""The power mode of a Jetson, set with nvpmodel."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import Saved
from edge_inference.platforms.actuators.machine import Machine, describe_failure
from edge_inference.platforms.sensors.power_mode import (
    MODES_FILE,
    STATUS_FILE,
    parse_watts,
    read_current_mode,
    read_modes,
)

_DEFAULT_MODE = re.compile(r"^\s*<\s*PM_CONFIG\s+DEFAULT=(\d+)\s*>", re.MULTILINE)
_CORES = re.compile(r"_(ALL|\d+CORE)(?:_|$)")
_NEEDS_REBOOT = "reboot required"


class PowerModeActuator:
    """Sets the power mode by its name (``15W``) or number.

    Numbers are in no order of power. A mode that needs a reboot is refused: nvpmodel's
    question whether to reboot finds nobody to answer it, and it gives up.
    """

    name = "power_mode"
    survives_reboot = True

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def describe(self) -> str:
        """Say what it sets."""
        return "the Jetson's power mode (nvpmodel)"

    def choices(self) -> Sequence[str]:
        """Return the names of the machine's modes."""
        return list(self._modes().values())

    def read(self) -> str:
        """Return the name of the mode in force, as nvpmodel has noted it."""
        return self._modes()[self._current()]

    def save(self) -> Saved:
        """Return the mode in force."""
        return {"mode": self.read()}

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Say what would be run."""
        number = self._number(value)
        if number == self._current():
            return []
        self._machine.find_tool("nvpmodel")
        return [f"run nvpmodel -m {number} ({self._modes()[number]})"]

    def set(self, value: str, saved: Saved) -> str:
        """Run nvpmodel and read back."""
        number = self._number(value)
        self._run(number)
        now = self._current()
        if now == number:
            return ""
        return f"the power mode is {self._modes()[now]}, asked was {self._modes()[number]}"

    def restore(self, saved: Saved) -> None:
        """Go back to the saved mode; also where it is noted still, as a change may be half done."""
        leftover = self.set(str(saved["mode"]), saved)
        if leftover:
            raise ActuatorError(f"could not be put back: {leftover}")

    def find_most_powerful(self) -> str:
        """Return the mode without limits, else that of the most watts, and of those of most cores.

        Raises ActuatorError where no name tells.
        """
        names = self.choices()
        for unlimited in ("MAXN_SUPER", "MAXN"):
            if unlimited in names:
                return unlimited
        budgets = {name: budget for name in names if (budget := parse_watts(name)) is not None}
        if not budgets:
            raise ActuatorError(
                f"power_mode: which of {', '.join(names)} is the most powerful is not known"
            )
        return max(budgets, key=lambda name: (budgets[name], _cores(name)))

    def _run(self, number: int) -> None:
        code, output = self._machine.call("nvpmodel", "-m", str(number))
        if _NEEDS_REBOOT in output.lower():
            raise ActuatorError(
                f"power_mode: {self._modes()[number]} needs a reboot, so it was not set; to have "
                f"it, run `sudo nvpmodel -m {number}` by hand and let it reboot"
            )
        if code:
            raise ActuatorError(f"nvpmodel -m {number}: {describe_failure(code, output)}")

    def _modes(self) -> Mapping[int, str]:
        if not self._machine.exists(MODES_FILE):
            raise ActuatorError("power_mode: this machine has none (no nvpmodel.conf)")
        found = read_modes(self._machine.files)
        if not found:
            raise ActuatorError(f"{self._machine.root / MODES_FILE}: expected POWER_MODEL entries")
        return found

    def _current(self) -> int:
        if self._machine.exists(STATUS_FILE):
            number = read_current_mode(self._machine.files)
        else:  # nobody has chosen yet, so it is what the table names for the start
            match = _DEFAULT_MODE.search(self._machine.read(MODES_FILE))
            number = int(match[1]) if match else None
        if number is None or number not in self._modes():
            raise ActuatorError(
                f"{self._machine.root / STATUS_FILE}: expected pmode:<number> of a mode in "
                f"{self._machine.root / MODES_FILE}"
            )
        return number

    def _number(self, value: str) -> int:
        named = self._modes()
        if value.isdecimal() and int(value) in named:
            return int(value)
        for number, name in named.items():
            if name == value:
                return number
        known = ", ".join(f"{name} ({number})" for number, name in named.items())
        raise ActuatorError(f"power_mode: expected one of {known}, got {value!r}")


def _cores(name: str) -> float:
    """Return how many cores a mode's name says that it uses: MODE_20W_6CORE, MODE_30W_ALL."""
    match = _CORES.search(name)
    if match is None:
        return 0
    return math.inf if match[1] == "ALL" else int(match[1].removesuffix("CORE"))
