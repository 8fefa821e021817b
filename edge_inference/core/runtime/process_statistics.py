"""What a process did during a short window: its CPU time, and what held its threads up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hold:
    """A time in which no Python code of the process's monitor could run.

    ``begin_ns`` is on the steady clock. Of ``wait_ms``, the monitor's thread waited
    ``run_queue_ms`` for a core; the rest it waited for the interpreter lock, unless the process was
    stopped. ``cpu_ms`` is the CPU time of the whole process meanwhile, None if unknown.
    """

    begin_ns: int
    wait_ms: float
    run_queue_ms: float
    cpu_ms: float | None = None
    is_stopped: bool = False

    @property
    def end_ns(self) -> int:
        """The end on the steady clock."""
        return self.begin_ns + round(self.wait_ms * 1e6)

    @property
    def lock_ms(self) -> float:
        """The time for which the interpreter lock was held by another thread."""
        return 0.0 if self.is_stopped else max(0.0, self.wait_ms - self.run_queue_ms)


@dataclass(frozen=True)
class ProcessStatistics:
    """A window of one process; times are on the steady clock that ``clock_id`` identifies.

    ``nodes`` are the full names of its nodes. ``clock_step_ms`` is by how much the system clock
    moved against the steady clock. ``executor_ms`` is the longest time that a callback waited for
    the executor; None is unknown.
    """

    nodes: tuple[str, ...]
    pid: int
    clock_id: int
    begin_ns: int
    end_ns: int
    cpu_ms: float
    memory_mib: float
    minor_faults: int
    major_faults: int
    clock_step_ms: float = 0.0
    executor_ms: float | None = None
    holds: tuple[Hold, ...] = ()
    stamp_ns: int = 0
    frame_id: str = ""
