"""The whole governor: its directives for any state of the machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_inference.core.directives.directive import (
    DirectiveLevel,
    DirectiveLimits,
    OperatingPoint,
    Workload,
)
from edge_inference.governor.governor import Governor
from edge_inference.governor.settings import PRESETS, GovernorSettings
from governor_cases import (
    ENGINES,
    SECOND,
    START_NS,
    Machine,
    alert,
    by_name,
    node,
    state,
    watts,
    zone,
)

REDUCING = ("ramp", "predictive")


def machine(preset: str, *workloads: Workload, **more: Any) -> Machine:
    return Machine(Governor(GovernorSettings(preset=preset, **more)), *workloads)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_cool_machine_is_not_limited(preset: str) -> None:
    decision = machine(preset, node()).run(zone(40.0), watts(12.0), seconds=30)
    assert (decision.level, decision.severity, decision.throttling) == (
        DirectiveLevel.FULL,
        "ok",
        (),
    )
    assert decision.headroom == 0.0
    assert all(directive.limits.is_free for directive in decision.directives)


@pytest.mark.parametrize("preset", PRESETS)
def test_without_nodes_there_is_still_a_general_directive(preset: str) -> None:
    simulation = machine(preset)
    assert list(by_name(simulation.run(zone(40.0)).directives)) == [""]
    hot = simulation.run(zone(75.0), seconds=30)
    assert list(by_name(hot.directives)) == [""]
    if preset != "off":
        assert hot.directives[0].throttle_factor == pytest.approx(0.5, abs=0.05)


def test_off_limits_nothing_on_a_hot_machine() -> None:
    decision = machine("off", node()).run(zone(99.0), alert(1.0), seconds=30)
    assert (decision.level, decision.severity) == (DirectiveLevel.FULL, "warn")
    assert decision.headroom == pytest.approx(1 + 19 / 30)
    assert machine("off", node()).run().level is DirectiveLevel.FULL


@pytest.mark.parametrize("preset", REDUCING)
def test_manager_and_stamp_are_left_to_the_sender(preset: str) -> None:
    decision = machine(preset, node()).run(zone(75.0))
    assert {(each.manager, each.stamp_ns) for each in decision.directives} == {("", 0)}


@pytest.mark.parametrize("preset", REDUCING)
def test_ids_rise_only_with_a_change(preset: str) -> None:
    simulation = machine(preset, node(), node("/other", priority=3))
    first = simulation.run(zone(50.0)).directives
    assert len({each.id for each in first}) == 3
    assert simulation.run(zone(50.3), seconds=20).directives == first
    hot = simulation.run(zone(79.9), seconds=20).directives
    assert min(each.id for each in hot) > max(each.id for each in first)


def test_a_new_node_does_not_change_other_directives() -> None:
    simulation = machine("ramp", node())
    before = by_name(simulation.run(zone(75.0)).directives)["/detector"]
    simulation.workloads.append(node("/late"))
    after = by_name(simulation.run(zone(75.0)).directives)
    assert after["/detector"] == before
    assert after["/late"].id > before.id


def test_a_cool_machine_is_not_limited_while_the_power_model_learns() -> None:
    simulation = machine("predictive", node(), node("/guard", safety_critical=True))
    for second in range(120):
        guard = 10.0 + 5.0 * (second % 7)
        simulation.workloads[1] = replace(simulation.workloads[1], demand_hz=guard, rate_hz=guard)
        decision = simulation.run(zone(50.0), watts(6.0 + 0.3 * guard), seconds=1)
        assert decision.level is DirectiveLevel.FULL


def test_a_growing_demand_is_admitted_slowly() -> None:
    simulation = machine("predictive", node(demand_hz=5.0, rate_hz=5.0))
    simulation.run(zone(50.0), watts(10.0), seconds=30)
    simulation.workloads = [replace(each, demand_hz=30.0) for each in simulation.workloads]
    limits = by_name(simulation.run(zone(50.0), watts(10.0)).directives)["/detector"].limits
    assert limits.max_rate_hz is not None
    assert 5.0 <= limits.max_rate_hz < 10.0
    assert simulation.run(zone(50.0), watts(10.0), seconds=60).level is DirectiveLevel.FULL


def test_the_predictive_preset_changes_engines_before_rates() -> None:
    simulation = machine("predictive", node())
    directive = by_name(simulation.run(zone(78.0), seconds=20).directives)["/detector"]
    assert directive.level is DirectiveLevel.REDUCED
    assert directive.limits.precision_ceiling == "fp16"


def test_until_a_cheaper_engine_is_ready_the_rate_fits_the_engine_in_use() -> None:
    simulation = machine("predictive", node())
    simulation.engines_ready = False
    waiting = by_name(simulation.run(zone(78.0), seconds=20).directives)["/detector"]
    assert waiting.limits.precision_ceiling == "fp16"
    assert waiting.limits.max_rate_hz is not None
    simulation.engines_ready = True
    ready = by_name(simulation.run(zone(76.0), watts(20.0), seconds=20).directives)["/detector"]
    assert ready.limits == DirectiveLimits(precision_ceiling="fp16")


def test_the_directive_names_the_model_if_there_are_several() -> None:
    operating_points = (*ENGINES, OperatingPoint("small", "int8", 0.7, 3.0))
    simulation = machine("predictive", node(operating_points=operating_points))
    directive = by_name(simulation.run(zone(82.0), seconds=5).directives)["/detector"]
    assert directive.level is DirectiveLevel.MINIMUM
    assert (directive.limits.model, directive.limits.precision_ceiling) == ("small", "int8")


def test_lower_priorities_are_reduced_first() -> None:
    simulation = machine("predictive", node("/low", priority=1), node("/high", priority=2))
    simulation.run(zone(50.0), seconds=5)
    for _ in range(300):
        directives = by_name(simulation.run(zone(77.0)).directives)
        if directives["/high"].level is not DirectiveLevel.FULL:
            assert directives["/low"].level is not DirectiveLevel.FULL
    assert directives["/low"].throttle_factor < directives["/high"].throttle_factor


@pytest.mark.parametrize("preset", REDUCING)
def test_an_emergency_reduces_to_the_minimum_at_once(preset: str) -> None:
    simulation = machine(preset, node())
    simulation.run(zone(60.0), seconds=30)
    decision = simulation.run(zone(85.0), seconds=1.5)
    directive = by_name(decision.directives)["/detector"]
    assert (directive.level, directive.limits.max_rate_hz) == (DirectiveLevel.MINIMUM, 3.0)


@pytest.mark.parametrize("preset", REDUCING)
def test_too_hot_with_nothing_left_to_reduce_is_an_error(preset: str) -> None:
    guard = node("/guard", safety_critical=True)
    simulation = machine(preset, guard, node())
    simulation.run(zone(82.0), seconds=3)
    decision = simulation.run(zone(82.0), seconds=6)
    assert decision.severity == "error"
    assert "safety-critical models and the machine itself" in decision.reason
    assert simulation.run(zone(60.0), seconds=60).severity != "error"


@pytest.mark.parametrize("preset", REDUCING)
def test_with_only_critical_nodes_heat_is_reported_and_nothing_reduced(preset: str) -> None:
    decision = machine(preset, node("/guard", safety_critical=True)).run(zone(82.0), seconds=30)
    assert decision.severity == "error"
    assert by_name(decision.directives)["/guard"].level is DirectiveLevel.FULL


def test_settings_may_change_between_two_decisions() -> None:
    simulation = machine("ramp", node())
    assert simulation.run(zone(75.0)).level is DirectiveLevel.REDUCED
    simulation.governor.settings = replace(
        simulation.governor.settings, throttle_c=80.0, max_c=90.0
    )
    assert simulation.run(zone(74.0)).level is DirectiveLevel.FULL
    simulation.governor.settings = replace(
        simulation.governor.settings, preset="predictive", max_c=81.0
    )
    assert "budget" in simulation.run(zone(78.0), seconds=10).diagnostics
    simulation.governor.settings = replace(simulation.governor.settings, preset="off")
    assert simulation.run(zone(78.0)).level is DirectiveLevel.FULL


@pytest.mark.parametrize("preset", REDUCING)
def test_a_clock_that_stands_still_gives_a_decision(preset: str) -> None:
    governor = Governor(GovernorSettings(preset=preset))
    for _ in range(100):
        decision = governor.decide(state(zone(75.0), watts(20.0)), [node()], START_NS)
    assert decision.headroom == pytest.approx(1 - 5 / 30)


@pytest.mark.parametrize("preset", REDUCING)
@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_jump_of_the_clock_and_its_readings_loses_no_sensor(preset: str, jump_s: int) -> None:
    simulation = machine(preset, node())
    before = simulation.run(zone(72.0), watts(20.0), seconds=30)
    simulation.now_ns += jump_s * SECOND
    after = simulation.run(zone(72.0), watts(20.0))
    assert after.severity == before.severity == "ok"
    assert after.level is before.level
    assert simulation.run(zone(72.0), watts(20.0), seconds=30).level is before.level


@pytest.mark.parametrize("preset", REDUCING)
@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_readings_of_another_time_are_lost(preset: str, jump_s: int) -> None:
    governor = Governor(GovernorSettings(preset=preset))
    governor.decide(state(zone(50.0)), [node()], START_NS)
    old = state(zone(50.0))
    assert (
        governor.decide(old, [node()], START_NS + jump_s * SECOND).level is DirectiveLevel.FAILSAFE
    )


def _ceilings(simulation: Machine) -> set[str]:
    """Return all requested precision ceilings."""
    return {
        directive.limits.precision_ceiling
        for decision in simulation.decisions
        for directive in decision.directives
    }


@pytest.mark.parametrize("preset", REDUCING)
@pytest.mark.parametrize("int8_ms", [19.5, 20.0, 30.0])
def test_a_precision_that_is_measured_as_not_faster_is_not_requested(
    preset: str, int8_ms: float
) -> None:
    operating_points = (
        OperatingPoint("net", "fp32", 0.9, 20.0),
        OperatingPoint("net", "int8", 0.95, int8_ms),
    )
    simulation = machine(preset, node(operating_points=operating_points))
    simulation.run(zone(60.0), watts(12.0), seconds=5)
    simulation.run(zone(77.0), watts(14.0), seconds=60)
    simulation.run(zone(82.0), watts(14.0), seconds=20)
    simulation.run(zone(None), seconds=10)
    assert simulation.decisions[-1].level is DirectiveLevel.FAILSAFE
    assert _ceilings(simulation) <= {"", "fp32"}
    assert simulation.workloads[0].limits.max_rate_hz == 3.0


def test_an_assumed_cost_applies_until_it_is_measured() -> None:
    unknown = (OperatingPoint("net", "fp32", 1.0, 20.0), OperatingPoint("net", "int8", 0.9, None))
    simulation = machine("predictive", node(operating_points=unknown))
    simulation.run(zone(79.5), watts(14.0), seconds=20)
    assert "int8" in _ceilings(simulation)
    simulation.workloads = [
        replace(simulation.workloads[0], operating_points=unknown[:1], operating_point=0)
    ]  # withdrawn
    simulation.decisions.clear()
    simulation.run(zone(79.5), watts(14.0), seconds=30)
    assert _ceilings(simulation) <= {"", "fp32"}
    assert simulation.workloads[0].limits.max_rate_hz == 3.0


def test_an_old_index_does_not_select_among_new_operating_points() -> None:
    fp32, fp16, int8 = ENGINES
    simulation = machine("predictive", node(operating_points=(fp32, int8)), dwell_up_s=6000.0)
    simulation.run(zone(79.5), watts(14.0), seconds=20)
    simulation.run(zone(45.0), watts(12.0), seconds=300)
    assert (
        simulation.workloads[0].operating_point == 1
    )  # there is power to spare, but not for long enough
    simulation.workloads = [
        replace(simulation.workloads[0], operating_points=(fp32, fp16), operating_point=0)
    ]
    assert simulation.run(zone(45.0), watts(12.0)).level is DirectiveLevel.FULL
