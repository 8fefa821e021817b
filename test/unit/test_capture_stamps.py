"""The age of a frame, and what is wrong with a stamp and why."""

from __future__ import annotations

import pytest

from edge_inference.core.runtime.capture_stamps import (
    FUTURE_TOLERANCE_NS,
    MAX_AGE_NS,
    MAX_SENSOR_AGE_NS,
    Clocks,
    StampCheck,
    age_ms,
    explain_fault,
    stamp_fault,
)

SECOND = 1_000_000_000
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
#: The autumn of 2026, on the system clock.
NOW = 1_790_000_000 * SECOND
#: Since boot without and with the time in suspend.
MONOTONIC, BOOT = 7 * DAY, 9 * DAY


@pytest.mark.parametrize(
    ("stamp", "fault"),
    [
        (0, "stamp_zero"),
        (-1, "stamp_zero"),
        (NOW, ""),
        (NOW - 180 * SECOND, ""),  # three minutes in a queue are an age
        (NOW - MAX_AGE_NS, ""),
        (NOW - MAX_AGE_NS - 1, "stamp_in_past"),
        (NOW - DAY, "stamp_in_past"),
        (1, "stamp_in_past"),
        (NOW + FUTURE_TOLERANCE_NS, ""),
        (NOW + FUTURE_TOLERANCE_NS + 1, "stamp_in_future"),
    ],
)
def test_stamps(stamp: int, fault: str) -> None:
    assert stamp_fault(stamp, NOW) == fault
    assert (age_ms(stamp, NOW) is None) == (fault != "")


@pytest.mark.parametrize(("ahead_ns", "age"), [(-2_500_000, 2.5), (0, 0.0), (1000, 0.0)])
def test_age(ahead_ns: int, age: float) -> None:
    assert age_ms(NOW + ahead_ns, NOW) == age


def test_a_frame_of_a_sensor_is_implausible_sooner_unless_it_has_waited() -> None:
    old = NOW - 2 * MAX_SENSOR_AGE_NS
    assert StampCheck(from_sensor=True).fault(old, "camera", NOW, 0) == "stamp_in_past"
    assert StampCheck(from_sensor=True).fault(old, "camera", NOW, MAX_SENSOR_AGE_NS) == ""
    assert StampCheck(from_sensor=False).fault(old, "camera", NOW, 0) == ""


def test_stamps_that_go_back_are_one_fault_for_each_jump() -> None:
    check = StampCheck(from_sensor=True)
    stamps = [NOW - 30 * SECOND + number * SECOND // 10 for number in range(5)]
    faults = [check.fault(stamp, "camera", NOW, 0) for stamp in (*stamps, *stamps)]
    assert faults == [*[""] * 5, "", *[""] * 4]  # 0.4 s may be a disorder of threads
    later = [*stamps, NOW, *stamps]
    check = StampCheck(from_sensor=True)
    faults = [check.fault(stamp, "camera", NOW, 0) for stamp in later]
    assert faults == [*[""] * 6, "stamp_went_back", *[""] * 4]
    assert check.before_ns == stamps[-2]


def test_each_source_has_its_own_order() -> None:
    check = StampCheck(from_sensor=True)
    for number in range(5):
        for source, behind in (("left", 0), ("right", 20 * SECOND)):
            stamp = NOW - behind + number * SECOND // 10
            assert check.fault(stamp, source, NOW + SECOND, 0) == ""


def test_the_number_of_sources_is_limited() -> None:
    check = StampCheck(from_sensor=True)
    for number in range(1000):
        check.fault(NOW, f"made up {number}", NOW, 0)
    assert len(check._last) <= 64
    assert check.fault(NOW - 10 * SECOND, "made up 999", NOW, 0) == "stamp_went_back"


SYSTEM = Clocks(NOW, False, MONOTONIC, BOOT)
#: A simulator has run for 20 minutes.
SIMULATOR = Clocks(1200 * SECOND, True, MONOTONIC, BOOT)
#: A recording of yesterday is played with --clock.
PLAYED = Clocks(NOW - DAY, True, MONOTONIC, BOOT)
NO_CLOCK = Clocks(0, True, MONOTONIC, BOOT)

#: Stamp, clocks, fault, age in words, a word of the cause, a word of the remedy.
CASES = {
    "no stamp": (0, SYSTEM, "stamp_zero", "got none", "sets no stamp", "header.stamp"),
    "no stamp without /clock": (
        0, NO_CLOCK, "stamp_zero", "got none", "no /clock has come", "--clock",
    ),
    "a recording of yesterday": (
        NOW - DAY - 99_000_000, SYSTEM, "stamp_in_past", "24.0 h before", "recording", "--clock",
    ),
    "a recording of last year": (
        NOW - 400 * DAY, SYSTEM, "stamp_in_past", "400.0 days before", "recording", "use_sim_time",
    ),
    "CLOCK_MONOTONIC": (
        MONOTONIC - SECOND, SYSTEM, "stamp_in_past", "days before", "from boot", "system clock",
    ),
    "CLOCK_BOOTTIME": (
        BOOT - SECOND, SYSTEM, "stamp_in_past", "days before", "from boot", "system clock",
    ),
    "a simulator, without use_sim_time": (
        1200 * SECOND, SYSTEM, "stamp_in_past", "days before", "simulated time",
        "use_sim_time to true",
    ),
    "a camera on simulated time": (
        NOW, SIMULATOR, "stamp_in_future", "days after", "system clock", "use_sim_time to false",
    ),
    "a monotonic camera on simulated time": (
        MONOTONIC, SIMULATOR, "stamp_in_future", "days after", "from boot", "driver",
    ),
    "a camera beside a recording": (
        NOW, PLAYED, "stamp_in_future", "24.0 h after", "another clock than /clock", "use_sim_time",
    ),
    "a simulator beside a recording": (
        SECOND, PLAYED, "stamp_in_past", "days before", "another clock than /clock", "use_sim_time",
    ),
    "no /clock": (
        NOW, NO_CLOCK, "stamp_in_future", "days after", "no /clock has come", "--clock",
    ),
    "a machine that is ahead": (
        NOW + 90 * SECOND, SYSTEM, "stamp_in_future", "90 s after", "ahead", "chrony",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_cause_is_named_with_its_remedy(case: str) -> None:
    stamp, clocks, fault, age, cause, remedy = CASES[case]
    assert stamp_fault(stamp, clocks.now_ns) == fault
    text = explain_fault(fault, stamp, clocks)
    assert text.startswith(f"{fault}: expected the time of capture on the node's clock, got ")
    got, _, rest = text.partition(": expected")[2].rpartition("; ")
    assert age in got
    assert cause in got
    assert remedy in rest
    assert "\n" not in text


def test_a_stamp_that_went_back_says_by_how_much() -> None:
    text = explain_fault("stamp_went_back", NOW - 30 * SECOND, SYSTEM, before_ns=NOW)
    assert "got one 30 s before that of the last frame: a recording starts again" in text


def test_the_clocks_since_boot_are_read() -> None:
    clocks = Clocks.read(NOW, is_simulated=True)
    assert 0 < clocks.monotonic_ns <= clocks.boot_ns
