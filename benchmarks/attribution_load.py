"""The load of the machine: other work is measured, and hogs make some."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sides import cpu_seconds

#: The CPU time that other processes take at most on a quiet machine, and at least on a loaded one,
#: as shares of all cores.
QUIET_SHARE, LOADED_SHARE = 0.05, 0.5
_IDLE_FIELDS = (3, 4)  # idle and iowait of /proc/stat
_BUSY_LOOP = "while True: pass"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class LoadShares:
    """The CPU time that all processes took, and others alone, as shares of all cores."""

    all: float
    others: float


@dataclass(frozen=True)
class _Reading:
    time_s: float
    busy_s: float
    own_s: float


class LoadMeter:
    """Measures the load of all processes, and of the others than these and this one."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = [*pids, os.getpid()]
        self._last = self._read()

    def shares(self) -> LoadShares:
        """Return the shares since the last call."""
        last, self._last = self._last, self._read()
        available_s = (self._last.time_s - last.time_s) * (os.cpu_count() or 1)
        busy_s = self._last.busy_s - last.busy_s
        others_s = max(0.0, busy_s - (self._last.own_s - last.own_s))
        return LoadShares(busy_s / available_s, others_s / available_s)

    def _read(self) -> _Reading:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        # Guest time is part of user time; stolen time was taken by others.
        ticks = [int(field) for field in line.split()[1:9]]
        busy = sum(ticks) - sum(ticks[index] for index in _IDLE_FIELDS)
        own_s = sum(cpu_seconds(pid) for pid in self._pids)
        return _Reading(time.monotonic(), busy / _TICKS_PER_S, own_s)


@contextmanager
def hogs(count: int, cores: Sequence[int]) -> Iterator[list[int]]:
    """Keep cores busy with this number of processes for the block; yields their ids."""
    started = [_start_hog(cores) for _ in range(count)]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def _start_hog(cores: Sequence[int]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-S", "-c", _BUSY_LOOP])
    os.sched_setaffinity(process.pid, cores)
    return process


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process for the block, as a debugger or a watchdog does."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
