"""Clocks in sysfs: the CPU clusters (cpufreq) and the GPU (devfreq)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.machine import Machine

#: Names of the GPU's devfreq device on Nano, Xavier, Orin, Thor and most other boards.
GPU_NAMES = ("*.gpu", "*.gp10b", "*.gv11b", "*.ga10b", "*.gb10b", "gpu-gpc-*")


@dataclass(frozen=True)
class ClockDomain:
    """All CPU clusters, or the GPU; ``patterns`` match the names of its folders in ``parent``."""

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
        """Return the folder of each clock; raises ActuatorError if there is none."""
        found = [
            folder
            for folder in machine.list_folders(self.parent, *self.patterns)
            if machine.exists(f"{folder}/{self.max_file}")
        ]
        if not found:
            raise ActuatorError(f"{self.name}: this machine has no clock files for it")
        return found

    def read_frequencies(self, machine: Machine, folder: str) -> list[int]:
        """Return the available frequencies of a clock, sorted; empty if there is no list."""
        path = f"{folder}/{self.available_frequencies_file}"
        if not machine.exists(path):
            return []
        return sorted(int(word) for word in machine.read(path).split() if word.isdecimal())


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


def make_gpu_domain(names: Sequence[str] = GPU_NAMES) -> ClockDomain:
    """Return the GPU's clocks; ``names`` are patterns of the name of its devfreq device."""
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
    """Return the whole number in a file; raises ActuatorError if it holds something else."""
    return parse_frequency(path, machine.read(path))


def parse_frequency(path: str, text: str) -> int:
    """Return a file's current or saved text as a number; raises as ``read_frequency`` does."""
    if not text.isdecimal():
        raise ActuatorError(f"/{path}: expected a frequency, got {text[:40]!r}")
    return int(text)
