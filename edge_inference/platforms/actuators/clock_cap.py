"""A cap on clocks, as a share of the maximum that was allowed before."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators import kernel_files
from edge_inference.platforms.actuators.actuator import Saved
from edge_inference.platforms.actuators.clock_domain import (
    ClockDomain,
    parse_frequency,
    read_frequency,
)
from edge_inference.platforms.actuators.machine import Machine


class ClockCap:
    """Lowers the maximum clock of a domain; ``name`` is ``cpu_clock_cap`` or ``gpu_clock_cap``.

    Values are shares from 0 to 1. Each clock gets its highest available frequency within
    the share, but at least its lowest one. The cap never exceeds the original maximum,
    so the limit of a power mode stays.
    """

    survives_reboot = False

    def __init__(self, machine: Machine, domain: ClockDomain) -> None:
        self.name = f"{domain.name}_clock_cap"
        self._machine = machine
        self._domain = domain

    def describe(self) -> str:
        """Return what the actuator sets."""
        return f"the {self._domain.name.upper()}'s maximum clock, as a share of the allowed one"

    def choices(self) -> Sequence[str]:
        """Return nothing: any share from 0 to 1 is accepted."""
        return ()

    def read(self) -> str:
        """Return the maximum of each clock."""
        folders = self._domain.list_folders(self._machine)
        values = [self._machine.read(f"{folder}/{self._domain.max_file}") for folder in folders]
        return f"{', '.join(values)} {self._domain.unit}"

    def save(self) -> Saved:
        """Return the maximum and minimum of each clock."""
        folders = self._domain.list_folders(self._machine)
        names = (self._domain.max_file, self._domain.min_file)
        return kernel_files.save_files(
            self._machine, [f"{folder}/{name}" for folder in folders for name in names]
        )

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Return the writes."""
        writes = self._writes(value, self.save() if saved is None else saved)
        return kernel_files.describe_writes(self._machine, writes)

    def set(self, value: str, saved: Saved) -> str:
        """Write and read back; a frequency that the kernel rounds down is accepted."""
        writes = self._writes(value, saved)
        kernel_files.write_all(self._machine, writes)
        above = [
            (path, text)
            for path, text in writes
            if path.endswith(self._domain.max_file)
            and read_frequency(self._machine, path) > int(text)
        ]
        return kernel_files.find_differences(self._machine, above)

    def restore(self, saved: Saved) -> None:
        """Write the saved frequencies."""
        kernel_files.restore_files(self._machine, saved)

    def _writes(self, value: str, saved: Saved) -> kernel_files.Writes:
        share = self._parse_share(value)
        writes: list[tuple[str, str]] = []
        for folder in self._domain.list_folders(self._machine):
            high = f"{folder}/{self._domain.max_file}"
            low = f"{folder}/{self._domain.min_file}"
            before = parse_frequency(high, kernel_files.get_saved_text(saved, high))
            cap = self._choose_frequency(folder, share * before, before)
            floor = min(cap, parse_frequency(low, kernel_files.get_saved_text(saved, low)))
            both = [(high, str(cap)), (low, str(floor))]
            # Some kernels refuse a minimum above the maximum, so the order of writes matters.
            min_first = cap < read_frequency(self._machine, low)
            writes += both[::-1] if min_first else both
        return writes

    def _parse_share(self, value: str) -> float:
        try:
            share = float(value)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            raise ActuatorError(f"{self.name}: expected a share from 0 to 1, got {value!r}")
        return share

    def _choose_frequency(self, folder: str, limit: float, before: int) -> int:
        steps = self._domain.read_frequencies(self._machine, folder)
        if limit >= before:
            return before
        if not steps:
            return max(int(limit), self._read_hardware_minimum(folder))
        return min(before, steps[max(0, bisect.bisect_right(steps, limit) - 1)])

    def _read_hardware_minimum(self, folder: str) -> int:
        path = f"{folder}/cpuinfo_min_freq"
        return read_frequency(self._machine, path) if self._machine.exists(path) else 0
