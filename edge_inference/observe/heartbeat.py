"""A thread that notices when the threads of its process cannot run.

It waits for a periodic timer of the kernel. The timer counts its expirations, so that a late
heartbeat tells where the time went: expirations that were missed before the thread ran at all are
waits for a core, or the process was stopped; the rest it waited for the interpreter lock.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from edge_inference.core.runtime.process_statistics import Hold
from edge_inference.core.runtime.thread_times import RunQueue
from edge_inference.errors import EdgeInferenceError

#: Time between two heartbeats. Each costs 10 to 45 us, most of it for waking the thread.
PERIOD_MS = 10.0
#: A shorter wait is not a hold. Python code of other threads keeps the lock for 0.5 ms.
MIN_HOLD_MS = 0.35
#: Holds that are kept until they are taken; the oldest are discarded.
_MAX_HOLDS = 4096
_PERIOD_NS = round(PERIOD_MS * 1e6)
#: The process was stopped if it missed so many heartbeats, and used at most this share of a core.
_MIN_STOPPED, _MAX_STOPPED_SHARE = 2, 0.1


class HeartbeatClocks(Protocol):
    """What the heartbeat reads; times are nanoseconds."""

    def wait(self) -> int:
        """Wait for the timer; return how often it expired since the last call, 0 at the end."""

    def now_ns(self) -> int:
        """Return the steady clock."""

    def run_queue_ns(self) -> int | None:
        """Return how long this thread has waited for a core so far; None if unknown."""

    def process_cpu_ns(self) -> int:
        """Return the CPU time of the process so far."""


class HoldDetector:
    """Turns late heartbeats into holds; ``first_ns`` is when the timer expires first."""

    def __init__(self, clocks: HeartbeatClocks, first_ns: int) -> None:
        self._clocks = clocks
        self._due_ns = first_ns
        self._now_ns = clocks.now_ns()
        self._run_queue_ns = clocks.run_queue_ns()
        self._cpu_ns = clocks.process_cpu_ns()

    def beat(self, expired: int) -> Hold | None:
        """Return the hold that delayed a heartbeat, None where it was in time."""
        clocks = self._clocks
        before_ns, queued_before_ns, cpu_before_ns = self._now_ns, self._run_queue_ns, self._cpu_ns
        self._now_ns, self._run_queue_ns = clocks.now_ns(), clocks.run_queue_ns()
        self._cpu_ns = clocks.process_cpu_ns()
        due_ns = self._due_ns
        self._due_ns += expired * _PERIOD_NS
        # Expirations before the last heartbeat ended did not have to be waited for.
        passed = max(0, (before_ns - due_ns) // _PERIOD_NS + 1)
        begin_ns, missed = (before_ns, expired - passed) if passed else (due_ns, expired - 1)
        wait_ms = (self._now_ns - begin_ns) / 1e6
        if wait_ms < MIN_HOLD_MS:
            return None
        queued_ms = 0.0
        if self._run_queue_ns is not None and queued_before_ns is not None:
            queued_ms = min(wait_ms, (self._run_queue_ns - queued_before_ns) / 1e6)
        cpu_ms = (self._cpu_ns - cpu_before_ns) / 1e6
        missed_ms = missed * PERIOD_MS
        # Later it wakes now and then to look for the lock: that it waits for a core to do so delays
        # nothing.
        queued_ms = min(queued_ms, missed_ms + PERIOD_MS)
        # The kernel did not let the thread run, and it was not in the queue for a core either.
        is_stopped = (
            missed_ms - queued_ms >= _MIN_STOPPED * PERIOD_MS
            and cpu_ms <= _MAX_STOPPED_SHARE * missed_ms
        )
        if not is_stopped:
            queued_ms = max(queued_ms, min(wait_ms, missed_ms))
        return Hold(begin_ns, wait_ms, queued_ms, cpu_ms, is_stopped)


class Heartbeat:
    """The thread; it starts at once. ``on_failure`` gets an exception that ends it.

    Raises EdgeInferenceError where the system has no such timer.
    """

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._holds: deque[Hold] = deque(maxlen=_MAX_HOLDS)
        self._timer = KernelTimer(_PERIOD_NS)
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def take_holds(self) -> tuple[Hold, ...]:
        """Return the holds since the last call."""
        return tuple(self._holds.popleft() for _ in range(len(self._holds)))

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._timer.end()
        self._thread.join()

    def _run(self) -> None:
        try:
            with _ThreadClocks(self._timer) as clocks:
                detector = HoldDetector(clocks, self._timer.first_ns)
                while expired := clocks.wait():
                    if (hold := detector.beat(expired)) is not None:
                        self._holds.append(hold)
        except BaseException as error:
            self._on_failure(error)
        finally:
            self._timer.close()


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("first", _TimeSpec))


class KernelTimer:
    """A periodic timer of Linux (timerfd), which Python has only from 3.13 on."""

    _ABSOLUTE = 1

    def __init__(self, period_ns: int) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        try:
            create, self._set = library.timerfd_create, library.timerfd_settime
        except AttributeError as error:
            raise EdgeInferenceError(
                "the heartbeat of the process needs timerfd, which this system does not have; "
                "set heartbeat to false"
            ) from error
        self._file = int(create(time.CLOCK_MONOTONIC, os.O_CLOEXEC))
        if self._file < 0:
            reason = os.strerror(ctypes.get_errno())
            raise EdgeInferenceError(
                f"the heartbeat of the process gets no timer: {reason}; set heartbeat to false"
            )
        self._is_ending = False
        #: The first expiration on the steady clock.
        self.first_ns = time.monotonic_ns() + period_ns
        self._start(self.first_ns, period_ns)

    def wait(self) -> int:
        """Wait for an expiration; return how many there were, 0 at the end."""
        count = int.from_bytes(os.read(self._file, 8), "little")
        return 0 if self._is_ending else count

    def end(self) -> None:
        """Make ``wait`` return 0, from any thread."""
        self._is_ending = True

    def close(self) -> None:
        """Release the timer."""
        os.close(self._file)

    def _start(self, first_ns: int, period_ns: int) -> None:
        spec = _TimerSpec(_TimeSpec(*divmod(period_ns, 10**9)), _TimeSpec(*divmod(first_ns, 10**9)))
        self._set(self._file, self._ABSOLUTE, ctypes.byref(spec), None)


class _ThreadClocks:
    """The clocks of the thread that makes it."""

    def __init__(self, timer: KernelTimer) -> None:
        self._run_queue = RunQueue()
        self.wait = timer.wait
        self.now_ns = time.monotonic_ns
        self.process_cpu_ns = time.process_time_ns
        self.run_queue_ns = self._run_queue.read_ns

    def __enter__(self) -> _ThreadClocks:
        return self

    def __exit__(self, *error: object) -> None:
        self._run_queue.close()
