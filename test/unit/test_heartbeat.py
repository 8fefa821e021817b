"""Late heartbeats: what a process was held up by."""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge_inference.core.runtime.process_statistics import Hold, ProcessStatistics
from edge_inference.observe.heartbeat import (
    MIN_HOLD_MS,
    PERIOD_MS,
    Heartbeat,
    HoldDetector,
    KernelTimer,
)
from edge_inference.observe.process_meter import ProcessMeter

# Long, because the machine may be busy; only a test that fails waits for it.
DEADLINE_S = 120.0
#: Longer than any wait for a core that a test has to tell it from.
HOLD_MS = 400.0


class Clocks:
    """A machine in which a test sets every clock, in milliseconds."""

    def __init__(self, has_run_queue: bool = True) -> None:
        self.now = self.run_queue = self.cpu = 0.0
        self._has_run_queue = has_run_queue

    def wait(self) -> int:
        raise AssertionError("the detector does not wait")

    def now_ns(self) -> int:
        return round(self.now * 1e6)

    def run_queue_ns(self) -> int | None:
        return round(self.run_queue * 1e6) if self._has_run_queue else None

    def process_cpu_ns(self) -> int:
        return round(self.cpu * 1e6)


def beat_at(
    now: float, expired: int, run_queue: float = 0.0, cpu: float = 0.0, has_run_queue: bool = True
) -> Hold | None:
    """Return the hold of a heartbeat that was due at 10 ms."""
    clocks = Clocks(has_run_queue)
    detector = HoldDetector(clocks, round(PERIOD_MS * 1e6))
    clocks.now, clocks.run_queue, clocks.cpu = now, run_queue, cpu
    return detector.beat(expired)


class TestHoldDetector:
    def test_a_heartbeat_in_time(self) -> None:
        assert beat_at(PERIOD_MS + MIN_HOLD_MS / 2, 1) is None

    @pytest.mark.parametrize(
        ("now", "expired", "run_queue", "cpu", "lock", "queued", "is_stopped"),
        [
            # The thread woke in time, and then waited for the lock.
            (35.0, 1, 0.0, 25.0, 25.0, 0.0, False),
            (35.0, 1, 0.0, 0.1, 25.0, 0.0, False),
            # It woke late, because it waited for a core.
            (35.0, 3, 25.0, 25.0, 0.0, 25.0, False),
            # Some of both.
            (35.0, 2, 12.0, 20.0, 13.0, 12.0, False),
            # It woke in time, and waited for a core each time when it looked for the lock.
            (95.0, 1, 60.0, 80.0, 75.0, 10.0, False),
            # It woke late, and waited for no core; nothing of the process ran.
            (95.0, 9, 0.1, 0.2, 0.0, 0.1, True),
            # It missed two, for one of which it waited for a core.
            (35.0, 3, 10.0, 0.1, 5.0, 20.0, False),
            # The same, but the process ran: the machine did not give this thread a core.
            (95.0, 9, 0.1, 60.0, 5.0, 80.0, False),
        ],
    )
    def test_what_held_it_up(
        self,
        now: float,
        expired: int,
        run_queue: float,
        cpu: float,
        lock: float,
        queued: float,
        is_stopped: bool,
    ) -> None:
        hold = beat_at(now, expired, run_queue, cpu)
        assert hold is not None
        assert hold.begin_ns == PERIOD_MS * 1e6
        assert hold.wait_ms == pytest.approx(now - PERIOD_MS)
        assert hold.lock_ms == pytest.approx(lock)
        assert hold.run_queue_ms == pytest.approx(queued)
        assert hold.cpu_ms == pytest.approx(cpu)
        assert hold.is_stopped == is_stopped

    def test_without_statistics_of_the_scheduler(self) -> None:
        """Waking late is then a wait for a core, unless the process was stopped."""
        hold = beat_at(35.0, 3, cpu=20.0, has_run_queue=False)
        assert hold is not None
        assert (hold.run_queue_ms, hold.lock_ms) == (pytest.approx(20.0), pytest.approx(5.0))

    def test_expirations_during_a_hold_are_not_another_one(self) -> None:
        clocks = Clocks()
        detector = HoldDetector(clocks, round(PERIOD_MS * 1e6))
        clocks.now = 95.0
        assert detector.beat(1) is not None
        # Read at once: those of 20 to 90 ms.
        assert detector.beat(8) is None
        clocks.now = 100.1
        assert detector.beat(1) is None

    def test_a_second_hold_right_after_the_first(self) -> None:
        clocks = Clocks()
        detector = HoldDetector(clocks, round(PERIOD_MS * 1e6))
        clocks.now = 95.0
        detector.beat(1)
        clocks.now = 125.0
        hold = detector.beat(8)
        assert hold is not None
        assert (hold.begin_ns, hold.lock_ms) == (95e6, pytest.approx(30.0))


def test_the_timer_counts_what_was_missed() -> None:
    timer = KernelTimer(1_000_000)
    begin_ns = timer.first_ns
    total = timer.wait()
    while time.monotonic_ns() < begin_ns + 5_000_000:
        pass
    total += timer.wait()
    assert total >= 5
    timer.end()
    assert timer.wait() == 0
    timer.close()


def sleep_with_the_lock(ms: float) -> None:
    ctypes.PyDLL(None).usleep(round(ms * 1e3))


