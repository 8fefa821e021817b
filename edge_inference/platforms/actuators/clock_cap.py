"""A ceiling for clocks, as a share of the highest clock that was allowed before."""

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
    """Lowers the highest clock of a domain; ``name`` is ``cpu_clock_cap`` or ``gpu_clock_cap``.

    Values are shares from 0 to 1. Each clock gets the highest frequency that it can
    have and that is no more than its share, at least its lowest; never more than was
    allowed before, so a power mode's ceiling stands.
    """

    survives_reboot = False

    def __init__(self, machine: Machine, domain: ClockDomain) -> None:
        self.name = f"{domain.name}_clock_cap"
        self._machine = machine
        self._domain = domain

    def describe(self) -> str:
        """Say what it sets."""
        return f"the {self._domain.name.upper()}'s highest clock, as a share of what is allowed"

    def choices(self) -> Sequence[str]:
        """Return nothing: any share from 0 to 1 is taken."""
        return ()

    def read(self) -> str:
        """Return the highest clock of each."""
        folders = self._domain.list_folders(self._machine)
        values = [self._machine.read(f"{folder}/{self._domain.max_file}") for folder in folders]
        return f"{', '.join(values)} {self._domain.unit}"

    def save(self) -> Saved:
        """Return the highest and lowest frequency that each clock is allowed."""
        folders = self._domain.list_folders(self._machine)
        ends = (self._domain.max_file, self._domain.min_file)
        return kernel_files.save_files(
            self._machine, [f"{f}/{end}" for f in folders for end in ends]
        )

    def plan(self, value: str, saved: Saved | None) -> Sequence[str]:
        """Say what would be written."""
        writes = self._writes(value, self.save() if saved is None else saved)
        return kernel_files.describe_writes(self._machine, writes)

    def set(self, value: str, saved: Saved) -> str:
        """Write and read back; a kernel that rounds down has done what was asked."""
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
        share = self._share(value)
        writes: list[tuple[str, str]] = []
        for folder in self._domain.list_folders(self._machine):
            high = f"{folder}/{self._domain.max_file}"
            low = f"{folder}/{self._domain.min_file}"
            before = parse_frequency(high, kernel_files.get_saved_text(saved, high))
            cap = self._choose_frequency(folder, share * before, before)
            floor = min(cap, parse_frequency(low, kernel_files.get_saved_text(saved, low)))
            both = [(high, str(cap)), (low, str(floor))]
            # The lowest must never be above the highest: some kernels refuse that.
            falls = cap < read_frequency(self._machine, low)
            writes += both[::-1] if falls else both
        return writes

    def _share(self, value: str) -> float:
        try:
            share = float(value)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            raise ActuatorError(f"{self.name}: expected a share from 0 to 1, got {value!r}")
        return share

    def _choose_frequency(self, folder: str, wanted: float, before: int) -> int:
        steps = self._domain.read_frequencies(self._machine, folder)
        if wanted >= before:
            return before
        if not steps:
            return max(int(wanted), self._lowest_possible(folder))
        return min(before, steps[max(0, bisect.bisect_right(steps, wanted) - 1)])

    def _lowest_possible(self, folder: str) -> int:
        path = f"{folder}/cpuinfo_min_freq"
        return read_frequency(self._machine, path) if self._machine.exists(path) else 0
