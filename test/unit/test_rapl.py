"""Power from energy counters."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from edge_inference.core.reading import Reading, ReadingStatus, Role
from edge_inference.platforms.board_files import find_board, load_boards
from edge_inference.platforms.sensors.kernel import rapl
from edge_inference.platforms.sensors.rails_sum import sum_rails
from machine_files import Files, ManualClock, MemoryFiles, read_sensors

PC = find_board("pc", load_boards([Path(__file__).parents[2] / "config" / "platforms"]))
ROOT = "sys/class/powercap"
RANGE_UJ = 262143328850


def domains(**names: str) -> Files:
    contents: Files = {f"{ROOT}/intel-rapl/enabled": "1\n"}
    for place, name in names.items():
        folder = f"{ROOT}/intel-rapl:{place.removeprefix('at_').replace('_', ':')}"
        contents[f"{folder}/name"] = f"{name}\n"
        contents[f"{folder}/energy_uj"] = "1000000\n"
        contents[f"{folder}/max_energy_range_uj"] = f"{RANGE_UJ}\n"
    return contents


class OneCounter:
    def __init__(self, energy: str | int = "1000000\n", reach: str = str(RANGE_UJ)) -> None:
        self.files = MemoryFiles(domains(at_0="package-0"))
        self.files.contents[f"{ROOT}/intel-rapl:0/energy_uj"] = energy
        self.files.contents[f"{ROOT}/intel-rapl:0/max_energy_range_uj"] = reach
        self.clock = ManualClock()
        (self.sensor,) = rapl.find(self.files, PC, self.clock)

    def counts(self, energy: str | int, after_s: float = 0.5) -> Reading:
        self.files.contents[f"{ROOT}/intel-rapl:0/energy_uj"] = energy
        self.clock.forward(after_s)
        return self.sensor.read()[0]


def test_a_machine_without_counters_has_no_sensors() -> None:
    assert rapl.find(MemoryFiles({}), PC) == []


def test_names_of_domains_contain_their_parent() -> None:
    names = {
        "at_0": "package-0",
        "at_0_0": "core",
        "at_0_1": "dram",
        "at_1": "package-1",
        "at_1_0": "core",
    }
    contents = domains(**names)
    contents[f"{ROOT}/intel-rapl-mmio:0/name"] = "package-0\n"  # the same counter once more
    contents[f"{ROOT}/dtpm/name"] = "x\n"
    assert [sensor.name for sensor in rapl.find(MemoryFiles(contents), PC)] == [
        "rapl/package-0",
        "rapl/package-0/core",
        "rapl/package-0/dram",
        "rapl/package-1",
        "rapl/package-1/core",
    ]


def test_second_sample_gives_power() -> None:
    counter = OneCounter()
    first = counter.counts("1000000\n")
    assert (first.value, first.status) == (None, ReadingStatus.STALE)
    second = counter.counts("6000000\n")
    assert (second.value, second.quantity.unit) == (10.0, "W")  # 5 J in half a second


def test_counter_wrap() -> None:
    counter = OneCounter()
    counter.counts(f"{RANGE_UJ - 2_000_000}\n")
    assert counter.counts("3000000\n").value == pytest.approx(10.0)


def test_counter_reset_gives_no_power() -> None:
    counter = OneCounter()
    counter.counts("200000000000\n")
    assert counter.counts("5\n").status is ReadingStatus.INVALID  # 62 kJ in half a second
    assert counter.counts("5000005\n").value == pytest.approx(10.0)


def test_counter_without_a_range_that_goes_back() -> None:
    counter = OneCounter(reach="?")
    counter.counts("9000000\n")
    reading = counter.counts("1000000\n")
    assert (reading.value, reading.status) == (None, ReadingStatus.INVALID)


def test_long_pause_restarts_the_measurement() -> None:
    counter = OneCounter()
    counter.counts("1000000\n")
    assert counter.counts("900000000\n", after_s=3600).status is ReadingStatus.STALE
    assert counter.counts("905000000\n").value == 10.0


def test_two_samples_at_the_same_time_give_no_power() -> None:
    counter = OneCounter()
    counter.counts("1000000\n")
    assert counter.counts("1000000\n", after_s=0).status is ReadingStatus.STALE


def test_wall_clock_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = OneCounter()
    counter.counts("1000000\n")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert counter.counts("6000000\n").value == 10.0


@pytest.mark.parametrize(
    ("content", "words"),
    [(errno.EACCES, "may not read it"), (errno.EPERM, "may not read it"), ("", "empty")],
)
def test_file_that_needs_root_gives_the_reason(content: str | int, words: str) -> None:
    reading = OneCounter().counts(content)
    assert (reading.value, reading.status) == (None, ReadingStatus.INVALID)
    assert words in reading.problem


def test_socket_without_power_is_invalid() -> None:
    counter = OneCounter()
    counter.counts("1000000\n")
    reading = counter.counts("1000000\n")
    assert (reading.value, reading.status) == (None, ReadingStatus.INVALID)
    assert "does not change" in reading.problem


def test_subdomain_may_have_no_power() -> None:
    clock = ManualClock()
    sensors = rapl.find(MemoryFiles(domains(at_0="package-0", at_0_0="uncore")), PC, clock)
    read_sensors(sensors)
    clock.forward(0.5)
    assert read_sensors(sensors)["rapl/package-0/uncore"].value == 0.0


def test_gap_is_not_averaged() -> None:
    counter = OneCounter()
    counter.counts("1000000\n")
    counter.counts(errno.EIO)
    assert counter.counts("99000000\n").status is ReadingStatus.STALE


def test_sockets_and_memory_are_summed_but_never_the_total() -> None:
    contents = domains(at_0="package-0", at_0_0="core", at_0_1="dram", at_1="psys")
    files, clock = MemoryFiles(contents), ManualClock()
    sensors = rapl.find(files, PC, clock)
    read_sensors(sensors)
    for path in contents:
        if path.endswith("energy_uj"):
            files.contents[path] = "3000000\n"
    clock.forward(1.0)
    readings = read_sensors(sensors)
    total = sum_rails(list(readings.values()), PC)
    assert total is not None
    assert (total.value, total.role) == (4.0, Role.RAILS_SUM)
    assert {each.role for each in readings.values()} == {Role.NONE}
