"""The simulated machine, and the governor on it."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest

from benchmarks.thermal_machines import SCENARIOS, draw_cases, draw_feasible, draw_infeasible
from benchmarks.thermal_run import LOSSES, Trial, run
from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits
from edge_inference.core.reading import Role
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.simulated_node import (
    SimulatedEngine,
    SimulatedNode,
    SimulatedNodeParameters,
)
from edge_inference.governor.thermal_model import ThermalModel, ThermalModelParameters

QUIET = ThermalModelParameters(noise_c=0.0, power_noise=0.0)
ENGINES = (SimulatedEngine("fp32", 1.0, 0.4, 0.02), SimulatedEngine("int8", 0.9, 0.1, 0.005))
DETECTOR = SimulatedNodeParameters("/detector", ENGINES, 30.0, 3.0)


def make_machine(parameters: ThermalModelParameters = QUIET) -> ThermalModel:
    return ThermalModel(parameters, random.Random(1))


def directive(number: int, **limits: object) -> Directive:
    reduced = DirectiveLimits(**limits)  # type: ignore[arg-type]
    return Directive(number, "", "/detector", DirectiveLevel.REDUCED, 0.5, reduced, "hot")


@pytest.mark.parametrize("work_w", [0.0, 5.0, 10.0])
def test_the_die_settles_at_the_steady_state(work_w: float) -> None:
    machine = make_machine()
    machine.advance(7200.0, work_w)
    assert machine.die_c == pytest.approx(QUIET.steady_state_c(work_w), abs=0.1)


def test_leakage_can_run_away() -> None:
    leaky = replace(QUIET, leak_w=6.0, leak_scale_c=20.0)
    assert leaky.steady_state_c(10.0) == math.inf


def test_the_die_follows_power_and_ambient_temperature() -> None:
    machine = make_machine()
    machine.advance(5.0, 10.0)
    warm_c, sink_c = machine.die_c, machine.sink_c
    assert warm_c > sink_c > QUIET.ambient_c
    machine.parameters = replace(QUIET, ambient_c=45.0)
    machine.advance(600.0, 10.0)
    assert machine.die_c > warm_c + 20.0


def test_the_sensor_shows_the_die_with_a_delay() -> None:
    machine = make_machine(replace(QUIET, delay_s=2.0))
    machine.advance(10.0, 20.0)
    then_c = machine.die_c
    machine.advance(2.0, 20.0)
    hottest = machine.read_sensors(1).hottest
    assert hottest is not None
    assert hottest.value == pytest.approx(then_c)
    assert then_c < machine.die_c


def test_a_machine_may_have_no_power_sensor() -> None:
    assert make_machine().read_sensors(1).power_w == pytest.approx(QUIET.base_w)
    assert make_machine().read_sensors(1, with_power=False).power_w is None


def test_a_node_follows_with_a_delay_and_its_engine_later() -> None:
    node = SimulatedNode(DETECTOR, random.Random(1))
    node.receive(directive(1, max_rate_hz=10.0, precision_ceiling="int8"))
    assert node.workload().directive_id == 0
    node.advance(0.5)
    assert (node.rate_hz, node.engine, node.workload().directive_id) == (10.0, 0, 1)
    assert node.workload().operating_points[1].process_ms is None
    node.advance(2.0)
    assert (node.engine, node.engine_changes) == (1, 1)
    assert node.utility == pytest.approx(9.0)
    assert node.workload().operating_points[1].process_ms == pytest.approx(5.0, rel=0.1)


def test_a_node_follows_directives_that_change_all_the_time() -> None:
    node = SimulatedNode(replace(DETECTOR, response_s=1.0), random.Random(1))
    for number in range(1, 11):
        node.receive(directive(number, max_rate_hz=10.0))
        node.advance(0.5)
    assert node.rate_hz == 10.0


def test_a_critical_node_refuses_limits() -> None:
    node = SimulatedNode(replace(DETECTOR, safety_critical=True), random.Random(1))
    node.receive(directive(1, max_rate_hz=1.0))
    node.advance(5.0)
    assert (node.rate_hz, node.workload().directive_id) == (30.0, 1)


def test_machines_are_the_same_for_the_same_seed_and_of_all_scenarios() -> None:
    assert list(itertools.islice(draw_cases(3), 8)) == list(itertools.islice(draw_cases(3), 8))
    assert {case.scenario for case in draw_feasible(3, 8)} == set(SCENARIOS)
    assert all(
        case.minimum_work_c() <= 79.0 < 80.0 < case.full_work_c() for case in draw_feasible(3, 8)
    )
    assert all(case.minimum_work_c() >= 81.0 for case in draw_infeasible(3, 4))


@pytest.mark.parametrize("with_power", [True, False])
def test_the_predictive_preset_has_more_utility_and_keeps_the_limit(with_power: bool) -> None:
    case = draw_feasible(3, 1)[0]
    # Long enough to heat up and settle; benchmarks/thermal.py runs whole hours.
    predictive = run(
        Trial(case, GovernorSettings(preset="predictive"), 900.0, with_power=with_power)
    )
    ramp = run(Trial(case, GovernorSettings(), 900.0, with_power=with_power))
    assert not predictive.exceeds_limit
    assert predictive.utility > ramp.utility
    assert predictive.critical_share == ramp.critical_share == 1.0


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_sensor_leads_to_the_minimum_rate_within_five_seconds(loss: str) -> None:
    trial = Trial(draw_feasible(3, 1)[0], GovernorSettings(), 140.0, lost_s=100.0, loss=loss)
    outcome = run(trial)
    assert outcome.min_rate_s is not None
    assert outcome.min_rate_s <= 5.0


def test_a_machine_that_cannot_be_kept_cool_is_an_error() -> None:
    case = draw_infeasible(3, 2)[1]  # the second one heats up fastest
    settings = GovernorSettings(preset="predictive")
    outcome = run(Trial(case, settings, 3600.0, until_error=True))
    assert outcome.first_error_s is not None
    assert outcome.critical_share == 1.0


def test_power_and_temperature_have_their_roles() -> None:
    roles = {reading.role for reading in make_machine().read_sensors(1).readings}
    assert roles == {Role.CONTROL, Role.TOTAL_POWER}
