"""The clock governor of all CPU clusters, or of the GPU."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators import kernel_files
from edge_inference.platforms.actuators.actuator import Saved
from edge_inference.platforms.actuators.clock_domain import ClockDomain
from edge_inference.platforms.actuators.machine import Machine


class ClockGovernor:
    """Sets one governor for all clocks of a domain; ``name`` is ``cpu_governor`` for the CPU."""

    survives_reboot = False

    def __init__(self, machine: Machine, domain: ClockDomain) -> None:
        self.name = f"{domain.name}_governor"
        self._machine = machine
        self._domain = domain

    def describe(self) -> str:
        """Return what the actuator sets."""
        return f"the {self._domain.name.upper()}'s clock governor"

    def choices(self) -> Sequence[str]:
        """Return the governors that every clock of the domain offers."""
        offered = [
            self._machine.read(f"{folder}/{self._domain.available_governors_file}").split()
            for folder in self._domain.list_folders(self._machine)
        ]
        return [name for name in offered[0] if all(name in others for others in offered)]

    def read(self) -> str:
        """Return the governor, or all governors if the clocks differ."""
        return ", ".join(dict.fromkeys(self._machine.read(path) for path in self._paths()))

    def save(self) -> Saved:
        """Return each clock's governor."""
        return kernel_files.save_files(self._machine, self._paths())

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Return the writes."""
        return kernel_files.describe_writes(self._machine, self._writes(value))

    def set(self, value: str, saved: Saved) -> str:
        """Write and read back."""
        writes = self._writes(value)
        kernel_files.write_all(self._machine, writes)
        return kernel_files.find_differences(self._machine, writes)

    def restore(self, saved: Saved) -> None:
        """Write the saved governors."""
        kernel_files.restore_files(self._machine, saved)

    def _paths(self) -> list[str]:
        folders = self._domain.list_folders(self._machine)
        return [f"{folder}/{self._domain.governor_file}" for folder in folders]

    def _writes(self, value: str) -> kernel_files.Writes:
        known = self.choices()
        if value not in known:
            raise ActuatorError(f"{self.name}: expected one of {', '.join(known)}, got {value!r}")
        return [(path, value) for path in self._paths()]
