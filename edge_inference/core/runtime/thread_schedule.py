"""When and where a thread runs: its real-time priority and its CPUs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Protocol

# Threads that a library starts from a real-time one are not to take all time too. Once
# set, only root may clear this mark again, so it stays.
_MARK = getattr(os, "SCHED_RESET_ON_FORK", 0)
_CALLER = 0


class Scheduler(Protocol):
    """The calls of the operating system that are needed, as ``os`` has them; 0 is the caller."""

    def sched_getaffinity(self, pid: int, /) -> set[int]:
        """Return the CPUs that a thread may use."""

    def sched_setaffinity(self, pid: int, mask: Iterable[int], /) -> None:
        """Let a thread use these CPUs only."""

    def sched_getscheduler(self, pid: int, /) -> int:
        """Return a thread's policy."""

    def sched_getparam(self, pid: int, /) -> os.sched_param:
        """Return a thread's priority."""

    def sched_setscheduler(self, pid: int, policy: int, param: os.sched_param, /) -> None:
        """Set a thread's policy and priority."""


class ThreadSchedule:
    """The schedule of one thread, which makes it and calls it itself.

    What the thread had before is what priority 0, and no CPUs, go back to.
    """

    def __init__(self, scheduler: Scheduler = os) -> None:
        self._scheduler = scheduler
        self._own_cpus = frozenset(scheduler.sched_getaffinity(_CALLER))
        self._own_policy = scheduler.sched_getscheduler(_CALLER)
        self._own_priority = scheduler.sched_getparam(_CALLER)
        self._priority = 0
        self._cpus: tuple[int, ...] = ()

    def set(self, priority: int, cpus: Collection[int]) -> tuple[str, ...]:
        """Take another schedule; returns a sentence for each part that is refused.

        ``priority`` is from 1 to 99 for SCHED_FIFO, 0 for what the thread had. ``cpus``
        are numbers, none for those that the thread had. What is refused is not tried
        again before it changes.
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
        """Tell whether this is something else than what was asked for last."""
        return (priority, tuple(cpus)) != (self._priority, self._cpus)

    def words(self) -> str:
        """Say what is in force."""
        policy = self._scheduler.sched_getscheduler(_CALLER) & ~_MARK
        priority = self._scheduler.sched_getparam(_CALLER).sched_priority
        cpus = sorted(self._scheduler.sched_getaffinity(_CALLER))
        kind = f"real-time priority {priority}" if policy == os.SCHED_FIFO else "normal priority"
        return f"{kind}, CPUs {', '.join(map(str, cpus))}"

    def _set_priority(self, priority: int) -> str:
        policy = os.SCHED_FIFO if priority else self._own_policy
        wanted = os.sched_param(priority) if priority else self._own_priority
        try:
            self._scheduler.sched_setscheduler(_CALLER, policy | _MARK, wanted)
        except PermissionError:
            return (
                f"thread_priority: real-time priority {priority} is not permitted, so the "
                f"thread goes on as before; raise this user's limit rtprio to {priority} at "
                "least (`edge-inference platform tune --apply` does, from the next login), or "
                "set thread_priority to 0"
            )
        except OSError as error:
            return f"thread_priority: {priority} is refused: {error.strerror}"
        return ""

    def _set_cpus(self, cpus: tuple[int, ...]) -> str:
        try:
            self._scheduler.sched_setaffinity(_CALLER, cpus or self._own_cpus)
        except (OSError, ValueError, OverflowError) as error:
            named = ", ".join(map(str, cpus))
            had = ", ".join(map(str, sorted(self._own_cpus)))
            return (
                f"cpu_affinity: expected CPUs among those that this process may use ({had}), got "
                f"{named}: {getattr(error, 'strerror', None) or error}; the thread goes on as "
                "before"
            )
        return ""
