"""Clocks that the kernel shows as files: those of the CPU clusters and of the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.machine import Machine

#: How the GPU's devfreq device is called: Nano, Xavier, Orin, Thor and most other boards.
GPU_NAMES = ("*.gpu", "*.gp10b", "*.gv11b", "*.ga10b", "*.gb10b", "gpu-gpc-*")


@dataclass(frozen=True)
class ClockDomain:
    """All CPU clusters, or the GPU; ``patterns`` are the names of its folders in ``parent``."""

    name: str
    parent: str
    patterns: Sequence[str]
    governor_file: str
    available_governors_file: str
    min_file: str
    max_file: str
    available_frequencies_file: str
    unit: str

    def list_folders(self, machine: Machine) -> list[str]:
        """Return the folder of each clock; raises ActuatorError where there is none."""
        found = [
            folder
            for folder in machine.list_folders(self.parent, *self.patterns)
            if machine.exists(f"{folder}/{self.max_file}")
        ]
        if not found:
            raise ActuatorError(f"{self.name}: this machine shows no clock of it")
        return found

    def read_frequencies(self, machine: Machine, folder: str) -> list[int]:
        """Return the frequencies that a clock can have, rising; empty where they are no list."""
        path = f"{folder}/{self.available_frequencies_file}"
        if not machine.exists(path):
            return []
        message = machine.read(path).split()
        return sorted(int(word) for word in message if word.isdecimal())


CPU = ClockDomain(
    name="cpu",
    parent="sys/devices/system/cpu/cpufreq",
    patterns=("policy*",),
    governor_file="scaling_governor",
    available_governors_file="scaling_available_governors",
    min_file="scaling_min_freq",
    max_file="scaling_max_freq",
    available_frequencies_file="scaling_available_frequencies",
    unit="kHz",
)


def gpu_domain(names: Sequence[str] = GPU_NAMES) -> ClockDomain:
    """Return the GPU's clocks; ``names`` are patterns of what its devfreq device is called."""
    return ClockDomain(
        name="gpu",
        parent="sys/class/devfreq",
        patterns=tuple(names),
        governor_file="governor",
        available_governors_file="available_governors",
        min_file="min_freq",
        max_file="max_freq",
        available_frequencies_file="available_frequencies",
        unit="Hz",
    )


def read_frequency(machine: Machine, path: str) -> int:
    """Return the whole number in a file; raises ActuatorError where it holds something else."""
    return parse_frequency(path, machine.read(path))


def parse_frequency(path: str, text: str) -> int:
    """Return the whole number that a file holds, or held, as in ``number_in``."""
    if not text.isdecimal():
        raise ActuatorError(f"/{path}: expected a frequency, got {text[:40]!r}")
    return int(text)
