"""Passes over sensors of which some hang, vanish, fail or come anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from edge_inference.core.reading import Quantity, Reading, ReadingStatus
from edge_inference.platforms.sampler import Sampler
from edge_inference.platforms.sensors.channel import Channel
from edge_inference.platforms.sensors.sensor import Sensor
from machine_files import HandClock

LONG_S = 30.0
# A busy machine may not run a healthy sensor for a tenth of a second.
STUCK_S = 0.4


@dataclass(eq=False)
class MadeSensor:
    """A sensor that says what a test tells it to, and hangs while ``free`` is not set."""

    name: str
    clock: Callable[[], int] = time.monotonic_ns
    status: ReadingStatus = ReadingStatus.OK
    value: float = 1.0
    error: Exception | None = None
    free: threading.Event = field(default_factory=threading.Event)
    reads: int = 0
    reading: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.free.set()

    @property
    def names(self) -> Sequence[str]:
        return (self.name,)

    @property
    def _channel(self) -> Channel:
        return Channel(self.name, "made", Quantity.TEMPERATURE)

    def announce(self, stamp_ns: int) -> Sequence[Reading]:
        return [
            self._channel.make_empty_reading(
                ReadingStatus.STALE, "the sensor has not been read yet", stamp_ns
            )
        ]

    def read(self) -> Sequence[Reading]:
        self.reads += 1
        self.reading += 1
        self.most_at_once = max(self.most_at_once, self.reading)
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
        self.clock = HandClock()
        self.sensors: list[MadeSensor] = [MadeSensor(name, self.clock) for name in "abc"]
        self.searches = 0
        self.search_free = threading.Event()
        self.search_free.set()
        self.search_error: Exception | None = None
        settings = {"read_timeout_s": LONG_S, "probe_period_s": 60.0, **options}
        self.sampler = Sampler(self.find, clock=self.clock, **settings)
        self.before = set(threading.enumerate())

    def find(self) -> Sequence[Sensor]:
        self.searches += 1
        self.search_free.wait()
        if self.search_error:
            raise self.search_error
        return list(self.sensors)

    def read(self, wait_s: float = LONG_S) -> dict[str, Reading]:
        return {reading.name: reading for reading in self.sampler.read(wait_s)}

    def statuses(self) -> dict[str, ReadingStatus]:
        return {name: reading.status for name, reading in self.read().items()}

    def threads(self) -> int:
        mine = set(threading.enumerate()) - self.before
        return len([thread for thread in mine if thread.name == "sensors"])

    def let_go(self) -> None:
        for event in [self.search_free, *(sensor.free for sensor in self.sensors)]:
            event.set()


def until(predicate: Callable[[], bool]) -> None:
    """Wait for something that another thread is about to do."""
    end = time.monotonic() + 20
    while not predicate():
        assert time.monotonic() < end, "it never came"
        threading.Event().wait(0.002)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.let_go()
    made.sampler.close()


@pytest.fixture
def impatient() -> Iterator[Bench]:
    """A bench that sets aside what hangs."""
    made = Bench(read_timeout_s=STUCK_S)
    yield made
    made.let_go()
    made.sampler.close()


def test_a_pass_reads_everything_once(bench: Bench) -> None:
    readings = bench.read()
    assert [(each.name, each.value) for each in readings.values()] == [("a", 1), ("b", 1), ("c", 1)]
    assert [sensor.reads for sensor in bench.sensors] == [1, 1, 1]
    assert bench.sampler.problem == ""


def test_no_sensors_at_all(bench: Bench) -> None:
    bench.sensors = []
    assert bench.read() == {}
    assert bench.read() == {}


def test_one_thread_does_it_all(bench: Bench) -> None:
    for _ in range(5):
        bench.read()
    assert bench.threads() == 1


def test_what_hangs_is_set_aside_and_the_others_go_on(impatient: Bench) -> None:
    impatient.read()
    impatient.sensors[1].free.clear()
    readings = impatient.read()
    assert [each.status for each in readings.values()] == [
        ReadingStatus.OK,
        ReadingStatus.STALE,
        ReadingStatus.OK,
    ]
    assert readings["b"].value is None
    assert "has not returned" in readings["b"].problem
    assert impatient.sampler.blocked_sensors == ("b",)
    assert [sensor.reads for sensor in impatient.sensors] == [2, 2, 2]


def test_what_hangs_at_its_first_read_is_named(impatient: Bench) -> None:
    impatient.sensors[0].free.clear()
    assert impatient.statuses() == {
        "a": ReadingStatus.STALE,
        "b": ReadingStatus.OK,
        "c": ReadingStatus.OK,
    }


def test_what_was_set_aside_comes_back_when_its_read_does(impatient: Bench) -> None:
    impatient.sensors[1].free.clear()
    impatient.read()
    impatient.sensors[1].free.set()
    until(lambda: not impatient.sampler.blocked_sensors)
    assert impatient.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    until(lambda: impatient.threads() == 1)


def test_what_hangs_is_not_read_again_meanwhile(impatient: Bench) -> None:
    impatient.sensors[1].free.clear()
    for _ in range(5):
        impatient.read()
    assert impatient.sensors[1].reads == 1
    assert impatient.threads() == 2


def test_no_more_threads_than_what_hangs_and_one(impatient: Bench) -> None:
    for sensor in impatient.sensors:
        sensor.free.clear()
    for _ in range(3):
        impatient.read()
    assert set(impatient.statuses().values()) == {ReadingStatus.STALE}
    assert impatient.threads() <= 4
    impatient.let_go()
    until(lambda: not impatient.sampler.blocked_sensors)
    assert impatient.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    until(lambda: impatient.threads() == 1)


def test_no_sensor_is_ever_read_twice_at_once(impatient: Bench) -> None:
    hanging = impatient.sensors[1]
    for _ in range(4):
        hanging.free.clear()
        impatient.read()
        impatient.clock.forward(100)  # a new search
        impatient.read()
        hanging.free.set()
        until(lambda: not impatient.sampler.blocked_sensors)
    assert hanging.most_at_once == 1


def test_a_sensor_found_anew_waits_for_the_read_of_its_name_that_hangs(impatient: Bench) -> None:
    old = impatient.sensors[1]
    old.free.clear()
    impatient.read()
    for _ in range(3):
        impatient.sensors[1] = MadeSensor("b", impatient.clock, value=2.0)
        impatient.clock.forward(100)
        assert impatient.statuses()["b"] is ReadingStatus.STALE
    assert impatient.threads() == 2
    old.free.set()
    until(lambda: not impatient.sampler.blocked_sensors)
    assert impatient.read()["b"].value == 2.0


def test_what_a_read_brings_for_a_sensor_that_is_gone_is_dropped(impatient: Bench) -> None:
    class Unannounced(MadeSensor):
        announce = None  # type: ignore[assignment]

    gone = impatient.sensors[1] = Unannounced("b", impatient.clock)
    gone.free.clear()
    assert "b" not in impatient.read()
    del impatient.sensors[1]
    impatient.clock.forward(100)
    impatient.read()
    gone.free.set()
    until(lambda: not impatient.sampler.blocked_sensors)
    assert "b" not in impatient.read()


def test_a_reader_does_not_wait_longer_than_it_wants(bench: Bench) -> None:
    bench.sensors[1].free.clear()
    readings = bench.read(wait_s=0.05)
    assert readings["b"].status is ReadingStatus.STALE
    assert readings["b"].problem == "the sensor has not been read yet"


def test_a_late_reading_is_kept_for_a_while_and_then_stale(bench: Bench) -> None:
    bench.read()
    bench.sensors[1].free.clear()
    bench.clock.forward(0.5)
    assert bench.read(wait_s=0.05)["b"].status is ReadingStatus.OK
    bench.clock.forward(LONG_S)
    late = bench.read(wait_s=0.05)["b"]
    assert (late.value, late.status) == (None, ReadingStatus.STALE)
    assert late.problem == "the sensor was not read in time"


def test_what_vanishes_is_looked_for_at_once(bench: Bench) -> None:
    bench.read()
    bench.sensors[1].status = ReadingStatus.ABSENT
    assert bench.statuses()["b"] is ReadingStatus.ABSENT
    bench.sensors[1] = MadeSensor("b", bench.clock, value=5.0)
    bench.clock.forward(1.5)
    assert bench.read()["b"].value == 5.0
    assert bench.searches == 2


def test_what_stays_away_is_not_looked_for_again_and_again(bench: Bench) -> None:
    bench.sensors[1].status = ReadingStatus.ABSENT
    for _ in range(10):
        bench.read()
    assert bench.searches == 1
    for _ in range(10):
        bench.clock.forward(0.5)
        bench.read()
    assert bench.searches <= 6


def test_a_name_that_is_gone_stays_absent(bench: Bench) -> None:
    bench.read()
    gone = bench.sensors.pop(1)
    bench.clock.forward(100)
    for _ in range(3):
        readings = bench.read()
        assert (readings["b"].value, readings["b"].status) == (None, ReadingStatus.ABSENT)
        assert "no longer found" in readings["b"].problem
    bench.sensors.append(gone)
    bench.clock.forward(100)
    assert bench.statuses()["b"] is ReadingStatus.OK


def test_there_is_a_search_every_so_often(bench: Bench) -> None:
    bench.read()
    bench.clock.forward(59)
    bench.read()
    assert bench.searches == 1
    bench.sensors.append(MadeSensor("d", bench.clock))
    bench.clock.forward(2)
    assert bench.statuses()["d"] is ReadingStatus.OK


def test_an_equal_sensor_found_anew_keeps_what_the_known_one_remembers(bench: Bench) -> None:
    class EqualByName(MadeSensor):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, EqualByName) and other.name == self.name

        __hash__ = None  # type: ignore[assignment]

    first, second = EqualByName("a", bench.clock), EqualByName("a", bench.clock)
    bench.sensors = [first]
    bench.read()
    bench.sensors = [second]
    bench.clock.forward(100)
    bench.read()
    assert (first.reads, second.reads) == (2, 0)


def test_a_search_that_hangs_stops_nothing(impatient: Bench) -> None:
    impatient.read()
    impatient.search_free.clear()
    for _ in range(3):
        impatient.clock.forward(100)
        assert impatient.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    assert impatient.searches == 2
    impatient.sensors.append(MadeSensor("d", impatient.clock))
    impatient.search_free.set()
    until(lambda: "d" in impatient.read())


def test_a_first_search_that_hangs_is_a_problem(impatient: Bench) -> None:
    impatient.search_free.clear()
    assert impatient.read() == {}
    assert impatient.sampler.problem == "the probe for sensors has not finished yet"
    impatient.search_free.set()
    until(lambda: impatient.sampler.problem == "")
    assert len(impatient.read()) == 3


def test_a_search_that_fails_is_a_problem_and_the_known_sensors_go_on(bench: Bench) -> None:
    bench.read()
    bench.search_error = OSError("the bus is gone")
    bench.clock.forward(100)
    assert bench.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    assert "the bus is gone" in bench.sampler.problem
    bench.search_error = None
    bench.clock.forward(100)
    bench.read()
    assert bench.sampler.problem == ""


def test_a_sensor_whose_code_fails_does_not_take_the_others_along(bench: Bench) -> None:
    bench.sensors[1].error = ZeroDivisionError("oh")
    readings = bench.read()
    assert readings["a"].status is readings["c"].status is ReadingStatus.OK
    assert readings["b"].status is ReadingStatus.INVALID
    assert readings["b"].problem == "reading failed: ZeroDivisionError: oh"


def test_two_sensors_of_one_name_are_a_problem_and_the_first_counts(bench: Bench) -> None:
    bench.sensors = [MadeSensor("a", bench.clock, value=1), MadeSensor("a", bench.clock, value=2)]
    assert bench.read()["a"].value == 1
    assert "two sensors have the name a" in bench.sampler.problem


def test_closing_ends_the_thread(bench: Bench) -> None:
    bench.read()
    bench.sampler.close()
    bench.sampler.close()
    until(lambda: bench.threads() == 0)
    assert bench.read() == {}


def test_closing_before_anything_was_read() -> None:
    Bench().sampler.close()


def test_closing_does_not_wait_for_what_hangs(impatient: Bench) -> None:
    impatient.sensors[0].free.clear()
    impatient.sensors[2].free.clear()
    impatient.read()
    impatient.sampler.close()
    assert impatient.threads() == 2  # the two that hang, and they end with their reads
    impatient.let_go()
    until(lambda: impatient.threads() == 0)


def test_two_readers_at_once_share_a_pass(bench: Bench) -> None:
    bench.read()
    bench.sensors[0].free.clear()
    results: list[dict[str, Reading]] = []
    readers = [threading.Thread(target=lambda: results.append(bench.read())) for _ in range(4)]
    for reader in readers:
        reader.start()
    until(lambda: bench.sensors[0].reads == 2)
    bench.sensors[0].free.set()
    for reader in readers:
        reader.join(20)
    assert [sorted(each) for each in results] == [["a", "b", "c"]] * 4
    assert bench.sensors[0].most_at_once == 1
