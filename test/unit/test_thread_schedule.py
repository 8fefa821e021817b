"""Real-time priority and CPUs of a thread, permitted and not."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable

import pytest

from edge_inference.core.runtime.thread_schedule import ThreadSchedule


class System:
    """An operating system that permits priorities up to ``rtprio``, with four CPUs."""

    def __init__(self, rtprio: int = 99) -> None:
        self.rtprio = rtprio
        self.cpus = {0, 1, 2, 3}
        self.policy, self.priority = os.SCHED_OTHER, 0
        self.calls = 0

    def sched_getaffinity(self, pid: int) -> set[int]:
        return set(self.cpus)

    def sched_setaffinity(self, pid: int, mask: Iterable[int]) -> None:
        self.calls += 1
        usable = set(mask) & {0, 1, 2, 3}
        if not usable:
            raise OSError(errno.EINVAL, "Invalid argument")
        self.cpus = usable

    def sched_getscheduler(self, pid: int) -> int:
        return self.policy

    def sched_getparam(self, pid: int) -> os.sched_param:
        return os.sched_param(self.priority)

    def sched_setscheduler(self, pid: int, policy: int, param: os.sched_param) -> None:
        self.calls += 1
        if param.sched_priority > self.rtprio:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        self.policy, self.priority = policy, param.sched_priority


def test_an_unchanged_schedule_makes_no_call() -> None:
    system = System()
    assert ThreadSchedule(system).set(0, ()) == ()
    assert system.calls == 0


def test_a_priority_that_is_permitted_and_back() -> None:
    system = System()
    schedule = ThreadSchedule(system)
    assert schedule.set(50, ()) == ()
    # Threads that a library starts from here stay normal ones.
    assert (system.policy, system.priority) == (os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 50)
    assert schedule.describe() == "real-time priority 50, CPUs 0, 1, 2, 3"
    assert schedule.set(0, ()) == ()
    assert (system.policy & ~os.SCHED_RESET_ON_FORK, system.priority) == (os.SCHED_OTHER, 0)
    assert schedule.describe() == "normal priority, CPUs 0, 1, 2, 3"


def test_a_forbidden_priority_is_reported_once_with_the_limit() -> None:
    system = System(rtprio=10)
    schedule = ThreadSchedule(system)
    (problem,) = schedule.set(50, ())
    assert "real-time priority 50 is not permitted" in problem
    assert "limit rtprio to at least 50" in problem
    assert schedule.set(50, ()) == ()
    assert system.calls == 1
    assert schedule.set(10, ()) == ()
    assert system.priority == 10


def test_cpus_and_back() -> None:
    system = System()
    schedule = ThreadSchedule(system)
    assert schedule.set(0, (1, 3)) == ()
    assert system.cpus == {1, 3}
    assert schedule.differs(0, ())
    assert schedule.set(0, []) == ()
    assert system.cpus == {0, 1, 2, 3}
    assert not schedule.differs(0, ())


def test_missing_cpus_and_a_valid_priority() -> None:
    system = System()
    (problem,) = ThreadSchedule(system).set(5, (64,))
    assert problem == (
        "cpu_affinity: expected CPUs that this process may use (0, 1, 2, 3), got 64: "
        "Invalid argument; the thread keeps its CPUs"
    )
    assert (system.cpus, system.priority) == ({0, 1, 2, 3}, 5)


def in_a_thread(function: Callable[[], None]) -> None:
    """Run a function in a separate thread, whose schedule ends with it."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_the_real_system_keeps_a_thread_on_its_cpus() -> None:
    everywhere = os.sched_getaffinity(0)

    def work() -> None:
        schedule = ThreadSchedule()
        assert schedule.set(0, (min(everywhere),)) == ()
        assert os.sched_getaffinity(threading.get_native_id()) == {min(everywhere)}
        assert schedule.set(0, ()) == ()
        assert os.sched_getaffinity(0) == everywhere

    in_a_thread(work)
    assert os.sched_getaffinity(0) == everywhere


def test_the_real_system_permits_or_a_sentence_explains() -> None:
    def work() -> None:
        problems = ThreadSchedule().set(1, ())
        is_real_time = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
        assert is_real_time == (not problems)

    in_a_thread(work)


@pytest.mark.parametrize("cpus", [(1023,), (1022, 1023)])
def test_the_real_system_refuses_cpus_in_a_sentence(cpus: tuple[int, ...]) -> None:
    def work() -> None:
        (problem,) = ThreadSchedule().set(0, cpus)
        assert problem.startswith("cpu_affinity: expected CPUs that this process may use")

    in_a_thread(work)
