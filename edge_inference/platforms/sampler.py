"""Reads all sensors in a worker thread, so that a blocked read does not delay the others."""

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

#: A sensor that vanishes triggers a new probe, but not more often than this.
_MIN_PROBE_PERIOD_NS = 1_000_000_000
_PROBE = "probe"


@dataclass
class _Task:
    """One step of the worker that may block: a read of a sensor, or a probe for sensors."""

    name: str
    sensor: Sensor | None
    started_ns: int = 0
    is_abandoned: bool = False


class Sampler:
    """Reads the sensors that ``find`` returns, pass by pass.

    A sensor whose read takes longer than ``read_timeout_s`` is blocked: its readings
    are STALE and a new thread reads the others. The sensor is read again once its
    read returns. There is one thread for each blocked sensor, and one more.
    ``find`` runs again when a sensor vanishes and every ``probe_period_s``. If it
    returns a sensor that equals a known one, the known one is kept with its state.
    A name that ``find`` no longer returns stays among the readings as ABSENT.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[Sensor]],
        *,
        read_timeout_s: float = 0.25,
        probe_period_s: float = 30.0,
        clock: Clock = time.monotonic_ns,
    ) -> None:
        self._find = find
        self._read_timeout_ns = int(read_timeout_s * 1e9)
        self._probe_period_ns = int(probe_period_s * 1e9)
        self._clock = clock
        self._changed = threading.Condition()
        self._sensors: dict[str, Sensor] = {}
        self._latest: dict[str, Reading] = {}  # of every name since the start
        self._missing: set[str] = set()
        self._blocked: dict[str, _Task] = {}
        self._queue: deque[_Task] = deque()
        self._current: _Task | None = None
        self._worker: threading.Thread | None = None
        self._probed_ns: int | None = None
        self._probe_requested = False
        self._problem = "the probe for sensors has not finished yet"
        self._closed = False

    @property
    def problem(self) -> str:
        """The reason why there are no sensors, as a sentence; empty if there are some."""
        with self._changed:
            return self._problem

    @property
    def blocked_sensors(self) -> tuple[str, ...]:
        """The names of the sensors whose read has not returned."""
        with self._changed:
            return tuple(self._blocked)

    def read(self, wait_s: float) -> tuple[Reading, ...]:
        """Make one pass and return the latest reading of every name.

        Waits at most ``wait_s`` for the pass to end. A sensor that is not read by
        then keeps its last reading, with its stamp, until that is older than
        ``wait_s`` plus ``read_timeout_s``; then the reading is STALE.
        """
        with self._changed:
            if self._closed:
                return ()
            deadline_ns = time.monotonic_ns() + int(wait_s * 1e9)
            self._abandon_blocked_task()
            if not self._is_pass_running():
                self._start_pass()
            self._wait_for_pass(deadline_ns)
            return tuple(self._current_readings(int(wait_s * 1e9) + self._read_timeout_ns))

    def close(self) -> None:
        """End the thread. A blocked thread ends when its read returns."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
            worker = self._worker
        if worker is not None:
            worker.join(timeout=self._read_timeout_ns / 1e9)

    # The methods below are called with the lock held, except _work and _do.

    def _is_pass_running(self) -> bool:
        return self._current is not None or bool(self._queue)

    def _start_pass(self) -> None:
        if self._is_probe_due():
            self._probe_requested = False
            self._probed_ns = self._clock()
            self._queue.append(_Task(_PROBE, None))
        else:
            self._queue_reads()
        self._wake_worker()

    def _is_probe_due(self) -> bool:
        if _PROBE in self._blocked:
            return False
        if self._probed_ns is None:
            return True
        age = self._clock() - self._probed_ns
        return age >= (_MIN_PROBE_PERIOD_NS if self._probe_requested else self._probe_period_ns)

    def _queue_reads(self) -> None:
        """Queue a read of each sensor that is not blocked."""
        for name, sensor in self._sensors.items():
            if name not in self._blocked:
                self._queue.append(_Task(name, sensor))

    def _wake_worker(self) -> None:
        if not self._queue:
            return
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="sensors", daemon=True)
            self._worker.start()
        else:
            self._changed.notify_all()

    def _wait_for_pass(self, deadline_ns: int) -> None:
        while self._is_pass_running() and not self._closed:
            now = time.monotonic_ns()
            if now >= deadline_ns:
                return
            started_ns = self._current.started_ns if self._current else now
            timeout_ns = started_ns + self._read_timeout_ns
            self._changed.wait((min(deadline_ns, timeout_ns) - now) / 1e9)
            self._abandon_blocked_task()

    def _abandon_blocked_task(self) -> None:
        task = self._current
        if task is None or time.monotonic_ns() < task.started_ns + self._read_timeout_ns:
            return
        task.is_abandoned = True
        self._blocked[task.name] = task
        self._current = None
        self._worker = None  # that thread ends when its read returns
        if task.sensor is None:  # the probe hangs: go on with the known sensors
            self._queue_reads()
        self._wake_worker()

    def _work(self) -> None:
        task = self._next()
        while task is not None:
            self._do(task)
            with self._changed:
                if task.is_abandoned:
                    del self._blocked[task.name]
                    return
                self._current = None
                if not self._queue:
                    self._changed.notify_all()
            task = self._next()

    def _next(self) -> _Task | None:
        """Wait for a task; None when closed."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            task = self._current = self._queue.popleft()
            task.started_ns = time.monotonic_ns()
            return task

    def _do(self, task: _Task) -> None:
        if task.sensor is None:
            self._probe_sensors(task)
            return
        try:
            readings = task.sensor.read()
        except BaseException as error:  # an error in one sensor's code must not stop the others
            readings = self._make_failed_readings(task.sensor, error)
        with self._changed:
            if self._sensors.get(task.name) is not task.sensor:
                return  # a probe has replaced the sensor during this read
            for reading in readings:
                self._latest[reading.name] = reading
                if reading.status is ReadingStatus.ABSENT:
                    self._probe_requested = True

    def _probe_sensors(self, task: _Task) -> None:
        try:
            found = self._find()
            with self._changed:
                self._update_sensors(found)
        except BaseException as error:  # reported as the problem; the known sensors go on
            with self._changed:
                self._problem = f"the probe for sensors failed: {format_error(error)}"
        with self._changed:
            if not task.is_abandoned:
                self._queue_reads()

    def _update_sensors(self, found: Sequence[Sensor]) -> None:
        sensors: dict[str, Sensor] = {}
        problem = ""
        for sensor in found:
            if sensor.name in sensors:
                problem = f"two sensors have the name {sensor.name}; the second is not read"
                continue
            old = self._sensors.get(sensor.name)
            sensors[sensor.name] = sensor if old is None or old != sensor else old
        self._sensors, self._problem = sensors, problem
        for sensor in sensors.values():
            if isinstance(sensor, AnnouncedSensor):
                for reading in sensor.announce(self._clock()):
                    self._latest.setdefault(reading.name, reading)
        covered = {name for sensor in self._sensors.values() for name in sensor.names}
        self._missing = self._latest.keys() - covered

    def _make_failed_readings(self, sensor: Sensor, error: BaseException) -> list[Reading]:
        problem = f"reading failed: {format_error(error)}"
        with self._changed:
            return [
                without_value(self._latest[name], ReadingStatus.INVALID, problem, self._clock())
                for name in sensor.names
                if name in self._latest
            ]

    def _current_readings(self, max_age_ns: int) -> Iterator[Reading]:
        now = self._clock()
        blocked = {
            name: task
            for task in self._blocked.values()
            if task.sensor is not None
            for name in task.sensor.names
        }
        for name, reading in self._latest.items():
            if name in self._missing:
                problem = "the sensor is no longer found"
                yield without_value(reading, ReadingStatus.ABSENT, problem, now)
            elif name in blocked:
                yield without_value(
                    reading, ReadingStatus.STALE, _describe_block(blocked[name]), reading.stamp_ns
                )
            elif now - reading.stamp_ns > max_age_ns:
                problem = "the sensor was not read in time"
                yield without_value(reading, ReadingStatus.STALE, problem, reading.stamp_ns)
            else:
                yield reading


def without_value(reading: Reading, status: ReadingStatus, problem: str, stamp_ns: int) -> Reading:
    """Return the same reading without a value."""
    return replace(reading, value=None, status=status, problem=problem, stamp_ns=stamp_ns)


def _describe_block(task: _Task) -> str:
    seconds = (time.monotonic_ns() - task.started_ns) / 1e9
    return f"the read has not returned for {seconds:.1f} s"
