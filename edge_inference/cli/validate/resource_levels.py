"""Reads the resources that the pipeline of this process and its machine use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from edge_inference.composition.pipeline import share_folder
from edge_inference.core.runtime.memory_limit import resident_mib
from edge_inference.observe.targets.observations import Observations
from edge_inference.observe.targets.platform_levels import platform_levels
from edge_inference.platforms.board_files import list_board_folders
from edge_inference.platforms.platform import Platform, open_platform


class MachineLevels(AbstractContextManager["MachineLevels"]):
    """Puts what the sensors of this machine report into observations. A context manager."""

    def __init__(self, observations: Observations) -> None:
        self._observations = observations
        folders = list_board_folders("", share_folder() / "config" / "platforms")
        self._platform: Platform = open_platform(folders)

    def read(self) -> None:
        """Read every sensor once."""
        now_ns = time.monotonic_ns()
        for what, value in platform_levels(self._platform.sense(now_ns)):
            if isinstance(value, str):
                self._observations.set_reason(what, value)
            else:
                self._observations.add_level(what, value, now_ns)

    def __exit__(self, *exc_info: object) -> None:
        """Stop reading."""
        self._platform.close()


class OwnProcessLevels:
    """Puts the CPU time and memory of this process into observations, from the second call on."""

    def __init__(
        self, observations: Observations, cpu_s: Callable[[], float] = time.process_time
    ) -> None:
        self._observations = observations
        self._cpu_s = cpu_s
        self._cores = os.cpu_count() or 1
        self._before: tuple[int, float] | None = None

    def read(self) -> None:
        """Read once."""
        now_ns, used_s = time.monotonic_ns(), self._cpu_s()
        if self._before is not None:
            passed_s = (now_ns - self._before[0]) / 1e9 * self._cores
            share = (used_s - self._before[1]) / passed_s
            self._observations.add_level("process_cpu_percent", 100.0 * share, now_ns)
        self._before = (now_ns, used_s)
        self._observations.add_level("memory_mib", resident_mib(), now_ns)
