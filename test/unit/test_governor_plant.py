"""The simulated machine, and the governor on it for some minutes."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest

from benchmarks.thermal_machines import SCENARIOS, draw, feasible, infeasible
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


def plant(parameters: ThermalModelParameters = QUIET) -> ThermalModel:
    return ThermalModel(parameters, random.Random(1))


def directive(number: int, **limits: object) -> Directive:
    made = DirectiveLimits(**limits)  # type: ignore[arg-type]
    return Directive(number, "", "/detector", DirectiveLevel.REDUCED, 0.5, made, "hot")


@pytest.mark.parametrize("work_w", [0.0, 5.0, 10.0])
def test_the_die_settles_where_it_is_said_to(work_w: float) -> None:
    machine = plant()
    machine.advance(7200.0, work_w)
    assert machine.die_c == pytest.approx(QUIET.settles_at_c(work_w), abs=0.1)


def test_leakage_can_run_away() -> None:
    leaky = replace(QUIET, leak_w=6.0, leak_scale_c=20.0)
    assert leaky.settles_at_c(10.0) == math.inf


def test_heat_follows_power_and_air() -> None:
    machine = plant()
    machine.advance(5.0, 10.0)
    warm_c, sink_c = machine.die_c, machine.sink_c
    assert warm_c > sink_c > QUIET.ambient_c
    machine.parameters = replace(QUIET, ambient_c=45.0)
    machine.advance(600.0, 10.0)
    assert machine.die_c > warm_c + 20.0


def test_the_sensor_shows_the_die_a_little_late() -> None:
    machine = plant(replace(QUIET, delay_s=2.0))
    machine.advance(10.0, 20.0)
    then_c = machine.die_c
    machine.advance(2.0, 20.0)
    hottest = machine.sense(1).hottest
    assert hottest is not None
    assert hottest.value == pytest.approx(then_c)
    assert then_c < machine.die_c


def test_a_machine_may_have_no_power_sensor() -> None:
    assert plant().sense(1).power_w == pytest.approx(QUIET.base_w)
    assert plant().sense(1, with_power=False).power_w is None


def test_a_node_follows_after_a_while_and_its_engine_later() -> None:
    node = SimulatedNode(DETECTOR, random.Random(1))
    node.hear(directive(1, max_rate_hz=10.0, precision_ceiling="int8"))
    assert node.workload().directive_id == 0
    node.advance(0.5)
    assert (node.rate_hz, node.engine, node.workload().directive_id) == (10.0, 0, 1)
    assert node.workload().operating_points[1].process_ms is None
    node.advance(2.0)
    assert (node.engine, node.engine_changes) == (1, 1)
    assert node.utility == pytest.approx(9.0)
    assert node.workload().operating_points[1].process_ms == pytest.approx(5.0, rel=0.1)


def test_a_node_that_hears_something_new_all_the_time_still_follows() -> None:
    node = SimulatedNode(replace(DETECTOR, follows_after_s=1.0), random.Random(1))
    for number in range(1, 11):
        node.hear(directive(number, max_rate_hz=10.0))
        node.advance(0.5)
    assert node.rate_hz == 10.0


def test_a_critical_node_refuses() -> None:
    node = SimulatedNode(replace(DETECTOR, safety_critical=True), random.Random(1))
    node.hear(directive(1, max_rate_hz=1.0))
    node.advance(5.0)
    assert (node.rate_hz, node.workload().directive_id) == (30.0, 1)


def test_machines_are_the_same_for_the_same_seed_and_of_all_scenarios() -> None:
    assert list(itertools.islice(draw(3), 8)) == list(itertools.islice(draw(3), 8))
    assert {case.scenario for case in feasible(3, 8)} == set(SCENARIOS)
    assert all(case.least_c() <= 79.0 < 80.0 < case.everything_c() for case in feasible(3, 8))
    assert all(case.least_c() >= 81.0 for case in infeasible(3, 4))


@pytest.mark.parametrize("with_power", [True, False])
def test_the_predictive_preset_does_more_and_stays_below(with_power: bool) -> None:
    case = feasible(3, 1)[0]
    # Long enough to become hot and settle; whole hours are what benchmarks/thermal.py runs.
    ours = run(Trial(case, GovernorSettings(preset="predictive"), 900.0, with_power=with_power))
    ramp = run(Trial(case, GovernorSettings(), 900.0, with_power=with_power))
    assert not ours.passes_limit
    assert ours.utility > ramp.utility
    assert ours.critical_share == ramp.critical_share == 1.0


@pytest.mark.parametrize("loss", LOSSES)
def test_a_sensor_that_is_lost_leads_to_the_least_within_five_seconds(loss: str) -> None:
    trial = Trial(feasible(3, 1)[0], GovernorSettings(), 140.0, lost_s=100.0, loss=loss)
    outcome = run(trial)
    assert outcome.slow_s is not None
    assert outcome.slow_s <= 5.0


def test_a_machine_that_cannot_be_kept_cool_is_an_error() -> None:
    case = infeasible(3, 2)[1]  # the second becomes hot soonest
    settings = GovernorSettings(preset="predictive")
    outcome = run(Trial(case, settings, 3600.0, until_error=True))
    assert outcome.first_error_s is not None
    assert outcome.critical_share == 1.0


def test_power_and_temperature_have_their_roles() -> None:
    roles = {reading.role for reading in plant().sense(1).readings}
    assert roles == {Role.CONTROL, Role.TOTAL_POWER}
