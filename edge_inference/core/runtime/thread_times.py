"""What a thread has done so far: CPU time, waiting for a core, page faults; and whose clock it is.

The sources are Linux: ``CLOCK_THREAD_CPUTIME_ID``, ``/proc/<pid>/task/<tid>/schedstat`` (second
number: nanoseconds on a run queue, see ``Documentation/scheduler/sched-stats.rst`` of the kernel)
and ``getrusage(RUSAGE_THREAD)``.
"""

from __future__ import annotations

import functools
import os
import resource
import time
import zlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: The offsets of a container with clocks of its own.
_CLOCK_OFFSETS = Path("/proc/self/timens_offsets")
#: Three numbers of at most 20 digits.
_SCHEDSTAT_BYTES = 64


class ThreadUse(NamedTuple):
    """Totals of one thread at ``at_ns`` on the steady clock; ``run_queue_ns`` None is unknown."""

    at_ns: int
    cpu_ns: int
    run_queue_ns: int | None
    page_faults: int

    def run_queue_ms_since(self, before: ThreadUse) -> float | None:
        """Return the milliseconds on a run queue since an earlier reading; None if unknown."""
        return _elapsed_ms(before.run_queue_ns, self.run_queue_ns)


class RunQueue:
    """How long the thread that makes it has waited for a core; None where it is unknown."""

    def __init__(self, schedstat: Path = _SCHEDSTAT) -> None:
        try:
            # The link leads to the thread that opens it, and stays there.
            self._file: int | None = os.open(schedstat, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = None

    def read_ns(self) -> int | None:
        """Return the nanoseconds so far, from any thread."""
        if self._file is None:
            return None
        try:
            return int(os.pread(self._file, _SCHEDSTAT_BYTES, 0).split(None, 2)[1])
        except (OSError, ValueError, IndexError):
            return None  # some sandboxes have the file without its numbers

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class ThreadTimes:
    """Reads the totals of the thread that makes it; a context manager.

    Where the kernel has no statistics of its scheduler, the time on a run queue is unknown.
    """

    def __init__(self, schedstat: Path = _SCHEDSTAT) -> None:
        self._run_queue = RunQueue(schedstat)

    def __enter__(self) -> ThreadTimes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run_queue.close()

    def read(self) -> ThreadUse:
        """Return the totals of the calling thread, which must be the one that made this."""
        at_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        run_queue_ns = self._run_queue.read_ns()
        used = resource.getrusage(resource.RUSAGE_THREAD)
        faults = used.ru_minflt + used.ru_majflt
        return ThreadUse(at_ns, cpu_ns, run_queue_ns, faults)

    def run_queue_ms_since(self, before: ThreadUse) -> float | None:
        """Return the milliseconds on a run queue since an earlier reading; None if unknown.

        Nothing else is read.
        """
        return _elapsed_ms(before.run_queue_ns, self._run_queue.read_ns())


def _elapsed_ms(begin_ns: int | None, end_ns: int | None) -> float | None:
    return None if begin_ns is None or end_ns is None else (end_ns - begin_ns) / 1e6


@functools.cache
def clock_id(boot_id: Path = _BOOT_ID, offsets: Path = _CLOCK_OFFSETS) -> int:
    """Return an id of the steady clock (machine and boot); 0 where it is unknown.

    Processes with the same id can compare times of the steady clock. Containers of one machine
    have the same id, unless one has clocks of its own (a time namespace).
    """
    try:
        text = boot_id.read_bytes()
    except OSError:
        return 0
    with suppress(OSError):  # kernels before 5.6 have no such namespaces
        text += offsets.read_bytes()
    return zlib.crc32(text)
