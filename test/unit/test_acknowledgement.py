"""Nodes that do not follow their directives, and power that does not drop."""

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
from edge_inference.governor.settings import GovernorSettings
from governor_cases import Machine, by_name, node, watts, zone

DIRECTIVE = Directive(
    7, "", "/detector", DirectiveLevel.REDUCED, 0.5, DirectiveLimits(max_rate_hz=10.0), "hot"
)
COMPLIANT = node(directive_id=7, rate_hz=10.0)
LATE = node(directive_id=3, rate_hz=10.0)


def escalation(
    watch: Acknowledgements, workload: Workload, time_s: float, directive: Directive = DIRECTIVE
) -> int:
    escalations = watch.update(
        [workload], {directive.node: directive}, time_s, timeout_s=5.0, recovery_s=60.0
    )
    return escalations.get(workload.node, 0)


def escalation_after(
    workload: Workload, seconds: float, watch: Acknowledgements | None = None
) -> int:
    watch = watch or Acknowledgements()
    return [escalation(watch, workload, half * 0.5) for half in range(round(seconds * 2) + 1)][-1]


@pytest.mark.parametrize(
    ("workload", "seconds", "expected"),
    [
        (COMPLIANT, 100.0, 0),
        (LATE, 4.5, 0),
        (LATE, 5.0, 1),
        (LATE, 10.0, 2),
        (LATE, 1000.0, 2),
        (replace(COMPLIANT, problem="fp16 is being made ready"), 100.0, 0),
        (replace(COMPLIANT, rate_hz=25.0), 9.5, 0),
        (replace(COMPLIANT, rate_hz=25.0), 10.0, 1),
        (replace(COMPLIANT, rate_hz=None), 100.0, 0),
        (replace(COMPLIANT, rate_hz=float("nan")), 100.0, 0),
        (replace(LATE, safety_critical=True), 100.0, 0),
    ],
)
def test_a_node_is_escalated_after_the_timeout(
    workload: Workload, seconds: float, expected: int
) -> None:
    assert escalation_after(workload, seconds) == expected


def test_a_late_node_that_makes_progress_is_not_escalated() -> None:
    watch = Acknowledgements()
    for second in range(100):
        late = node(directive_id=second // 3)
        assert escalation(watch, late, float(second), replace(DIRECTIVE, id=second // 3 + 1)) == 0


def test_an_escalation_ends_after_a_time_of_compliance() -> None:
    watch = Acknowledgements()
    assert escalation_after(LATE, 12.0, watch) == 2
    assert escalation(watch, COMPLIANT, 13.0) == 2
    assert escalation(watch, COMPLIANT, 72.0) == 2
    assert escalation(watch, COMPLIANT, 73.5) == 0


def test_a_full_level_needs_no_acknowledgement() -> None:
    free = replace(DIRECTIVE, level=DirectiveLevel.FULL, limits=DirectiveLimits())
    watch = Acknowledgements()
    assert [escalation(watch, LATE, float(s), free) for s in range(20)][-1] == 0


@pytest.mark.parametrize(("followed", "expected"), [("/ours", 0), ("/theirs", 2), ("", 2)])
def test_following_another_manager_does_not_count(followed: str, expected: int) -> None:
    workload = replace(COMPLIANT, manager=followed)
    assert escalation_after(workload, 20.0, Acknowledgements("/ours")) == expected


@pytest.mark.parametrize("preset", ["ramp", "predictive"])
def test_an_unresponsive_node_is_reduced_further_and_reported(preset: str) -> None:
    machine = Machine(Governor(GovernorSettings(preset=preset)), node())
    machine.run(zone(50.0), seconds=5)
    decision = machine.run(zone(76.5), seconds=30, compliant=False)
    directive = by_name(decision.directives)["/detector"]
    assert decision.severity == "warn"
    assert "/detector does not follow its directive" in decision.reason
    assert directive.level is DirectiveLevel.MINIMUM
    assert directive.limits == DirectiveLimits(
        max_rate_hz=3.0, max_batch=1, precision_ceiling="int8"
    )


def test_the_next_cheaper_engine_comes_first() -> None:
    machine = Machine(Governor(GovernorSettings(preset="predictive")), node())
    directives = [
        by_name(machine.run(zone(77.5), compliant=False).directives)["/detector"]
        for _ in range(200)
    ]
    ceilings = [each.limits.precision_ceiling for each in directives]
    assert list(dict.fromkeys(ceilings)) == ["fp16", "int8"]
    assert directives[ceilings.index("int8")].level is DirectiveLevel.REDUCED
    assert directives[-1].level is DirectiveLevel.MINIMUM


def test_power_that_stays_high_on_a_hot_machine_leads_to_the_minimum() -> None:
    machine = Machine(Governor(GovernorSettings(preset="predictive")), node())
    machine.run(zone(50.0), watts(20.0), seconds=60)
    decision = machine.run(zone(78.0), watts(20.0), seconds=60)
    assert "/detector does not follow its directive" in decision.reason
    assert by_name(decision.directives)["/detector"].level is DirectiveLevel.MINIMUM


@pytest.mark.parametrize("preset", ["ramp", "predictive"])
def test_a_node_that_received_no_directive_is_not_escalated(preset: str) -> None:
    standby = Machine(Governor(GovernorSettings(preset=preset)), node())
    for _ in range(60):
        decision = standby.run(zone(76.5), compliant=False)
        standby.governor.reset_escalations()
    assert "does not follow" not in decision.reason
    if preset == "ramp":  # the temperature itself reduces the node
        assert by_name(decision.directives)["/detector"].level is DirectiveLevel.REDUCED
