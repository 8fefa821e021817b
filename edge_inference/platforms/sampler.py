"""Reads all sensors in a thread of its own, so that one that blocks blocks nobody else."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from edge_inference.core.reading import Reading, ReadingStatus
from edge_inference.core.runtime.worker import format_error
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.sensor import AnnouncedSensor, Sensor

#: What vanishes leads to a new search at once, yet not more often than this.
_SEARCH_AGAIN_NS = 1_000_000_000
_SEARCH = "search"


@dataclass
class _Task:
    """One thing that a worker does and that may block: a read, or the search for sensors."""

    name: str
    sensor: Sensor | None
    started_ns: int = 0
    set_aside: bool = False


class Sampler:
    """Reads what ``find`` finds, pass by pass.

    A sensor that takes longer than ``stuck_after_s`` is set aside: its readings
    are STALE, a fresh thread goes on with the others, and it takes part again
    once its read has come back. There is one thread for each sensor set aside,
    and one more. ``find`` runs again when something has vanished and every
    ``reprobe_s``; a sensor that is found anew and equals a known one goes on
    as the known one, with what that remembers. A name that was there once and
    is found no more stays among the readings as ABSENT.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[Sensor]],
        *,
        stuck_after_s: float = 0.25,
        reprobe_s: float = 30.0,
        clock: Clock = time.monotonic_ns,
    ) -> None:
        self._find = find
        self._stuck_after_ns = int(stuck_after_s * 1e9)
        self._reprobe_ns = int(reprobe_s * 1e9)
        self._clock = clock
        self._changed = threading.Condition()
        self._sensors: dict[str, Sensor] = {}
        self._latest: dict[str, Reading] = {}  # of every name that there ever was
        self._gone: set[str] = set()
        self._aside: dict[str, _Task] = {}
        self._todo: deque[_Task] = deque()
        self._current: _Task | None = None
        self._worker: threading.Thread | None = None
        self._searched_ns: int | None = None
        self._search_asked = False
        self._problem = "the sensors are still being looked for"
        self._closed = False

    @property
    def problem(self) -> str:
        """Why there are no sensors to read, in a sentence; empty when there are."""
        with self._changed:
            return self._problem

    @property
    def set_aside(self) -> tuple[str, ...]:
        """The names of the sensors whose read has not come back."""
        with self._changed:
            return tuple(self._aside)

    def read(self, wait_s: float) -> tuple[Reading, ...]:
        """Make one pass and return the latest reading of every name.

        Waits at most ``wait_s`` for the pass to end. What has not been read by
        then keeps its last reading, with its stamp, while that is younger than
        ``wait_s`` and ``stuck_after_s`` together; after that it is STALE.
        """
        with self._changed:
            if self._closed:
                return ()
            deadline_ns = time.monotonic_ns() + int(wait_s * 1e9)
            self._set_aside_what_is_stuck()
            if not self._in_pass():
                self._begin_pass()
            self._wait_for_pass(deadline_ns)
            return tuple(self._delivered(int(wait_s * 1e9) + self._stuck_after_ns))

    def close(self) -> None:
        """End the thread. One that is blocked is left to the kernel; it ends with its read."""
        with self._changed:
            self._closed = True
            self._todo.clear()
            self._changed.notify_all()
            worker = self._worker
        if worker is not None:
            worker.join(timeout=self._stuck_after_ns / 1e9)

    # Methods below are called with the lock held, but for _work and _do.

    def _in_pass(self) -> bool:
        return self._current is not None or bool(self._todo)

    def _begin_pass(self) -> None:
        if self._search_is_due():
            self._search_asked = False
            self._searched_ns = self._clock()
            self._todo.append(_Task(_SEARCH, None))
        else:
            self._add_reads()
        self._go_on()

    def _search_is_due(self) -> bool:
        if _SEARCH in self._aside:
            return False
        if self._searched_ns is None:
            return True
        age = self._clock() - self._searched_ns
        return age >= (_SEARCH_AGAIN_NS if self._search_asked else self._reprobe_ns)

    def _add_reads(self) -> None:
        """Plan a read of each sensor, except those whose last one still hangs."""
        for name, sensor in self._sensors.items():
            if name not in self._aside:
                self._todo.append(_Task(name, sensor))

    def _go_on(self) -> None:
        if not self._todo:
            return
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="sensors", daemon=True)
            self._worker.start()
        else:
            self._changed.notify_all()

    def _wait_for_pass(self, deadline_ns: int) -> None:
        while self._in_pass() and not self._closed:
            now = time.monotonic_ns()
            if now >= deadline_ns:
                return
            began = self._current.started_ns if self._current else now
            stuck_at = began + self._stuck_after_ns
            self._changed.wait((min(deadline_ns, stuck_at) - now) / 1e9)
            self._set_aside_what_is_stuck()

    def _set_aside_what_is_stuck(self) -> None:
        task = self._current
        if task is None or time.monotonic_ns() < task.started_ns + self._stuck_after_ns:
            return
        task.set_aside = True
        self._aside[task.name] = task
        self._current = None
        self._worker = None  # that thread ends with the read that it hangs in
        if task.sensor is None:  # the search hangs: go on with what was found before
            self._add_reads()
        self._go_on()

    def _work(self) -> None:
        task = self._next()
        while task is not None:
            self._do(task)
            with self._changed:
                if task.set_aside:
                    del self._aside[task.name]
                    return
                self._current = None
                if not self._todo:
                    self._changed.notify_all()
            task = self._next()

    def _next(self) -> _Task | None:
        """Wait for something to do; None when closed."""
        with self._changed:
            while not self._todo and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            task = self._current = self._todo.popleft()
            task.started_ns = time.monotonic_ns()
            return task

    def _do(self, task: _Task) -> None:
        if task.sensor is None:
            self._search(task)
            return
        try:
            readings = task.sensor.read()
        except BaseException as error:  # a fault of one sensor's code; the others go on
            readings = self._failed(task.sensor, error)
        with self._changed:
            if self._sensors.get(task.name) is not task.sensor:
                return  # replaced by another while this read was hanging
            for reading in readings:
                self._latest[reading.name] = reading
                if reading.status is ReadingStatus.ABSENT:
                    self._search_asked = True

    def _search(self, task: _Task) -> None:
        try:
            found = self._find()
            with self._changed:
                self._take_over(found)
        except BaseException as error:  # said as the problem; what was found before goes on
            with self._changed:
                self._problem = f"looking for sensors failed: {format_error(error)}"
        with self._changed:
            if not task.set_aside:
                self._add_reads()

    def _take_over(self, found: Sequence[Sensor]) -> None:
        sensors: dict[str, Sensor] = {}
        problem = ""
        for sensor in found:
            if sensor.name in sensors:
                problem = f"two sensors are called {sensor.name}; the second is not read"
                continue
            old = self._sensors.get(sensor.name)
            sensors[sensor.name] = sensor if old is None or old != sensor else old
        self._sensors, self._problem = sensors, problem
        for sensor in sensors.values():
            if isinstance(sensor, AnnouncedSensor):
                for reading in sensor.unread(self._clock()):
                    self._latest.setdefault(reading.name, reading)
        covered = {name for sensor in self._sensors.values() for name in sensor.names}
        self._gone = self._latest.keys() - covered

    def _failed(self, sensor: Sensor, error: BaseException) -> list[Reading]:
        problem = f"reading it failed: {format_error(error)}"
        with self._changed:
            return [
                without_value(self._latest[name], ReadingStatus.INVALID, problem, self._clock())
                for name in sensor.names
                if name in self._latest
            ]

    def _delivered(self, oldest_ns: int) -> Iterator[Reading]:
        now = self._clock()
        hanging = {
            name: task
            for task in self._aside.values()
            if task.sensor is not None
            for name in task.sensor.names
        }
        for name, reading in self._latest.items():
            if name in self._gone:
                problem = "it was there once and is found no more"
                yield without_value(reading, ReadingStatus.ABSENT, problem, now)
            elif name in hanging:
                yield without_value(
                    reading, ReadingStatus.STALE, _hangs(hanging[name]), reading.stamp_ns
                )
            elif now - reading.stamp_ns > oldest_ns:
                problem = "it has not been read in time"
                yield without_value(reading, ReadingStatus.STALE, problem, reading.stamp_ns)
            else:
                yield reading


def without_value(reading: Reading, status: ReadingStatus, problem: str, stamp_ns: int) -> Reading:
    """Return a reading of the same thing without a value."""
    return replace(reading, value=None, status=status, problem=problem, stamp_ns=stamp_ns)


def _hangs(task: _Task) -> str:
    seconds = (time.monotonic_ns() - task.started_ns) / 1e9
    return f"its read has not come back for {seconds:.1f} s"
