"""Builders of machines and nodes, for tests of the governor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge_inference.core.directives.directive import (
    Directive,
    DirectiveLimits,
    OperatingPoint,
    Workload,
    is_within_ceiling,
)
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import BatteryStatus, Quantity, Reading, ReadingStatus, Role
from edge_inference.governor.governor import Governor
from edge_inference.governor.state import GovernorDecision

START_NS = 1_000_000_000_000
SECOND = 1_000_000_000
ENGINES = (
    OperatingPoint("net", "fp32", 1.0, 20.0),
    OperatingPoint("net", "fp16", 0.98, 12.0),
    OperatingPoint("net", "int8", 0.88, 7.0),
)


def zone(
    value: float | None,
    name: str = "zone/tj",
    *,
    stamp_ns: int = START_NS,
    status: ReadingStatus | None = None,
    **more: Any,
) -> Reading:
    given = status or (ReadingStatus.OK if value is not None else ReadingStatus.STALE)
    return Reading(name, Quantity.TEMPERATURE, value, "test", stamp_ns, given, Role.CONTROL, **more)


def sensor(role: Role, value: float, quantity: Quantity, name: str = "") -> Reading:
    device = "battery/BAT0" if role.is_of_battery else ""
    return Reading(name or role.value, quantity, value, "test", START_NS, role=role, device=device)


def watts(value: float, role: Role = Role.TOTAL_POWER) -> Reading:
    return sensor(role, value, Quantity.POWER)


def energy(joules: float) -> Reading:
    return sensor(Role.BATTERY_ENERGY, joules, Quantity.ENERGY)


def battery(
    name: str = "BAT0",
    *,
    watts: float | None = None,
    watt_hours: float | None = None,
    charge: float | None = None,
    full_watt_hours: float | None = None,
    status: BatteryStatus | None = None,
    absent: bool = False,
) -> list[Reading]:
    """Make the readings of a battery; a value that is not given is INVALID, or all are ABSENT."""
    values = {
        Role.BATTERY_POWER: (Quantity.POWER, watts),
        Role.BATTERY_ENERGY: (Quantity.ENERGY, _joules(watt_hours)),
        Role.BATTERY_CHARGE: (Quantity.SHARE, charge),
        Role.BATTERY_FULL_ENERGY: (Quantity.ENERGY, _joules(full_watt_hours)),
        Role.BATTERY_STATUS: (Quantity.STATE, None if status is None else float(status)),
    }
    readings = []
    for role, (quantity, value) in values.items():
        known = ReadingStatus.INVALID if value is None else ReadingStatus.OK
        reading = Reading(
            f"battery/{name}/{role.value}",
            quantity,
            None if absent else value,
            "test",
            START_NS,
            ReadingStatus.ABSENT if absent else known,
            role,
            "why" if absent or value is None else "",
            device=f"battery/{name}",
        )
        readings.append(reading)
    return readings


def _joules(watt_hours: float | None) -> float | None:
    return None if watt_hours is None else watt_hours * 3600.0


def alert(value: float, quantity: Quantity = Quantity.STATE, name: str = "alert") -> Reading:
    return sensor(Role.THROTTLE, value, quantity, name)


def state(*readings: Reading, now_ns: int = START_NS, problem: str = "") -> PlatformState:
    stamped = tuple(replace(each, stamp_ns=now_ns) for each in readings)
    return PlatformState("board", stamped, now_ns, problem=problem)


def node(name: str = "/detector", **more: Any) -> Workload:
    fields: dict[str, Any] = {
        "priority": 0,
        "safety_critical": False,
        "demand_hz": 30.0,
        "rate_hz": 30.0,
        "minimum_rate_hz": 3.0,
        "batch": 1,
        "operating_points": ENGINES,
        "operating_point": 0,
        "directive_id": 0,
        "manager": "",
        "limits": DirectiveLimits(),
        "limits_source": "nothing",
    }
    return Workload(node=name, **{**fields, **more})


class Machine:
    """A governor whose nodes follow directives at once; it decides every half second."""

    def __init__(self, governor: Governor, *workloads: Workload) -> None:
        self.governor = governor
        self.workloads = list(workloads)
        self.now_ns = START_NS
        self.engines_ready = True
        self.problem = ""  # of the sensors
        self.decisions: list[GovernorDecision] = []

    def run(
        self, *readings: Reading, seconds: float = 0.5, compliant: bool = True
    ) -> GovernorDecision:
        """Run for some time with constant readings; return the last decision."""
        for _ in range(round(seconds / 0.5)):
            self.now_ns += SECOND // 2
            platform = state(*readings, now_ns=self.now_ns, problem=self.problem)
            decision = self.governor.decide(platform, self.workloads, self.now_ns)
            self.decisions.append(decision)
            if compliant:
                self.workloads = [
                    follow(each, decision.directives, ready=self.engines_ready)
                    for each in self.workloads
                ]
        return self.decisions[-1]


def follow(workload: Workload, directives: Sequence[Directive], *, ready: bool = True) -> Workload:
    directive = by_name(directives)[workload.node]
    limits = directive.limits
    rate = workload.demand_hz or 0.0
    if limits.max_rate_hz is not None:
        rate = min(rate, limits.max_rate_hz)
    within = (
        number
        for number, each in enumerate(workload.operating_points)
        if is_within_ceiling(each.precision, limits.precision_ceiling)
        and limits.model in ("", each.model)
    )
    operating_point = next(within, workload.operating_point) if ready else workload.operating_point
    return replace(
        workload,
        directive_id=directive.id,
        limits=limits,
        rate_hz=rate,
        operating_point=operating_point,
    )


def by_name(directives: Sequence[Directive]) -> dict[str, Directive]:
    return {directive.node: directive for directive in directives}
