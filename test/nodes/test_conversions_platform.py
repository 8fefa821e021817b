"""Messages about a machine, to the message and back; unknown names are refused."""

from __future__ import annotations

import math

import pytest
from edge_inference.msg import PerformanceDirective, PlatformReading, PlatformState
from sensor_msgs.msg import BatteryState

from edge_inference.core import platform_state as core
from edge_inference.core.directives.directive import DirectiveLevel, DirectiveLimits
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError
from edge_inference.nodes.conversions.performance import DirectiveAdapter
from edge_inference.nodes.conversions.platform import BatteryAdapter, PlatformReportAdapter


def test_every_word_survives() -> None:
    readings = (
        *(Reading("a", quantity, 1.5, "file", 0, throttle=99.0) for quantity in Quantity),
        *(Reading("b", Quantity.POWER, 1.5, "file", 0, role=role) for role in Role),
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


@pytest.mark.parametrize(
    ("drawn", "status"),
    [
        (1.5, BatteryState.POWER_SUPPLY_STATUS_DISCHARGING),
        (-1.5, BatteryState.POWER_SUPPLY_STATUS_CHARGING),
        (None, BatteryState.POWER_SUPPLY_STATUS_UNKNOWN),
    ],
)
def test_a_battery_that_gives_has_a_negative_current(drawn: float | None, status: int) -> None:
    known = ReadingStatus.OK if drawn is not None else ReadingStatus.ABSENT
    readings = tuple(
        Reading("battery/BAT0", quantity, drawn, "file", 0, known, role)
        for quantity, role in (
            (Quantity.CURRENT, Role.BATTERY_CURRENT),
            (Quantity.POWER, Role.BATTERY_POWER),
        )
    )
    state = core.PlatformState("board", readings, 0, "MAXN")
    report = core.PlatformReport(state, 0.5, (), DirectiveLevel.FULL, "", 0, 1, "base")
    message = BatteryAdapter().to_message(report)
    assert message.power_supply_status == status
    assert math.isnan(message.current) if drawn is None else message.current == -drawn


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
