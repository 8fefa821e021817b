"""Nodes that do not do what they are asked, and power that does not fall."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_inference.core.directives.directive import (
    Directive,
    DirectiveLevel,
    DirectiveLimits,
    Workload,
)
from edge_inference.governor.acknowledgement import Acknowledgements
from edge_inference.governor.governor import Governor
from edge_inference.governor.power_fall import PowerFall
from edge_inference.governor.settings import GovernorSettings
from governor_cases import Machine, by_name, node, watts, zone

ASKED = Directive(
    7, "", "/detector", DirectiveLevel.REDUCED, 0.5, DirectiveLimits(max_rate_hz=10.0), "hot"
)
OBEYS = node(directive_id=7, rate_hz=10.0)
BEHIND = node(directive_id=3, rate_hz=10.0)


def look(
    watch: Acknowledgements, workload: Workload, time_s: float, asked: Directive = ASKED
) -> int:
    found = watch.look([workload], {asked.node: asked}, time_s, patience_s=5.0, forgive_s=60.0)
    return found.get(workload.node, 0)


def after(workload: Workload, seconds: float, watch: Acknowledgements | None = None) -> int:
    watch = watch or Acknowledgements()
    return [look(watch, workload, half * 0.5) for half in range(round(seconds * 2) + 1)][-1]


@pytest.mark.parametrize(
    ("workload", "seconds", "escalation"),
    [
        (OBEYS, 100.0, 0),
        (BEHIND, 4.5, 0),
        (BEHIND, 5.0, 1),
        (BEHIND, 10.0, 2),
        (BEHIND, 1000.0, 2),
        (replace(OBEYS, problem="fp16 is being made ready"), 100.0, 0),
        (replace(OBEYS, rate_hz=25.0), 9.5, 0),
        (replace(OBEYS, rate_hz=25.0), 10.0, 1),
        (replace(OBEYS, rate_hz=None), 100.0, 0),
        (replace(OBEYS, rate_hz=float("nan")), 100.0, 0),
        (replace(BEHIND, safety_critical=True), 100.0, 0),
    ],
)
def test_patience_ends(workload: Workload, seconds: float, escalation: int) -> None:
    assert after(workload, seconds) == escalation


def test_a_node_that_follows_late_but_follows_is_waited_for() -> None:
    watch = Acknowledgements()
    for second in range(100):
        late = node(directive_id=second // 3)
        assert look(watch, late, float(second), replace(ASKED, id=second // 3 + 1)) == 0


def test_obeying_is_forgiven_after_a_while() -> None:
    watch = Acknowledgements()
    assert after(BEHIND, 12.0, watch) == 2
    assert look(watch, OBEYS, 13.0) == 2
    assert look(watch, OBEYS, 72.0) == 2
    assert look(watch, OBEYS, 73.5) == 0


def test_who_is_asked_nothing_need_not_acknowledge() -> None:
    free = replace(ASKED, level=DirectiveLevel.FULL, limits=DirectiveLimits())
    watch = Acknowledgements()
    assert [look(watch, BEHIND, float(s), free) for s in range(20)][-1] == 0


@pytest.mark.parametrize(("obeyed", "escalation"), [("/ours", 0), ("/theirs", 2), ("", 2)])
def test_obeying_another_manager_does_not_count(obeyed: str, escalation: int) -> None:
    workload = replace(OBEYS, manager=obeyed)
    assert after(workload, 20.0, Acknowledgements("/ours")) == escalation


@pytest.mark.parametrize("preset", ["ramp", "predictive"])
def test_a_deaf_node_is_asked_for_more_and_reported(preset: str) -> None:
    machine = Machine(Governor(GovernorSettings(preset=preset)), node())
    machine.see(zone(50.0), seconds=5)
    decision = machine.see(zone(76.5), seconds=30, obeying=False)
    asked = by_name(decision.directives)["/detector"]
    assert decision.severity == "warn"
    assert "/detector does not do what it is asked" in decision.reason
    assert asked.level is DirectiveLevel.MINIMUM
    assert asked.limits == DirectiveLimits(max_rate_hz=3.0, max_batch=1, precision_ceiling="int8")


def test_the_next_cheaper_engine_comes_first() -> None:
    machine = Machine(Governor(GovernorSettings(preset="predictive")), node())
    asked = [
        by_name(machine.see(zone(77.5), obeying=False).directives)["/detector"] for _ in range(200)
    ]
    ceilings = [each.limits.precision_ceiling for each in asked]
    assert list(dict.fromkeys(ceilings)) == ["fp16", "int8"]
    assert asked[ceilings.index("int8")].level is DirectiveLevel.REDUCED
    assert asked[-1].level is DirectiveLevel.MINIMUM


def feed(watch: PowerFall, ordered_w: float, power_w: float, start_s: float, end_s: float) -> bool:
    found = False
    time_s = start_s
    while time_s < end_s:
        found |= watch.is_missing(time_s, ordered_w, power_w)
        time_s += 0.5
    return found


@pytest.mark.parametrize(
    ("ordered_w", "power_w", "missing"),
    [(4.0, 20.0, True), (4.0, 19.0, True), (4.0, 17.0, False), (9.0, 20.0, False)],
)
def test_power_must_fall_when_less_is_ordered(
    ordered_w: float, power_w: float, missing: bool
) -> None:
    watch = PowerFall()
    assert not feed(watch, 10.0, 20.0, 0.0, 20.0)
    assert feed(watch, ordered_w, power_w, 20.0, 40.0) is missing


@pytest.mark.parametrize(("ordered_w", "power_w"), [(None, 20.0), (4.0, None)])
def test_without_a_power_sensor_nothing_is_missed(
    ordered_w: float | None, power_w: float | None
) -> None:
    watch = PowerFall()
    feed(watch, 10.0, 20.0, 0.0, 20.0)
    assert not any(watch.is_missing(20.0 + n, ordered_w, power_w) for n in range(30))


def test_power_that_stays_up_while_it_is_hot_leads_to_the_least() -> None:
    machine = Machine(Governor(GovernorSettings(preset="predictive")), node())
    machine.see(zone(50.0), watts(20.0), seconds=60)
    decision = machine.see(zone(78.0), watts(20.0), seconds=60)
    assert "/detector does not do what it is asked" in decision.reason
    assert by_name(decision.directives)["/detector"].level is DirectiveLevel.MINIMUM


@pytest.mark.parametrize("preset", ["ramp", "predictive"])
def test_who_is_told_nothing_is_not_blamed(preset: str) -> None:
    stands_by = Machine(Governor(GovernorSettings(preset=preset)), node())
    for _ in range(60):
        decision = stands_by.see(zone(76.5), obeying=False)
        stands_by.governor.trust_all()
    assert "does not do" not in decision.reason
    if preset == "ramp":  # the others are reduced by the heat itself
        assert by_name(decision.directives)["/detector"].level is DirectiveLevel.REDUCED