@contextmanager
def heartbeat() -> Iterator[Heartbeat]:
    """Run a heartbeat, which has already noticed a hold: its thread is known to beat."""
    failures: list[BaseException] = []
    beating = Heartbeat(failures.append)
    deadline_s = time.monotonic() + DEADLINE_S
    try:
        while not beating.take_holds():
            assert time.monotonic() < deadline_s
            sleep_with_the_lock(2 * PERIOD_MS)
        yield beating
    finally:
        beating.stop()
    assert not failures
    assert all(thread.name != "heartbeat" for thread in threading.enumerate())


def collect(beating: Heartbeat, end_ns: int) -> list[Hold]:
    """Return the holds until a moment, of which there must be some."""
    holds: list[Hold] = []
    deadline_ns = end_ns + DEADLINE_S * 1e9
    while (now_ns := time.monotonic_ns()) < deadline_ns:
        holds += beating.take_holds()
        if holds and now_ns > end_ns + 3 * PERIOD_MS * 1e6:
            break
    return holds + list(beating.take_holds())


def overlap_ms(holds: list[Hold], begin_ns: int, end_ns: int) -> float:
    """Return for how long the interpreter lock was held between two moments."""
    return sum(hold.lock_ms for hold in holds if hold.begin_ns < end_ns and hold.end_ns > begin_ns)


class TestInterpreterLock:
    """Python waits at most a switch interval, but a call of C code may keep the lock."""

    def test_a_call_that_sleeps_with_the_lock(self) -> None:
        with heartbeat() as beating:
            begin_ns = time.monotonic_ns()
            sleep_with_the_lock(HOLD_MS)
            end_ns = time.monotonic_ns()
            holds = collect(beating, end_ns)
        longest = max(holds, key=lambda hold: hold.lock_ms)
        assert longest.lock_ms >= HOLD_MS / 2
        assert longest.lock_ms <= (end_ns - begin_ns) / 1e6
        assert longest.begin_ns >= begin_ns - PERIOD_MS * 1e6
        assert not longest.is_stopped
        assert longest.cpu_ms is not None and longest.cpu_ms < HOLD_MS / 2

    def test_a_long_match_of_a_regular_expression(self) -> None:
        pattern, text = re.compile("(a|a?)+$"), "a" * 18 + "b"
        with heartbeat() as beating:
            begin_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
            while time.thread_time_ns() - cpu_ns < HOLD_MS * 1e6:
                pattern.match(text)
            end_ns = time.monotonic_ns()
            holds = collect(beating, end_ns)
        # In every period a heartbeat had to wait for a match to end.
        assert overlap_ms(holds, begin_ns, end_ns) > 0.1 * HOLD_MS


class TestProcessMeter:
    @staticmethod
    def measure(work: object = None) -> ProcessStatistics:
        meter = ProcessMeter(7, False, lambda error: None)
        try:
            if callable(work):
                work()
            return meter.take(("/ai/decode",))
        finally:
            meter.close()

    def test_cpu_time(self) -> None:
        def compute() -> None:
            end_ns = time.process_time_ns() + 50_000_000
            while time.process_time_ns() < end_ns:
                pass

        begin_ns = time.process_time_ns()
        taken = self.measure(compute)
        assert 50.0 <= taken.cpu_ms <= (time.process_time_ns() - begin_ns) / 1e6
        assert (taken.nodes, taken.pid, taken.clock_id) == (("/ai/decode",), os.getpid(), 7)
        assert taken.begin_ns < taken.end_ns <= time.monotonic_ns()
        assert taken.clock_step_ms == 0.0
        assert taken.holds == ()
        assert taken.executor_ms is None

    def test_page_faults_and_memory(self) -> None:
        import mmap

        pages = 5000
        before = self.measure()
        with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
            memory.madvise(mmap.MADV_NOHUGEPAGE)

            def touch() -> None:
                for page in range(pages):
                    memory[page * mmap.PAGESIZE] = 1

            taken = self.measure(touch)
        assert pages <= taken.minor_faults < 3 * pages
        assert taken.memory_mib - before.memory_mib > 0.8 * pages * mmap.PAGESIZE / 2**20
        assert taken.major_faults < pages

    def test_a_step_of_the_system_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        moved_ns = 0
        real_ns = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + moved_ns)
        meter = ProcessMeter(7, False, lambda error: None)
        moved_ns = -250_000_000
        assert meter.take(()).clock_step_ms == pytest.approx(-250.0, abs=50.0)
        assert abs(meter.take(()).clock_step_ms) < 50.0

    def test_a_callback_that_delays_the_executor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls_ms = iter((0, 50, 100, 280, 330))
        meter = ProcessMeter(7, False, lambda error: None)
        with monkeypatch.context() as patched:
            patched.setattr(time, "monotonic_ns", lambda: next(calls_ms) * 1_000_000)
            for _ in range(5):
                meter.note_executor(50_000_000)
        # 130 ms late once, and in time from there on.
        assert meter.take(()).executor_ms == pytest.approx(130.0)
        assert meter.take(()).executor_ms is None

    def test_the_heartbeat_can_be_switched(self) -> None:
        meter = ProcessMeter(7, False, lambda error: None)
        for wanted in (True, True, False, False):
            meter.set_heartbeat(wanted)
            names = [thread.name for thread in threading.enumerate()]
            assert ("heartbeat" in names) == wanted
        meter.close()
