"""Measures what this process does: CPU time, memory, page faults, clock steps, and its holds."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_inference.core.runtime.memory_limit import resident_mib
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.heartbeat import Heartbeat

_CLOCK_READINGS = 5
#: A smaller movement is the time server's slewing, or an interrupted reading.
_MIN_STEP_MS = 1.0


@dataclass(frozen=True)
class _Usage:
    """What the process has used so far, and the system clock relative to the steady clock."""

    now_ns: int
    cpu_ns: int
    minor_faults: int
    major_faults: int
    clock_offset_ns: int


class ProcessMeter:
    """Measures one window after the other; the first starts at once.

    With ``heartbeat`` a thread looks for holds; ``on_failure`` gets an exception that ends it.
    ``clock_id`` identifies the steady clock. Raises EdgeInferenceError where the system has no
    timer for the heartbeat.
    """

    def __init__(
        self, clock_id: int, heartbeat: bool, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._clock_id = clock_id
        self._on_failure = on_failure
        self._heartbeat: Heartbeat | None = None
        self.set_heartbeat(heartbeat)
        self._before = _read_usage()
        self._executor_due_ns: int | None = None
        self._executor_ms: float | None = None

    def set_heartbeat(self, heartbeat: bool) -> None:
        """Start or stop the thread; raises EdgeInferenceError as the constructor does."""
        if heartbeat and self._heartbeat is None:
            self._heartbeat = Heartbeat(self._on_failure)
        elif not heartbeat and self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None

    def note_executor(self, period_ns: int) -> None:
        """Call this every ``period_ns`` in the executor: a late call was held up by a callback."""
        now_ns = time.monotonic_ns()
        if self._executor_due_ns is not None:
            late_ms = max(0, now_ns - self._executor_due_ns) / 1e6
            self._executor_ms = max(late_ms, self._executor_ms or 0.0)
        self._executor_due_ns = now_ns + period_ns

    def take(self, nodes: Sequence[str]) -> ProcessStatistics:
        """Return the window since the last call; ``nodes`` are those of the process."""
        before, now = self._before, _read_usage()
        executor_ms, self._executor_ms = self._executor_ms, None
        self._before = now
        step_ms = (now.clock_offset_ns - before.clock_offset_ns) / 1e6
        return ProcessStatistics(
            nodes=tuple(nodes),
            pid=os.getpid(),
            clock_id=self._clock_id,
            begin_ns=before.now_ns,
            end_ns=now.now_ns,
            cpu_ms=(now.cpu_ns - before.cpu_ns) / 1e6,
            memory_mib=resident_mib(),
            minor_faults=now.minor_faults - before.minor_faults,
            major_faults=now.major_faults - before.major_faults,
            clock_step_ms=step_ms if abs(step_ms) >= _MIN_STEP_MS else 0.0,
            executor_ms=executor_ms,
            holds=() if self._heartbeat is None else self._heartbeat.take_holds(),
        )

    def close(self) -> None:
        """End the thread."""
        self.set_heartbeat(False)


def _read_usage() -> _Usage:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return _Usage(
        now_ns=time.monotonic_ns(),
        cpu_ns=time.process_time_ns(),
        minor_faults=usage.ru_minflt,
        major_faults=usage.ru_majflt,
        clock_offset_ns=_clock_offset_ns(),
    )


def _clock_offset_ns() -> int:
    """Return the system clock minus the steady clock, from the least interrupted reading."""
    readings = []
    for _ in range(_CLOCK_READINGS):
        before_ns, system_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        readings.append((after_ns - before_ns, system_ns - (before_ns + after_ns) // 2))
    return min(readings)[1]
