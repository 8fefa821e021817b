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

    The numbers are not sorted by power. A mode that needs a reboot is refused: nvpmodel
    asks whether to reboot, gets no answer and gives up.
    """

    name = "power_mode"
    survives_reboot = True

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def describe(self) -> str:
        """Return what the actuator sets."""
        return "the Jetson's power mode (nvpmodel)"

    def choices(self) -> Sequence[str]:
        """Return the names of the machine's modes."""
        return list(self._read_modes().values())

    def read(self) -> str:
        """Return the name of the current mode in nvpmodel's status file."""
        return self._read_modes()[self._read_current()]

    def save(self) -> Saved:
        """Return the current mode."""
        return {"mode": self.read()}

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Return the command."""
        number = self._parse_mode(value)
        if number == self._read_current():
            return []
        self._machine.find_tool("nvpmodel")
        return [f"run nvpmodel -m {number} ({self._read_modes()[number]})"]

    def set(self, value: str, saved: Saved) -> str:
        """Run nvpmodel and read back."""
        number = self._parse_mode(value)
        self._run(number)
        now = self._read_current()
        if now == number:
            return ""
        return f"expected power mode {self._read_modes()[number]}, got {self._read_modes()[now]}"

    def restore(self, saved: Saved) -> None:
        """Set the saved mode, even if it is the current one: a change may be incomplete."""
        difference = self.set(str(saved["mode"]), saved)
        if difference:
            raise ActuatorError(f"not restored: {difference}")

    def find_most_powerful(self) -> str:
        """Return the mode without limits, else the one with the most watts, then the most cores.

        Raises ActuatorError if no name contains a power.
        """
        names = self.choices()
        for unlimited in ("MAXN_SUPER", "MAXN"):
            if unlimited in names:
                return unlimited
        budgets = {name: budget for name in names if (budget := parse_watts(name)) is not None}
        if not budgets:
            raise ActuatorError(
                f"power_mode: expected a mode name with watts, got {', '.join(names)}"
            )
        return max(budgets, key=lambda name: (budgets[name], _parse_cores(name)))

    def _run(self, number: int) -> None:
        code, output = self._machine.call("nvpmodel", "-m", str(number))
        if _NEEDS_REBOOT in output.lower():
            raise ActuatorError(
                f"power_mode: {self._read_modes()[number]} needs a reboot, so it was not set; "
                f"to set it, run `sudo nvpmodel -m {number}` by hand and confirm the reboot"
            )
        if code:
            raise ActuatorError(f"nvpmodel -m {number}: {describe_failure(code, output)}")

    def _read_modes(self) -> Mapping[int, str]:
        if not self._machine.exists(MODES_FILE):
            raise ActuatorError("power_mode: this machine has no power modes (no nvpmodel.conf)")
        found = read_modes(self._machine.files)
        if not found:
            raise ActuatorError(f"{self._machine.root / MODES_FILE}: expected POWER_MODEL entries")
        return found

    def _read_current(self) -> int:
        if self._machine.exists(STATUS_FILE):
            number = read_current_mode(self._machine.files)
        else:  # no mode was chosen yet: the default of the configuration is active
            match = _DEFAULT_MODE.search(self._machine.read(MODES_FILE))
            number = int(match[1]) if match else None
        if number is None or number not in self._read_modes():
            raise ActuatorError(
                f"{self._machine.root / STATUS_FILE}: expected pmode:<number> of a mode in "
                f"{self._machine.root / MODES_FILE}"
            )
        return number

    def _parse_mode(self, value: str) -> int:
        named = self._read_modes()
        if value.isdecimal() and int(value) in named:
            return int(value)
        for number, name in named.items():
            if name == value:
                return number
        known = ", ".join(f"{name} ({number})" for number, name in named.items())
        raise ActuatorError(f"power_mode: expected one of {known}, got {value!r}")


def _parse_cores(name: str) -> float:
    """Return the number of cores in a mode's name: MODE_20W_6CORE, MODE_30W_ALL."""
    match = _CORES.search(name)
    if match is None:
        return 0
    return math.inf if match[1] == "ALL" else int(match[1].removesuffix("CORE"))
