"""What sensors and power modes say to the doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.cli.doctor.platform_checks import examine_platform, examine_state
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.observe.doctor.finding import Finding, FindingLevel

OK, NOTE, WARNING = FindingLevel.OK, FindingLevel.NOTE, FindingLevel.WARNING
PROBLEM, UNKNOWN = FindingLevel.PROBLEM, FindingLevel.UNKNOWN
CELSIUS = Quantity.TEMPERATURE


def find(findings: list[Finding], name: str) -> Finding:
    """Return the only finding of a name, such as "power: power mode"."""
    (found,) = [each for each in findings if f"{each.area}: {each.name}" == name]
    return found


def reading(name: str, quantity: Quantity, value: float | None, **others: object) -> Reading:
    status = ReadingStatus.INVALID if value is None else ReadingStatus.OK
    return Reading(name, quantity, value, "file", 0, status, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("readings", "name", "level"),
    [
        ([], "heat: temperature", UNKNOWN),
        ([], "heat: throttling", UNKNOWN),
        ([], "power: power sensor", NOTE),
        ([("zone/cpu", CELSIUS, 60.0, Role.CONTROL, 95.0)], "heat: temperature", OK),
        ([("zone/cpu", CELSIUS, 90.0, Role.CONTROL, 95.0)], "heat: temperature", WARNING),
        ([("zone/cpu", CELSIUS, 96.0, Role.CONTROL, 95.0)], "heat: temperature", PROBLEM),
        ([("zone/cpu", CELSIUS, None, Role.CONTROL, 95.0)], "heat: temperature", UNKNOWN),
        ([("oc/1", Quantity.STATE, 1.0, Role.THROTTLE, None)], "heat: throttling", PROBLEM),
        ([("oc/1", Quantity.STATE, 0.0, Role.THROTTLE, None)], "heat: throttling", OK),
        ([("rail/VDD_IN", Quantity.POWER, 9.5, Role.TOTAL_POWER, None)], "power: power sensor", OK),
    ],
)  # fmt: skip
def test_sensors(readings: list[tuple], name: str, level: FindingLevel) -> None:
    state = PlatformState(
        "board",
        tuple(
            reading(each, quantity, value, role=role, throttle=throttle)
            for each, quantity, value, role, throttle in readings
        ),
        0,
    )
    assert find(list(examine_state(state)), name).level is level


def test_the_power_mode(tmp_path: Path) -> None:
    modes = tmp_path / "etc/nvpmodel.conf"
    status = tmp_path / "var/lib/nvpmodel/status"
    modes.parent.mkdir(parents=True)
    status.parent.mkdir(parents=True)
    modes.write_text("< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=MODE_15W >\n")
    status.write_text("pmode:0002\n")
    finding = find(list(examine_platform(tmp_path)), "power: power mode")
    assert (finding.level, finding.value) == (WARNING, "MODE_15W; MAXN is the most powerful")
    status.write_text("pmode:0000\n")
    assert find(list(examine_platform(tmp_path)), "power: power mode").level is OK
