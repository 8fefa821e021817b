"""The safe level while the temperature of the machine is unknown."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.core.settings import rules
from edge_inference.governor.governor import Governor
from edge_inference.governor.ramp import RampPreset
from edge_inference.governor.settings import GovernorSettings
from governor_cases import SECOND, START_NS, Machine, by_name, node, state, watts, zone

PRESETS = ("ramp", "predictive")


def machine(preset: str = "ramp", **settings: object) -> Machine:
    guard = node("/guard", safety_critical=True, priority=9)
    return Machine(Governor(GovernorSettings(preset=preset, **settings)), guard, node())  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", PRESETS)
def test_without_a_sensor_at_the_start_the_safe_level_applies_at_once(preset: str) -> None:
    decision = machine(preset).run()
    directives = by_name(decision.directives)
    assert decision.severity == "error"
    assert "no control temperature" in decision.reason
    assert decision.headroom is None
    assert directives["/detector"].level is directives[""].level is DirectiveLevel.FAILSAFE
    limits = directives["/detector"].limits
    assert (limits.max_rate_hz, limits.max_batch, limits.precision_ceiling) == (3.0, 1, "int8")
    assert (directives[""].limits.max_rate_hz, directives[""].limits.max_batch) == (1.0, 1)
    assert directives["/guard"].level is DirectiveLevel.FULL
    assert directives["/guard"].limits.is_free


@pytest.mark.parametrize("preset", PRESETS)
def test_a_machine_without_sensors_runs_at_full_speed_if_allowed(preset: str) -> None:
    decision = machine(preset, allow_unmonitored=True).run()
    assert (decision.level, decision.severity) == (DirectiveLevel.FULL, "warn")
    assert "no control temperature was ever read" in decision.reason


def test_before_the_first_directive_none_can_stay_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulation = machine()
    with monkeypatch.context() as patch:
        patch.setattr(RampPreset, "plan", lambda self, state: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            simulation.run(zone(50.0))
    assert simulation.run().level is DirectiveLevel.FAILSAFE


def test_every_preset_has_an_implementation() -> None:
    (choices,) = [rules(GovernorSettings)["preset"].choices]
    for preset in choices:
        decision = machine(preset).run(zone(50.0))
        assert decision.severity == "ok", preset
    with pytest.raises(KeyError):
        machine("turbo").run(zone(50.0))


LOST = {
    "gone": (),
    "absent": (zone(None, status=ReadingStatus.ABSENT),),
    "stale": (zone(None, status=ReadingStatus.STALE),),
    "invalid": (
        zone(
            None,
            status=ReadingStatus.INVALID,
        ),
    ),
    "all gated": (zone(None, status=ReadingStatus.GATED),),
    "not a number": (zone(math.nan),),
    "infinite": (zone(math.inf),),
    "not a control zone": (Reading("zone/x", Quantity.TEMPERATURE, 40.0, "test", START_NS),),
    "no temperature": (
        Reading("zone/tj", Quantity.POWER, 40.0, "test", START_NS, role=Role.CONTROL),
    ),
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_a_lost_sensor_leads_to_the_safe_level_after_the_timeout(
    lost: tuple[Reading, ...], preset: str
) -> None:
    simulation = machine(preset, allow_unmonitored=True)
    simulation.run(zone(50.0), seconds=10)
    before = simulation.decisions[-1].directives
    waiting = simulation.run(*lost, seconds=2.5)
    assert waiting.directives == before
    assert waiting.severity == "warn"
    decision = simulation.run(*lost, seconds=1.0)
    assert decision.severity == "error"
    assert by_name(decision.directives)["/detector"].level is DirectiveLevel.FAILSAFE
    assert by_name(decision.directives)["/guard"].level is DirectiveLevel.FULL


def test_a_reading_with_an_old_stamp_is_lost() -> None:
    governor = Governor(GovernorSettings())
    frozen = state(zone(50.0))
    for halves in range(6):
        assert (
            governor.decide(frozen, [node()], START_NS + halves * SECOND // 2).level
            is DirectiveLevel.FULL
        )
    for halves in range(6, 16):
        decision = governor.decide(frozen, [node()], START_NS + halves * SECOND // 2)
    assert decision.level is DirectiveLevel.FAILSAFE


def test_a_reading_from_the_future_is_lost() -> None:
    """Its age would never grow while the clock that it has catches up."""
    ahead = state(zone(50.0), now_ns=START_NS + 10 * SECOND)
    decision = Governor(GovernorSettings()).decide(ahead, [node()], START_NS)
    assert decision.level is DirectiveLevel.FAILSAFE


def test_an_intermittent_sensor_does_not_end_the_safe_level() -> None:
    simulation = machine()
    simulation.run(zone(50.0), seconds=5)
    simulation.run(seconds=5)
    for _ in range(5):
        assert simulation.run(zone(50.0), seconds=1.5).level is DirectiveLevel.FAILSAFE
        assert simulation.run(seconds=1.5).level is DirectiveLevel.FAILSAFE
    assert simulation.run(zone(50.0), seconds=4).level is DirectiveLevel.FULL


def test_after_the_safe_level_the_predictive_preset_recovers_slowly() -> None:
    simulation = machine("predictive")
    simulation.run(zone(50.0), seconds=5)
    simulation.run(seconds=5)
    back = simulation.run(zone(50.0), seconds=5)
    directive = by_name(back.directives)["/detector"]
    assert directive.level is not DirectiveLevel.FULL
    assert directive.limits.precision_ceiling == "int8"
    assert simulation.run(zone(50.0), seconds=300).level is DirectiveLevel.FULL


def test_a_remaining_zone_has_lower_limits_and_a_warning() -> None:
    simulation = machine()
    simulation.run(zone(50.0, "zone/cpu"), zone(60.0, "zone/tj"), seconds=5)
    decision = simulation.run(zone(50.0, "zone/cpu"), seconds=10)
    assert decision.severity == "warn"
    assert "without zone/tj, limits 10.0 °C lower instead" in decision.reason
    assert decision.level is DirectiveLevel.FULL
    # The lost zone was 10 °C hotter: 65 °C in this zone means 75 °C in that one.
    factor = by_name(simulation.run(zone(65.0, "zone/cpu")).directives)["/detector"].throttle_factor
    assert factor == pytest.approx(0.5)


def test_a_lost_cooler_zone_lowers_no_limit() -> None:
    simulation = machine()
    simulation.run(zone(50.0, "zone/cpu"), zone(60.0, "zone/tj"), seconds=5)
    decision = simulation.run(zone(69.0, "zone/tj"), seconds=5)
    assert (decision.level, decision.severity) == (DirectiveLevel.FULL, "warn")


def test_a_gated_zone_is_not_lost() -> None:
    simulation = machine()
    simulation.run(zone(50.0, "zone/gpu"), zone(60.0, "zone/tj"), seconds=5)
    decision = simulation.run(
        zone(None, "zone/gpu", status=ReadingStatus.GATED), zone(60.0, "zone/tj")
    )
    assert decision.severity == "ok"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("placeholder", [-256.0, 0.0, 45.0])
def test_power_does_not_replace_a_temperature(preset: str, placeholder: float) -> None:
    """A reading that is not OK cannot hold a placeholder value."""
    with pytest.raises(ValueError, match="with status stale"):
        zone(placeholder, status=ReadingStatus.STALE)
    assert machine(preset).run(watts(10.0)).level is DirectiveLevel.FAILSAFE


@pytest.mark.parametrize("preset", PRESETS)
def test_directives_in_force_do_not_limit_a_node_that_becomes_critical(
    preset: str,
) -> None:
    simulation = machine(preset)
    before = simulation.run(zone(79.5), watts(20.0), seconds=20.0)
    assert by_name(before.directives)["/detector"].level is DirectiveLevel.MINIMUM
    simulation.workloads = [replace(each, safety_critical=True) for each in simulation.workloads]
    decision = simulation.run(zone(None))
    assert "the last directives stay in force" in decision.reason
    directives = by_name(decision.directives)
    assert directives["/detector"].limits.is_free
    assert directives["/detector"].id > by_name(before.directives)["/detector"].id


def pack(value: float | None = 30.0) -> Reading:
    return zone(value, "pack/temperature", limit=55.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_sensor_with_a_limit_of_its_own_does_not_stand_for_the_processor(preset: str) -> None:
    simulation = machine(preset)
    assert simulation.run(zone(50.0), pack(), seconds=5).level is DirectiveLevel.FULL
    lost = simulation.run(zone(None), pack(), seconds=5)
    assert (lost.level, lost.severity) == (DirectiveLevel.FAILSAFE, "error")
    assert "zone/tj" in lost.reason


@pytest.mark.parametrize("preset", PRESETS)
def test_a_processor_is_protected_while_a_sensor_with_a_limit_is_lost(preset: str) -> None:
    simulation = machine(preset)
    simulation.run(zone(50.0), pack(), seconds=5)
    lost = simulation.run(zone(50.0), pack(None), seconds=5)
    assert lost.level is DirectiveLevel.FULL
    assert "without pack/temperature" in lost.reason


def test_a_machine_with_nothing_but_a_limited_sensor_is_sensed() -> None:
    assert machine().run(pack(), seconds=5).level is DirectiveLevel.FULL
    assert machine().run(pack(54.0), seconds=5).level is not DirectiveLevel.FULL


@pytest.mark.parametrize("preset", PRESETS)
def test_a_limited_sensor_does_not_stand_for_a_processor_that_is_not_found(preset: str) -> None:
    """Nothing but the problem tells of temperatures whose probe fails from the start."""
    simulation = machine(preset)
    simulation.problem = "sensor kind thermal_zones: the probe failed: OSError"
    assert simulation.run(pack(), seconds=5).level is DirectiveLevel.FAILSAFE
