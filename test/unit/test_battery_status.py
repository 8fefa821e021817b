"""What a battery does, by its driver, the sign of its power, and the chargers."""

from __future__ import annotations

import itertools

import pytest

from edge_inference.core.reading import BatteryStatus
from edge_inference.platforms.sensors.kernel.battery_status import (
    ExternalPower,
    Flow,
    decide_status,
    parse_status,
)

IN, OUT = BatteryStatus.CHARGING, BatteryStatus.DISCHARGING
IDLE, FULL = BatteryStatus.NOT_CHARGING, BatteryStatus.FULL
ON, OFF, UNSURE = ExternalPower.ONLINE, ExternalPower.OFFLINE, ExternalPower.UNKNOWN
ZERO, NEGATIVE, POSITIVE, UNKNOWN = Flow.ZERO, Flow.NEGATIVE, Flow.POSITIVE, Flow.UNKNOWN

#: By what the driver says and external power: the status for a power of 0, a negative one, one
#: without a sign, and an unknown one, of a machine's only battery.
ALONE = {
    (OUT, ON): (OUT, OUT, OUT, OUT),
    (OUT, OFF): (OUT, OUT, OUT, OUT),
    (OUT, UNSURE): (OUT, OUT, OUT, OUT),
    (IN, ON): (IN, IN, IN, IN),
    (IN, OFF): (None, OUT, None, None),
    (IN, UNSURE): (IN, None, IN, IN),
    (FULL, ON): (FULL, FULL, FULL, FULL),
    (FULL, OFF): (None, OUT, OUT, OUT),
    (FULL, UNSURE): (FULL, OUT, None, FULL),
    (IDLE, ON): (IDLE, IDLE, IDLE, IDLE),
    (IDLE, OFF): (None, OUT, OUT, OUT),
    (IDLE, UNSURE): (IDLE, OUT, None, IDLE),
    (None, ON): (IDLE, OUT, IN, None),
    (None, OFF): (None, OUT, OUT, OUT),
    (None, UNSURE): (None, OUT, None, None),
}
#: The same beside a battery that says that it discharges, where that makes a difference.
BESIDE_ANOTHER = {
    (IN, OFF): (IN, OUT, IN, IN),
    (FULL, OFF): (FULL, OUT, OUT, FULL),
    (IDLE, OFF): (IDLE, OUT, OUT, IDLE),
    (None, OFF): (None, OUT, OUT, None),
}
FLOWS = (ZERO, NEGATIVE, POSITIVE, UNKNOWN)


def test_the_table_is_complete() -> None:
    assert ALONE.keys() == set(itertools.product((*BatteryStatus, None), ExternalPower))
    assert set(FLOWS) == set(Flow)


@pytest.mark.parametrize("is_beside_another", [False, True])
@pytest.mark.parametrize(("says", "external"), list(ALONE))
def test_a_status_is_decided(
    says: BatteryStatus | None, external: ExternalPower, is_beside_another: bool
) -> None:
    expected = ALONE[says, external]
    if is_beside_another:
        expected = BESIDE_ANOTHER.get((says, external), expected)
    decided = tuple(
        decide_status(says, flow, external, lambda: is_beside_another) for flow in FLOWS
    )
    assert decided == expected


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Charging", IN),
        ("Discharging\n", OUT),
        ("Not charging", IDLE),
        ("Full", FULL),
        ("Unknown", None),
        ("", None),
        ("Charging2", None),
    ],
)
def test_the_words_of_the_kernel(text: str, status: BatteryStatus | None) -> None:
    assert parse_status(text) is status
