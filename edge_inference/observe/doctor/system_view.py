"""What the doctor reads of a machine: files, clocks, software, and the limits of this process."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import resource
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_inference.engines.cache.environment import machine_facts
from edge_inference.engines.serving.backend_table import AUTOMATIC_ORDER

#: No file that is read here is larger.
_MAX_READ_BYTES = 1 << 20
# From sys/timex.h.
_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000
_TIMEX_BYTES = 256


class UnknownStateError(Exception):
    """The machine does not say what a check needs; the message says why."""


@dataclass(frozen=True)
class ClockDiscipline:
    """What the kernel knows about the system clock; ``max_error_s`` is its own bound."""

    is_synchronized: bool
    max_error_s: float


class _Timex(ctypes.Structure):
    """The first fields of ``struct timex``; the rest only fills the space."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * _TIMEX_BYTES),
    )


def read_clock_discipline() -> ClockDiscipline:
    """Ask the kernel with adjtimex, which without modes changes nothing. Raises OSError."""
    timex = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "adjtimex")
    return ClockDiscipline(not timex.status & _STA_UNSYNC, timex.maxerror / 1e6)


def find_engine_problems() -> dict[str, str | None]:
    """Return for each backend of the automatic choice why it cannot run here; None where it can."""
    return {row.name: row.unavailable_reason() for row in AUTOMATIC_ORDER}


def has_module(name: str) -> bool:
    """Tell whether Python can import a module, without importing it."""
    return importlib.util.find_spec(name) is not None


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


@dataclass(frozen=True)
class SystemView:
    """A machine: ``root`` is where its files are; every other source can be replaced, too.

    ``limits`` returns soft and hard limit of a resource, ``cores`` the numbers of the cores that
    this process may use, ``disk`` total, used and free bytes of a folder's file system. ``facts``
    are machine and libraries by name, ``engine_problems`` is why each backend cannot run.
    """

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    pid: int = field(default_factory=os.getpid)
    limits: Callable[[int], tuple[int, int]] = resource.getrlimit
    cores: Callable[[], set[int]] = field(default=lambda: os.sched_getaffinity(0))
    disk: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage
    clock_discipline: Callable[[], ClockDiscipline] = read_clock_discipline
    facts: Callable[[], Mapping[str, str]] = machine_facts
    engine_problems: Callable[[], Mapping[str, str | None]] = find_engine_problems
    has_module: Callable[[str], bool] = has_module
    system_ns: Callable[[], int] = time.time_ns
    steady_ns: Callable[[], int] = time.monotonic_ns
    wait: Callable[[float], object] = _wait

    def read(self, path: str) -> str:
        """Return the stripped text of a file, given without leading slash. Raises OSError."""
        with (self.root / path).open("rb") as stream:
            return stream.read(_MAX_READ_BYTES).decode(errors="replace").strip()

    def find(self, path: str) -> str | None:
        """Return the text of a file, None where there is none. Raises OSError otherwise."""
        try:
            return self.read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none where it does not exist or is closed."""
        try:
            return sorted(entry.name for entry in (self.root / path).iterdir())
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        """Tell whether a file or folder exists and is visible to this user."""
        try:
            return (self.root / path).exists()
        except OSError:
            return False
