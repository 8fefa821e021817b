"""Sensors for tests of the sampler, which block, vanish or fail when the test says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Quantity, Reading, ReadingStatus
from edge_inference.platforms.sampler import Sampler
from edge_inference.platforms.sensors.channel import Channel
from edge_inference.platforms.sensors.sensor import Sensor
from machine_files import ManualClock

LONG_S = 30.0
# A busy machine may not run a healthy sensor for a tenth of a second.
READ_TIMEOUT_S = 0.4


@dataclass(eq=False)
class FakeSensor:
    """A sensor with values set by the test; it blocks while ``free`` is not set."""

    name: str
    clock: Callable[[], int] = time.monotonic_ns
    status: ReadingStatus = ReadingStatus.OK
    value: float = 1.0
    error: Exception | None = None
    free: threading.Event = field(default_factory=threading.Event)
    reads: int = 0
    reading: int = 0
    max_concurrent: int = 0

    def __post_init__(self) -> None:
        self.free.set()

    @property
    def names(self) -> Sequence[str]:
        return (self.name,)

    @property
    def _channel(self) -> Channel:
        return Channel(self.name, "made", Quantity.TEMPERATURE)

    def announce(self, stamp_ns: int) -> Sequence[Reading]:
        problem = "the sensor has not been read yet"
        return [self._channel.make_empty_reading(ReadingStatus.STALE, problem, stamp_ns)]

    def read(self) -> Sequence[Reading]:
        self.reads += 1
        self.reading += 1
        self.max_concurrent = max(self.max_concurrent, self.reading)
        self.free.wait()
        self.reading -= 1
        if self.error:
            raise self.error
        if self.status is ReadingStatus.OK:
            return [self._channel.make_reading(self.value, self.clock())]
        return [self._channel.make_empty_reading(self.status, "made so", self.clock())]


class Bench:
    """Sensors a, b and c, and the sampler that reads them."""

    def __init__(self, **options: float) -> None:
        self.clock = ManualClock()
        self.sensors: list[FakeSensor] = [FakeSensor(name, self.clock) for name in "abc"]
        self.probes = 0
        self.probe_free = threading.Event()
        self.probe_free.set()
        self.probe_error: Exception | None = None
        settings = {"read_timeout_s": LONG_S, "probe_period_s": 60.0, **options}
        self.sampler = Sampler({"fake": self.find}, clock=self.clock, **settings)
        self.before = set(threading.enumerate())

    def find(self) -> Sequence[Sensor]:
        self.probes += 1
        self.probe_free.wait()
        if self.probe_error:
            raise self.probe_error
        return list(self.sensors)

    def read(self, wait_s: float = LONG_S) -> dict[str, Reading]:
        return {reading.name: reading for reading in self.sampler.read(wait_s)}

    def statuses(self) -> dict[str, ReadingStatus]:
        return {name: reading.status for name, reading in self.read().items()}

    def threads(self) -> int:
        mine = set(threading.enumerate()) - self.before
        return len([thread for thread in mine if thread.name == "sensors"])

    def release_all(self) -> None:
        for event in [self.probe_free, *(sensor.free for sensor in self.sensors)]:
            event.set()


def until(predicate: Callable[[], bool]) -> None:
    """Wait until another thread makes a condition true."""
    end = time.monotonic() + 20
    while not predicate():
        assert time.monotonic() < end, "the condition did not become true"
        threading.Event().wait(0.002)
