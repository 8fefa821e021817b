"""Messages about a machine, to the message and back; unknown names are refused."""

from __future__ import annotations

import math

import pytest
from edge_inference.msg import PerformanceDirective, PlatformReading, PlatformState
from sensor_msgs.msg import BatteryState

from edge_inference.core import platform_state as core
from edge_inference.core.device import Device
from edge_inference.core.directives.directive import DirectiveLevel, DirectiveLimits
from edge_inference.core.platform_state import StampedDevice
from edge_inference.core.reading import BatteryStatus, Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError
from edge_inference.nodes.conversions.performance import DirectiveAdapter
from edge_inference.nodes.conversions.platform import BatteryAdapter, PlatformReportAdapter


def test_every_word_survives() -> None:
    readings = (
        *(Reading("a", quantity, 0.5, "file", 0, throttle=1.0) for quantity in Quantity),
        *(Reading("b", Quantity.POWER, 1.5, "file", 0, role=role, device="d") for role in Role),
        *(
            Reading("c", Quantity.POWER, None, "file", 0, status, problem="why")
            for status in ReadingStatus
            if status is not ReadingStatus.OK
        ),
    )
    state = core.PlatformState("board", readings, 0, "MAXN")
    adapter = PlatformReportAdapter()
    for level in DirectiveLevel:
        sent = core.PlatformReport(state, 0.5, ("alert",), level, "hot", 0, 1_000_000_002, "base")
        assert adapter.from_bytes(adapter.to_bytes(sent)) == sent


def test_a_whole_number_of_another_package_survives() -> None:
    reading = Reading("a", Quantity.POWER, 3, "bus", 0, throttle=5, critical=6, limit=7)
    report = core.PlatformReport(
        core.PlatformState("board", (reading,), 0), 1, (), DirectiveLevel.FULL, "", 0
    )
    adapter = PlatformReportAdapter()
    assert adapter.from_bytes(adapter.to_bytes(report)) == report


def to_battery_state(**values: float | None) -> BatteryState:
    """Convert a battery; the keywords are roles, and None is a value that cannot be read."""
    readings = tuple(
        Reading(
            f"battery/BAT1/{name}",
            Quantity.STATE,
            value,
            "file",
            0,
            ReadingStatus.ABSENT if value is None else ReadingStatus.OK,
            Role(f"battery_{name}"),
            device="battery/BAT1",
        )
        for name, value in values.items()
    )
    battery = StampedDevice(Device("battery/BAT1", readings), 1_000_000_002, "battery/BAT1")
    return BatteryAdapter().to_message(battery)


def test_a_battery_state_has_the_values_of_one_battery() -> None:
    message = to_battery_state(
        charge=0.5,
        voltage=12.0,
        current=1.5,
        power=18.0,
        energy=144000.0,
        remaining_charge=7200.0,
        full_charge=14400.0,
        temperature=31.5,
        status=2.0,
    )
    assert (message.header.frame_id, message.location) == ("battery/BAT1", "battery/BAT1")
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 2)
    assert (message.percentage, message.voltage, message.current) == (0.5, 12.0, -1.5)
    assert (message.charge, message.capacity, message.temperature) == (2.0, 4.0, 31.5)
    assert message.present is True
    assert message.power_supply_status == BatteryState.POWER_SUPPLY_STATUS_DISCHARGING


def test_what_a_battery_does_not_report_is_nan() -> None:
    message = to_battery_state(charge=0.5)
    assert message.present is True
    assert message.power_supply_status == BatteryState.POWER_SUPPLY_STATUS_UNKNOWN
    fields = ("voltage", "temperature", "current", "charge", "capacity", "design_capacity")
    assert all(math.isnan(getattr(message, name)) for name in fields)


def test_a_battery_that_was_removed_is_not_present() -> None:
    message = to_battery_state(charge=None, current=None, status=None)
    assert message.present is False
    assert math.isnan(message.percentage) and math.isnan(message.current)
    assert to_battery_state(charge=0.5, current=None).present is True


@pytest.mark.parametrize("status", list(BatteryStatus))
def test_a_battery_status_keeps_its_name(status: BatteryStatus) -> None:
    message = to_battery_state(status=float(status))
    name = f"POWER_SUPPLY_STATUS_{status.name}"
    assert message.power_supply_status == getattr(BatteryState, name)


def reading(**given: object) -> PlatformReading:
    fields = {"quantity": "power", "status": "ok", "role": "none", **given}
    return PlatformReading(name="rail/IN", value=2.0, **fields)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (PlatformState(level=9), r"expected a level of \[0, 1, 2, 3\], got 9"),
        (PlatformState(readings=[reading(status="fine")]), "status: expected one of ok, gated"),
        (PlatformState(readings=[reading(role="boss")]), "role: expected one of none, control"),
        (PlatformState(readings=[reading(quantity="luck")]), "'rail/IN': quantity: .* got 'luck'"),
        (
            PlatformState(readings=[reading(age_s=math.inf)]),
            r"age_s: expected a number from 0 to .*, got inf",
        ),
        (PlatformState(readings=[reading(status="stale")]), "value 2.0 with status stale"),
    ],
)
def test_unknown_values_are_refused(message: PlatformState, words: str) -> None:
    with pytest.raises(InputError, match=words):
        PlatformReportAdapter().from_message(message)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"level": 4}, "level of [0, 1, 2, 3], got 4"),
        ({"throttle_factor": 1.5}, "throttle_factor: expected a number from 0 to 1, got 1.5"),
        ({"throttle_factor": math.nan}, "got nan"),
        (
            {"max_rate_hz": -1.0},
            "max_rate_hz: expected 0, or a number from 0.0001 to 1e+06, or infinity",
        ),
        (
            {"precision_ceiling": "fp7"},
            "precision_ceiling: expected fp32, fp16, int8 or an empty text, got 'fp7'",
        ),
    ],
)
def test_what_cannot_be_meant_is_failsafe(given: dict, words: str) -> None:
    message = PerformanceDirective(id=7, manager="odd", **given)
    made = DirectiveAdapter().from_message(message)
    assert words in made.problem and "directive 7 of odd" in made.problem
    assert (made.level, made.limits, made.manager) == (
        DirectiveLevel.FAILSAFE,
        DirectiveLimits(),
        "odd",
    )
