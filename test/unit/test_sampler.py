"""The sampler with sensors that block, vanish, fail or are new."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from edge_inference.core.reading import Reading, ReadingStatus
from sampler_bench import LONG_S, READ_TIMEOUT_S, Bench, FakeSensor, until


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.release_all()
    made.sampler.close()


@pytest.fixture
def impatient() -> Iterator[Bench]:
    """A bench with a short read timeout."""
    made = Bench(read_timeout_s=READ_TIMEOUT_S)
    yield made
    made.release_all()
    made.sampler.close()


def test_pass_reads_every_sensor_once(bench: Bench) -> None:
    readings = bench.read()
    assert [(each.name, each.value) for each in readings.values()] == [("a", 1), ("b", 1), ("c", 1)]
    assert [sensor.reads for sensor in bench.sensors] == [1, 1, 1]
    assert bench.sampler.problem == ""


def test_no_sensors(bench: Bench) -> None:
    bench.sensors = []
    assert bench.read() == {}
    assert bench.read() == {}


def test_one_thread_reads_all_sensors(bench: Bench) -> None:
    for _ in range(5):
        bench.read()
    assert bench.threads() == 1


def test_blocked_sensor_does_not_stop_the_others(impatient: Bench) -> None:
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


def test_sensor_blocked_at_its_first_read_is_stale(impatient: Bench) -> None:
    impatient.sensors[0].free.clear()
    assert impatient.statuses() == {
        "a": ReadingStatus.STALE,
        "b": ReadingStatus.OK,
        "c": ReadingStatus.OK,
    }


def test_blocked_sensor_returns_with_its_read(impatient: Bench) -> None:
    impatient.sensors[1].free.clear()
    impatient.read()
    impatient.sensors[1].free.set()
    until(lambda: not impatient.sampler.blocked_sensors)
    assert impatient.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    until(lambda: impatient.threads() == 1)


def test_blocked_sensor_is_not_read_again(impatient: Bench) -> None:
    impatient.sensors[1].free.clear()
    for _ in range(5):
        impatient.read()
    assert impatient.sensors[1].reads == 1
    assert impatient.threads() == 2


def test_one_thread_per_blocked_sensor_and_one(impatient: Bench) -> None:
    for sensor in impatient.sensors:
        sensor.free.clear()
    for _ in range(3):
        impatient.read()
    assert set(impatient.statuses().values()) == {ReadingStatus.STALE}
    assert impatient.threads() <= 4
    impatient.release_all()
    until(lambda: not impatient.sampler.blocked_sensors)
    assert impatient.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    until(lambda: impatient.threads() == 1)


def test_no_sensor_is_read_concurrently(impatient: Bench) -> None:
    hanging = impatient.sensors[1]
    for _ in range(4):
        hanging.free.clear()
        impatient.read()
        impatient.clock.forward(100)  # a new probe
        impatient.read()
        hanging.free.set()
        until(lambda: not impatient.sampler.blocked_sensors)
    assert hanging.max_concurrent == 1


def test_new_sensor_waits_for_the_blocked_read_of_its_name(impatient: Bench) -> None:
    old = impatient.sensors[1]
    old.free.clear()
    impatient.read()
    for _ in range(3):
        impatient.sensors[1] = FakeSensor("b", impatient.clock, value=2.0)
        impatient.clock.forward(100)
        assert impatient.statuses()["b"] is ReadingStatus.STALE
    assert impatient.threads() == 2
    old.free.set()
    until(lambda: not impatient.sampler.blocked_sensors)
    assert impatient.read()["b"].value == 2.0


def test_late_result_of_a_removed_sensor_is_dropped(impatient: Bench) -> None:
    class Unannounced(FakeSensor):
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


def test_read_waits_no_longer_than_its_timeout(bench: Bench) -> None:
    bench.sensors[1].free.clear()
    readings = bench.read(wait_s=0.05)
    assert readings["b"].status is ReadingStatus.STALE
    assert readings["b"].problem == "the sensor has not been read yet"


def test_late_reading_becomes_stale(bench: Bench) -> None:
    bench.read()
    bench.sensors[1].free.clear()
    bench.clock.forward(0.5)
    assert bench.read(wait_s=0.05)["b"].status is ReadingStatus.OK
    bench.clock.forward(LONG_S)
    late = bench.read(wait_s=0.05)["b"]
    assert (late.value, late.status) == (None, ReadingStatus.STALE)
    assert late.problem == "the sensor was not read in time"


def test_vanished_sensor_triggers_a_probe(bench: Bench) -> None:
    bench.read()
    bench.sensors[1].status = ReadingStatus.ABSENT
    assert bench.statuses()["b"] is ReadingStatus.ABSENT
    bench.sensors[1] = FakeSensor("b", bench.clock, value=5.0)
    bench.clock.forward(1.5)
    assert bench.read()["b"].value == 5.0
    assert bench.probes == 2


def test_missing_sensor_does_not_repeat_probes(bench: Bench) -> None:
    bench.sensors[1].status = ReadingStatus.ABSENT
    for _ in range(10):
        bench.read()
    assert bench.probes == 1
    for _ in range(10):
        bench.clock.forward(0.5)
        bench.read()
    assert bench.probes <= 6


def test_missing_name_stays_absent(bench: Bench) -> None:
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


def test_periodic_probe(bench: Bench) -> None:
    bench.read()
    bench.clock.forward(59)
    bench.read()
    assert bench.probes == 1
    bench.sensors.append(FakeSensor("d", bench.clock))
    bench.clock.forward(2)
    assert bench.statuses()["d"] is ReadingStatus.OK


def test_equal_sensor_keeps_its_state(bench: Bench) -> None:
    class EqualByName(FakeSensor):
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


def test_blocked_probe_does_not_stop_reads(impatient: Bench) -> None:
    impatient.read()
    impatient.probe_free.clear()
    for _ in range(3):
        impatient.clock.forward(100)
        assert impatient.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    assert impatient.probes == 2
    impatient.sensors.append(FakeSensor("d", impatient.clock))
    impatient.probe_free.set()
    until(lambda: "d" in impatient.read())


def test_a_probe_does_not_make_unread_sensors_stale() -> None:
    bench = Bench(probe_period_s=1.0)
    try:
        bench.read()
        bench.sensors[0].free.clear()
        bench.clock.forward(1.0)
        bench.read(0.0)
        until(lambda: bench.sensors[0].reads == 2)
        assert bench.probes == 2
        statuses = [each.status for each in bench.read(0.0).values()]
        assert statuses == [ReadingStatus.OK] * 3
    finally:
        bench.release_all()
        bench.sampler.close()


def test_a_comparison_that_hangs_does_not_stop_reads(impatient: Bench) -> None:
    """A sensor of another package may ask its bus whether it is the same one."""
    free = threading.Event()

    class Slow(FakeSensor):
        def __eq__(self, other: object) -> bool:
            return free.wait() and self is other

        __hash__ = None  # type: ignore[assignment]

    impatient.sensors.append(Slow("d", impatient.clock))
    until(lambda: len(impatient.read()) == 4)
    impatient.clock.forward(100)
    impatient.sensors[0].value = 2.0
    answers: list[dict[str, Reading]] = []
    reader = threading.Thread(target=lambda: answers.append(impatient.read(2.0)), daemon=True)
    reader.start()
    try:
        until(lambda: bool(answers))
        assert answers[0]["a"].value == 2.0
        assert impatient.sampler.problem.startswith("sensor kind fake: the probe has not returned")
    finally:
        free.set()


def test_blocked_first_probe_is_a_problem(impatient: Bench) -> None:
    impatient.probe_free.clear()
    assert impatient.read() == {}
    assert impatient.sampler.problem.startswith("sensor kind fake: the probe has not returned; ")
    impatient.probe_free.set()
    until(lambda: impatient.sampler.problem == "")
    assert len(impatient.read()) == 3


def test_failed_probe_keeps_the_known_sensors(bench: Bench) -> None:
    bench.read()
    bench.probe_error = OSError("the bus is gone")
    bench.clock.forward(100)
    assert bench.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    assert "the bus is gone" in bench.sampler.problem
    bench.probe_error = None
    bench.clock.forward(100)
    bench.read()
    assert bench.sampler.problem == ""


def test_exception_in_one_sensor_does_not_stop_the_others(bench: Bench) -> None:
    bench.sensors[1].error = ZeroDivisionError("oh")
    readings = bench.read()
    assert readings["a"].status is readings["c"].status is ReadingStatus.OK
    assert readings["b"].status is ReadingStatus.INVALID
    assert readings["b"].problem == "reading failed: ZeroDivisionError: oh"


def test_duplicate_name_is_a_problem_and_the_first_is_read(bench: Bench) -> None:
    bench.sensors = [FakeSensor("a", bench.clock, value=1), FakeSensor("a", bench.clock, value=2)]
    assert bench.read()["a"].value == 1
    assert "two sensors have the name a" in bench.sampler.problem


def test_closing_ends_the_thread(bench: Bench) -> None:
    bench.read()
    bench.sampler.close()
    bench.sampler.close()
    until(lambda: bench.threads() == 0)
    assert bench.read() == {}


def test_closing_before_the_first_read() -> None:
    Bench().sampler.close()


def test_closing_does_not_wait_for_a_blocked_read(impatient: Bench) -> None:
    impatient.sensors[0].free.clear()
    impatient.sensors[2].free.clear()
    impatient.read()
    impatient.sampler.close()
    assert impatient.threads() == 2  # the two blocked threads, which end with their reads
    impatient.release_all()
    until(lambda: impatient.threads() == 0)


def test_concurrent_readers_share_a_pass(bench: Bench) -> None:
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
    assert bench.sensors[0].max_concurrent == 1
