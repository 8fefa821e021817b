"""Reads all sensors in a worker thread, so that a blocked read does not delay the others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edge_inference.core.reading import Reading, ReadingStatus
from edge_inference.core.runtime.worker import format_error
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.sensor import Sensor

#: A sensor that vanishes triggers a new probe, but not more often than this.
_MIN_PROBE_PERIOD_NS = 1_000_000_000
_UNFINISHED = "the probe has not ended yet"
_BLOCKED = "the probe has not returned; only sensors that it found before are read"

#: Finds the sensors of one kind; it may block.
Probe = Callable[[], Sequence[Sensor]]


@dataclass
class _Task:
    """One step of the worker that may block: a read of a sensor, or a probe of one kind."""

    name: str
    work: Sensor | Probe
    started_ns: int = 0
    is_abandoned: bool = False

    @property
    def sensor(self) -> Sensor | None:
        """The sensor to read; None for a probe."""
        return None if callable(self.work) else self.work

    @property
    def key(self) -> tuple[bool, str]:
        """Identify the task: a sensor may have the name of a kind."""
        return callable(self.work), self.name


class Sampler:
    """Reads the sensors that ``probes`` find, pass by pass; ``probes`` are by kind of sensor.

    A sensor whose read takes longer than ``read_timeout_s`` is blocked: its readings
    are STALE and a new thread reads the others. The sensor is read again once its
    read returns. There is one thread for each blocked sensor or probe, and one more.
    The probes run again when a sensor vanishes and every ``probe_period_s``. If one
    returns a sensor that equals a known one, the known one is kept with its state.
    A probe that fails or hangs delays no other kind; the sensors that it found before are read on.
    A name that its probe no longer returns stays among the readings as ABSENT. Of two
    sensors that give readings of one name, the later one is not read.
    """

    def __init__(
        self,
        probes: Mapping[str, Probe],
        *,
        read_timeout_s: float = 0.25,
        probe_period_s: float = 30.0,
        clock: Clock = time.monotonic_ns,
    ) -> None:
        self._probes = dict(probes)
        self._read_timeout_ns = int(read_timeout_s * 1e9)
        self._probe_period_ns = int(probe_period_s * 1e9)
        self._clock = clock
        self._changed = threading.Condition()
        self._found: dict[str, list[Sensor]] = {}  # by kind, by the last probe that succeeded
        self._sensors: dict[str, Sensor] = {}
        self._latest: dict[str, Reading] = {}  # of every name since the start
        self._missing: set[str] = set()
        self._blocked: dict[tuple[bool, str], _Task] = {}
        # None stands for a read of each sensor that is known by then.
        self._queue: deque[_Task | None] = deque()
        self._current: _Task | None = None
        self._worker: threading.Thread | None = None
        self._probed_ns: int | None = None
        self._probe_requested = False
        self._probe_problems = dict.fromkeys(self._probes, _UNFINISHED)
        self._clashes: list[str] = []
        self._closed = False

    @property
    def problem(self) -> str:
        """The kinds whose sensors are not known, and why, as a sentence; empty if all are."""
        with self._changed:
            kinds: dict[str, list[str]] = {}
            for kind, problem in self._probe_problems.items():
                if problem:
                    kinds.setdefault(problem, []).append(kind)
            failed = [f"sensor kind {', '.join(each)}: {text}" for text, each in kinds.items()]
            return "; ".join([*failed, *self._clashes])

    @property
    def blocked_sensors(self) -> tuple[str, ...]:
        """The names of the sensors whose read has not returned."""
        with self._changed:
            return tuple(task.name for task in self._blocked.values() if task.sensor)

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
            for name, probe in self._probes.items():
                self._add_unless_blocked(_Task(name, probe))
        self._queue.append(None)
        self._wake_worker()

    def _is_probe_due(self) -> bool:
        if self._probed_ns is None:
            return True
        age = self._clock() - self._probed_ns
        return age >= (_MIN_PROBE_PERIOD_NS if self._probe_requested else self._probe_period_ns)

    def _add_unless_blocked(self, task: _Task) -> None:
        if task.key not in self._blocked:
            self._queue.append(task)

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
        self._blocked[task.key] = task
        self._current = None
        self._worker = None  # that thread ends when its read returns
        if task.sensor is None:
            self._probe_problems[task.name] = _BLOCKED
        self._wake_worker()

    def _work(self) -> None:
        task = self._next()
        while task is not None:
            self._do(task)
            with self._changed:
                if task.is_abandoned:
                    del self._blocked[task.key]
                    return
                self._current = None
                if not self._queue:
                    self._changed.notify_all()
            task = self._next()

    def _next(self) -> _Task | None:
        """Wait for a task; None when closed."""
        with self._changed:
            while not self._closed:
                if not self._queue:
                    self._changed.wait()
                    continue
                task = self._queue.popleft()
                if task is None:
                    for name, sensor in self._sensors.items():
                        self._add_unless_blocked(_Task(name, sensor))
                    self._changed.notify_all()  # the pass may have nothing to read
                    continue
                self._current = task
                task.started_ns = time.monotonic_ns()
                return task
            return None

    def _do(self, task: _Task) -> None:
        if callable(task.work):
            self._run_probe(task.name, task.work)
            return
        sensor = task.work
        try:
            readings = sensor.read()
        except BaseException as error:  # an error in one sensor's code must not stop the others
            readings = self._make_failed_readings(sensor, error)
        with self._changed:
            if self._sensors.get(task.name) is not sensor:
                return  # a probe has replaced the sensor during this read
            for reading in readings:
                self._latest[reading.name] = reading
                if reading.status is ReadingStatus.ABSENT:
                    self._probe_requested = True

    def _run_probe(self, kind: str, probe: Probe) -> None:
        problem = ""
        try:
            # Compared without the lock, because this may call code of another package.
            known = self._sensors
            found = [_keep_if_equal(known.get(sensor.name), sensor) for sensor in probe()]
            with self._changed:
                self._found[kind] = found
                self._merge_sensors()
        except BaseException as error:  # reported as the problem; the known sensors go on
            problem = f"the probe failed: {format_error(error)}"
        with self._changed:
            self._probe_problems[kind] = problem

    def _merge_sensors(self) -> None:
        """Make one list of the sensors of all kinds, in the order of the kinds."""
        sensors: dict[str, Sensor] = {}
        covered: set[str] = set()
        self._clashes = []
        for kind in self._probes:
            for sensor in self._found.get(kind, ()):
                names = {sensor.name, *sensor.names}
                if taken := sorted(names & (covered | sensors.keys())):
                    self._clashes.append(
                        f"two sensors have the name {taken[0]}; the second ({kind}) is not read"
                    )
                    continue
                sensors[sensor.name] = sensor
                covered.update(sensor.names)
        self._sensors = sensors
        for sensor in sensors.values():
            for reading in sensor.announce(self._clock()):
                self._latest.setdefault(reading.name, reading)
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


def _keep_if_equal(old: Sensor | None, new: Sensor) -> Sensor:
    """Return the known sensor, which has a state, if the new one reads the same."""
    return old if old is not None and old == new else new


def _describe_block(task: _Task) -> str:
    seconds = (time.monotonic_ns() - task.started_ns) / 1e9
    return f"the read has not returned for {seconds:.1f} s"
