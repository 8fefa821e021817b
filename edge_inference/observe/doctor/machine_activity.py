"""The activity of a machine between two moments: CPU time, processes, swapping, clock steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_inference.observe.doctor.control_groups import find_group_files
from edge_inference.observe.doctor.system_view import SystemView, UnknownStateError

#: Time between the two moments.
SAMPLE_S = 0.5
#: The unit of times in /proc; it is 100 on every architecture that Linux supports now.
_TICKS_PER_S = 100
_IDLE, _IOWAIT, _STEAL = 3, 4, 7


@dataclass(frozen=True)
class ProcessTime:
    """CPU seconds of a process since its start."""

    name: str
    cpu_s: float


@dataclass(frozen=True)
class ActivitySample:
    """One moment. A part that the machine does not show is None, or empty."""

    steady_ns: int
    system_ns: int
    cpu_ticks: tuple[int, ...] | None
    runnable: int | None
    processes: Mapping[int, ProcessTime]
    swapped_pages: int | None
    throttled_periods: int | None


@dataclass(frozen=True)
class Activity:
    """Two moments, and what happened between them."""

    before: ActivitySample
    after: ActivitySample

    @property
    def seconds(self) -> float:
        """The time between the two moments; above 0."""
        return max(self.after.steady_ns - self.before.steady_ns, 1) / 1e9

    @property
    def clock_step_ms(self) -> float:
        """By how much the system clock moved against the steady clock."""
        steady_ns = self.after.steady_ns - self.before.steady_ns
        return (self.after.system_ns - self.before.system_ns - steady_ns) / 1e6

    def busy_share(self) -> float:
        """Return the share of all CPU time that was used, 0 to 1. Raises UnknownStateError."""
        ticks, total = self._ticks()
        return 1.0 - (ticks[_IDLE] + ticks[_IOWAIT]) / total

    def steal_share(self) -> float:
        """Return the share of CPU time that the host of this virtual machine gave to others."""
        ticks, total = self._ticks()
        return ticks[_STEAL] / total if len(ticks) > _STEAL else 0.0

    def busiest(self, without: int) -> list[tuple[int, str, float]]:
        """Return process number, name and used cores, the busiest first; not ``without``."""
        used = [
            (pid, now.name, (now.cpu_s - before.cpu_s) / self.seconds)
            for pid, now in self.after.processes.items()
            if (before := self.before.processes.get(pid)) is not None and pid != without
        ]
        return sorted(used, key=lambda each: -each[2])

    def _ticks(self) -> tuple[tuple[int, ...], int]:
        before, after = self.before.cpu_ticks, self.after.cpu_ticks
        if before is None or after is None:
            raise UnknownStateError("/proc/stat does not show the times of the CPU")
        ticks = tuple(now - then for then, now in zip(before, after, strict=False))
        if sum(ticks) <= 0:
            raise UnknownStateError("/proc/stat did not change between two reads")
        return ticks, sum(ticks)


def watch_activity(view: SystemView) -> Activity:
    """Look twice, ``SAMPLE_S`` apart."""
    before = take_sample(view)
    view.wait(SAMPLE_S)
    return Activity(before, take_sample(view))


def take_sample(view: SystemView) -> ActivitySample:
    """Look once; what cannot be read is left out."""
    stat = _find(view, "proc/stat")
    counters = _pairs(_find(view, "proc/vmstat"))
    pages = [int(counters[name]) for name in ("pswpin", "pswpout") if name in counters]
    runnable = _pairs(stat).get("procs_running")
    return ActivitySample(
        steady_ns=view.steady_ns(),
        system_ns=view.system_ns(),
        cpu_ticks=_cpu_ticks(stat),
        runnable=int(runnable) if runnable is not None else None,
        processes=_processes(view),
        swapped_pages=sum(pages) if pages else None,
        throttled_periods=_throttled_periods(view),
    )


def _find(view: SystemView, path: str) -> str:
    try:
        return view.find(path) or ""
    except OSError:
        return ""


def _pairs(text: str) -> dict[str, str]:
    """Return the lines of a name and one number."""
    words = (line.split() for line in text.splitlines())
    return {each[0]: each[1] for each in words if len(each) == 2 and each[1].isdecimal()}


def _cpu_ticks(stat: str) -> tuple[int, ...] | None:
    words = stat.partition("\n")[0].split()
    if len(words) < 6 or words[0] != "cpu" or not all(word.isdecimal() for word in words[1:]):
        return None
    return tuple(int(word) for word in words[1:9])  # the guest times after these are in user time


def _processes(view: SystemView) -> dict[int, ProcessTime]:
    found = {}
    for name in view.list("proc"):
        if name.isdecimal():
            # A process may end at any moment; the name in parentheses may contain anything.
            head, _, tail = _find(view, f"proc/{name}/stat").rpartition(")")
            fields = tail.split()
            if len(fields) > 12 and fields[11].isdecimal() and fields[12].isdecimal():
                ticks = int(fields[11]) + int(fields[12])
                found[int(name)] = ProcessTime(head.partition("(")[2], ticks / _TICKS_PER_S)
    return found


def _throttled_periods(view: SystemView) -> int | None:
    files = [
        *find_group_files(view, "", "cpu.stat"),
        *find_group_files(view, "cpu", "cpu.stat"),
    ]
    found = [_pairs(_find(view, file)).get("nr_throttled") for file in files]
    known = [int(periods) for periods in found if periods is not None]
    return sum(known) if known else None
