"""The CPU time of each thread of a process, from /proc/<pid>/task/<tid>/schedstat.

The kernel counts nanoseconds on a core, and nanoseconds ready to run without one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ThreadTime:
    """What a thread did in a window; ``run_queue_ms`` is how long it waited for a core."""

    pid: int
    tid: int
    name: str
    cpu_ms: float
    run_queue_ms: float


class ThreadMeter:
    """Adds up the time of all threads of a process from the first call of ``sample``.

    Call ``sample`` from time to time: a thread that ends counts until the last call before.
    """

    def __init__(self, pid: int, root: Path = PROC) -> None:
        self.pid = pid
        self._root = root
        self._before: dict[int, tuple[int, int]] | None = None
        self._latest: dict[int, tuple[int, int]] = {}
        self._names: dict[int, str] = {}

    def sample(self, names: Mapping[int, str] | None = None) -> bool:
        """Read the counters; False where the process is not visible.

        ``names`` are better names by thread id; the kernel cuts its own to 15 characters.
        """
        found = self._read()
        if self._before is None:
            self._before = dict(found)
        for tid, counters in found.items():
            known = self._latest.get(tid)
            if known is not None and counters < known:  # another thread got the number
                self._before.pop(tid, None)
            self._latest[tid] = counters
        self._names.update({tid: name for tid, name in (names or {}).items() if tid in found})
        return bool(found)

    def resident_mib(self) -> float | None:
        """Return the resident memory of the process, None where it is not visible."""
        try:
            pages = int((self._root / str(self.pid) / "statm").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return None
        return pages * _PAGE_BYTES / 2**20

    def times(self) -> list[ThreadTime]:
        """Return the threads that have run since the first call, most CPU time first."""
        times = []
        for tid, (ran_ns, waited_ns) in self._latest.items():
            ran_before_ns, waited_before_ns = (self._before or {}).get(tid, (0, 0))
            cpu_ms = (ran_ns - ran_before_ns) / 1e6
            waited_ms = (waited_ns - waited_before_ns) / 1e6
            if cpu_ms > 0 or waited_ms > 0:
                times.append(
                    ThreadTime(self.pid, tid, self._names.get(tid, str(tid)), cpu_ms, waited_ms)
                )
        return sorted(times, key=lambda each: -each.cpu_ms)

    def _read(self) -> dict[int, tuple[int, int]]:
        found = {}
        try:
            folders = list((self._root / str(self.pid) / "task").iterdir())
        except OSError:  # it has ended, or is in another container
            return {}
        for folder in folders:
            try:
                ran_ns, waited_ns, _ = map(int, (folder / "schedstat").read_text().split())
                name = (folder / "comm").read_text().strip()
            except (OSError, ValueError):  # it has just ended, or the kernel has no schedstat
                continue
            found[int(folder.name)] = ran_ns, waited_ns
            self._names.setdefault(int(folder.name), name)
        return found
