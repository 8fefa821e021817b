"""What holds when the machine's heat is not known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.core.settings import rules
from edge_inference.governor.governor import Governor
from edge_inference.governor.ramping import RampPreset
from edge_inference.governor.settings import GovernorSettings
from governor_cases import SECOND, START_NS, Machine, by_name, node, state, watts, zone

PRESETS = ("ramp", "predictive")


def machine(preset: str = "ramp", **settings: object) -> Machine:
    guard = node("/guard", safety_critical=True, priority=9)
    return Machine(Governor(GovernorSettings(preset=preset, **settings)), guard, node())  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", PRESETS)
def test_without_a_sensor_at_the_start_nodes_are_at_the_safe_level_at_once(preset: str) -> None:
    decision = machine(preset).see()
    asked = by_name(decision.directives)
    assert decision.severity == "error"
    assert "no temperature to go by" in decision.reason
    assert decision.headroom is None
    assert asked["/detector"].level is asked[""].level is DirectiveLevel.FAILSAFE
    limits = asked["/detector"].limits
    assert (limits.max_rate_hz, limits.max_batch, limits.precision_ceiling) == (3.0, 1, "int8")
    assert (asked[""].limits.max_rate_hz, asked[""].limits.max_batch) == (1.0, 1)
    assert asked["/guard"].level is DirectiveLevel.FULL
    assert asked["/guard"].limits.is_free


@pytest.mark.parametrize("preset", PRESETS)
def test_a_machine_without_sensors_works_where_that_is_allowed(preset: str) -> None:
    decision = machine(preset, allow_unmonitored=True).see()
    assert (decision.level, decision.severity) == (DirectiveLevel.FULL, "warn")
    assert "no temperature that decides was ever read" in decision.reason


def test_a_manager_that_has_asked_nothing_yet_has_nothing_that_could_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = machine()
    with monkeypatch.context() as broken:
        broken.setattr(RampPreset, "plan", lambda self, situation: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            seen.see(zone(50.0))
    assert seen.see().level is DirectiveLevel.FAILSAFE


def test_every_preset_has_a_planner_of_its_own() -> None:
    (choices,) = [rules(GovernorSettings)["preset"].choices]
    for preset in choices:
        decided = machine(preset).see(zone(50.0))
        assert decided.severity == "ok", preset
    with pytest.raises(KeyError):
        machine("turbo").see(zone(50.0))


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
    "gated, all of them": (zone(None, status=ReadingStatus.GATED),),
    "not a number": (zone(math.nan),),
    "infinite": (zone(math.inf),),
    "of no control": (Reading("zone/x", Quantity.TEMPERATURE, 40.0, "test", START_NS),),
    "no temperature": (
        Reading("zone/tj", Quantity.POWER, 40.0, "test", START_NS, role=Role.CONTROL),
    ),
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_a_lost_sensor_leads_to_the_safe_level_within_the_timeout(
    lost: tuple[Reading, ...], preset: str
) -> None:
    seen = machine(preset, allow_unmonitored=True)
    seen.see(zone(50.0), seconds=10)
    before = seen.decisions[-1].directives
    waiting = seen.see(*lost, seconds=2.5)
    assert waiting.directives == before
    assert waiting.severity == "warn"
    decision = seen.see(*lost, seconds=1.0)
    assert decision.severity == "error"
    assert by_name(decision.directives)["/detector"].level is DirectiveLevel.FAILSAFE
    assert by_name(decision.directives)["/guard"].level is DirectiveLevel.FULL


def test_a_reading_that_is_repeated_with_its_old_stamp_is_lost_too() -> None:
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


def test_a_sensor_that_comes_and_goes_does_not_lift_the_safe_level() -> None:
    seen = machine()
    seen.see(zone(50.0), seconds=5)
    seen.see(seconds=5)
    for _ in range(5):
        assert seen.see(zone(50.0), seconds=1.5).level is DirectiveLevel.FAILSAFE
        assert seen.see(seconds=1.5).level is DirectiveLevel.FAILSAFE
    assert seen.see(zone(50.0), seconds=4).level is DirectiveLevel.FULL


def test_after_the_safe_level_the_predictive_preset_comes_back_slowly() -> None:
    seen = machine("predictive")
    seen.see(zone(50.0), seconds=5)
    seen.see(seconds=5)
    back = seen.see(zone(50.0), seconds=5)
    asked = by_name(back.directives)["/detector"]
    assert asked.level is not DirectiveLevel.FULL
    assert asked.limits.precision_ceiling == "int8"
    assert seen.see(zone(50.0), seconds=300).level is DirectiveLevel.FULL


def test_while_one_zone_is_left_it_decides_alone_and_that_is_said() -> None:
    seen = machine()
    seen.see(zone(50.0, "zone/cpu"), zone(60.0, "zone/tj"), seconds=5)
    decision = seen.see(zone(50.0, "zone/cpu"), seconds=10)
    assert decision.severity == "warn"
    assert "without zone/tj, limits 10.0 °C lower instead" in decision.reason
    assert decision.level is DirectiveLevel.FULL
    # The lost zone was 10 degrees hotter: 65 here is 75 there.
    factor = by_name(seen.see(zone(65.0, "zone/cpu")).directives)["/detector"].throttle_factor
    assert factor == pytest.approx(0.5)


def test_a_cooler_zone_that_is_lost_lowers_nothing() -> None:
    seen = machine()
    seen.see(zone(50.0, "zone/cpu"), zone(60.0, "zone/tj"), seconds=5)
    decision = seen.see(zone(69.0, "zone/tj"), seconds=5)
    assert (decision.level, decision.severity) == (DirectiveLevel.FULL, "warn")


def test_a_zone_that_is_gated_is_not_missed() -> None:
    seen = machine()
    seen.see(zone(50.0, "zone/gpu"), zone(60.0, "zone/tj"), seconds=5)
    decision = seen.see(zone(None, "zone/gpu", status=ReadingStatus.GATED), zone(60.0, "zone/tj"))
    assert decision.severity == "ok"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("made_up", [-256.0, 0.0, 45.0])
def test_power_alone_is_no_temperature(preset: str, made_up: float) -> None:
    """A fall-back value in a reading that is not OK cannot even be written down."""
    with pytest.raises(ValueError, match="with status stale"):
        zone(made_up, status=ReadingStatus.STALE)
    assert machine(preset).see(watts(10.0)).level is DirectiveLevel.FAILSAFE


@pytest.mark.parametrize("preset", PRESETS)
def test_what_holds_without_a_temperature_is_nothing_for_who_has_become_critical(
    preset: str,
) -> None:
    hot = machine(preset)
    before = hot.see(zone(79.5), watts(20.0), seconds=20.0)
    assert by_name(before.directives)["/detector"].level is DirectiveLevel.MINIMUM
    hot.workloads = [replace(each, safety_critical=True) for each in hot.workloads]
    decision = hot.see(zone(None))
    assert "what was asked holds" in decision.reason
    asked = by_name(decision.directives)
    assert asked["/detector"].limits.is_free
    assert asked["/detector"].id > by_name(before.directives)["/detector"].id
