"""The schedule of a thread: its real-time priority and its CPUs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Protocol

# Threads that a library starts from a real-time thread must not become real-time too. Only root
# may clear this flag, so it stays set.
_RESET_FLAG = getattr(os, "SCHED_RESET_ON_FORK", 0)
_CALLING_THREAD = 0


class Scheduler(Protocol):
    """The system calls that are needed, as in ``os``; pid 0 is the calling thread."""

    def sched_getaffinity(self, pid: int, /) -> set[int]:
        """Return the CPUs that a thread may use."""

    def sched_setaffinity(self, pid: int, mask: Iterable[int], /) -> None:
        """Restrict a thread to these CPUs."""

    def sched_getscheduler(self, pid: int, /) -> int:
        """Return a thread's scheduling policy."""

    def sched_getparam(self, pid: int, /) -> os.sched_param:
        """Return a thread's priority."""

    def sched_setscheduler(self, pid: int, policy: int, param: os.sched_param, /) -> None:
        """Set a thread's scheduling policy and priority."""


class ThreadSchedule:
    """The schedule of one thread, which must make and call it itself.

    Priority 0, and an empty list of CPUs, restore what the thread had before.
    """

    def __init__(self, scheduler: Scheduler = os) -> None:
        self._scheduler = scheduler
        self._own_cpus = frozenset(scheduler.sched_getaffinity(_CALLING_THREAD))
        self._own_policy = scheduler.sched_getscheduler(_CALLING_THREAD)
        self._own_priority = scheduler.sched_getparam(_CALLING_THREAD)
        self._priority = 0
        self._cpus: tuple[int, ...] = ()

    def set(self, priority: int, cpus: Collection[int]) -> tuple[str, ...]:
        """Change the schedule; returns a sentence for each part that the system refuses.

        ``priority`` is 1 to 99 for SCHED_FIFO, or 0 for the original priority. ``cpus``
        are CPU numbers; empty for the original CPUs. A refused value is not tried
        again until it changes.
        """
        problems = []
        if priority != self._priority:
            self._priority = priority
            problems.append(self._set_priority(priority))
        if tuple(cpus) != self._cpus:
            self._cpus = tuple(cpus)
            problems.append(self._set_cpus(self._cpus))
        return tuple(problem for problem in problems if problem)

    def differs(self, priority: int, cpus: Collection[int]) -> bool:
        """Tell whether this differs from the last requested schedule."""
        return (priority, tuple(cpus)) != (self._priority, self._cpus)

    def describe(self) -> str:
        """Describe the schedule that the thread has now."""
        policy = self._scheduler.sched_getscheduler(_CALLING_THREAD) & ~_RESET_FLAG
        priority = self._scheduler.sched_getparam(_CALLING_THREAD).sched_priority
        cpus = sorted(self._scheduler.sched_getaffinity(_CALLING_THREAD))
        kind = f"real-time priority {priority}" if policy == os.SCHED_FIFO else "normal priority"
        return f"{kind}, CPUs {', '.join(map(str, cpus))}"

    def _set_priority(self, priority: int) -> str:
        policy = os.SCHED_FIFO if priority else self._own_policy
        parameters = os.sched_param(priority) if priority else self._own_priority
        try:
            self._scheduler.sched_setscheduler(_CALLING_THREAD, policy | _RESET_FLAG, parameters)
        except PermissionError:
            return (
                f"thread_priority: real-time priority {priority} is not permitted, so the "
                f"thread keeps its priority; raise this user's limit rtprio to at least {priority} "
                "(`edge-inference platform tune --apply` does, from the next login), or "
                "set thread_priority to 0"
            )
        except OSError as error:
            return f"thread_priority: {priority} is refused: {error.strerror}"
        return ""

    def _set_cpus(self, cpus: tuple[int, ...]) -> str:
        try:
            self._scheduler.sched_setaffinity(_CALLING_THREAD, cpus or self._own_cpus)
        except (OSError, ValueError, OverflowError) as error:
            given = ", ".join(map(str, cpus))
            available = ", ".join(map(str, sorted(self._own_cpus)))
            return (
                f"cpu_affinity: expected CPUs that this process may use ({available}), got "
                f"{given}: {getattr(error, 'strerror', None) or error}; the thread keeps its CPUs"
            )
        return ""
