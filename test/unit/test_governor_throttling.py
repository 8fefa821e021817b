"""What the machine itself says of throttling counts more than any temperature."""

from __future__ import annotations

import math

import pytest

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.reading import Quantity, Reading
from edge_inference.governor.governor import Governor
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.throttling import ThrottleWatch
from governor_cases import Machine, alert, by_name, node, state, zone

COUNT = Quantity.COUNT


def look(watch: ThrottleWatch, *readings: Reading, seconds: float = 0.5) -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for _ in range(round(seconds / 0.5)):
        found = watch.look(state(*readings), 0.5, 0.1)
    return found


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_no_alert_no_throttling(value: float) -> None:
    watch = ThrottleWatch()
    assert look(watch, alert(value), alert(0.0, COUNT, "oc1")) == ()
    assert watch.factor == 1.0


def test_an_alert_takes_more_the_longer_it_holds_and_gives_back_slowly() -> None:
    watch = ThrottleWatch()
    assert look(watch, alert(1.0)) == ("alert is 1",)
    assert watch.factor == pytest.approx(0.7)
    look(watch, alert(1.0), seconds=3.0)
    assert watch.factor == pytest.approx(0.49)
    look(watch, alert(1.0), seconds=60.0)
    assert watch.factor == pytest.approx(0.1)
    look(watch, alert(0.0), seconds=9.0)
    assert watch.factor == pytest.approx(0.1)
    look(watch, alert(0.0), seconds=20.0)
    assert 0.1 < watch.factor < 0.5
    look(watch, alert(0.0), seconds=60.0)
    assert watch.factor == 1.0


def test_a_count_tells_only_when_it_rises() -> None:
    watch = ThrottleWatch()
    assert look(watch, alert(7.0, COUNT)) == ()
    assert look(watch, alert(7.0, COUNT)) == ()
    assert look(watch, alert(9.0, COUNT)) == ("alert rose to 9",)
    assert look(watch, alert(9.0, COUNT), seconds=5.0) == ("alert rose to 9",)
    assert look(watch, alert(9.0, COUNT)) == ()


def test_a_count_that_falls_is_a_new_beginning() -> None:
    watch = ThrottleWatch()
    look(watch, alert(7.0, COUNT))
    assert look(watch, alert(0.0, COUNT)) == ()
    assert look(watch, alert(1.0, COUNT)) == ("alert rose to 1",)


def test_a_count_that_vanished_and_came_back_higher_rose() -> None:
    watch = ThrottleWatch()
    look(watch, alert(7.0, COUNT))
    assert look(watch) == ()
    assert look(watch, alert(8.0, COUNT)) == ("alert rose to 8",)


@pytest.mark.parametrize("preset", ["ramp", "predictive"])
def test_a_cool_machine_that_throttles_is_asked_for_less_at_once(preset: str) -> None:
    machine = Machine(Governor(GovernorSettings(preset=preset)), node())
    assert machine.see(zone(45.0), alert(0.0), seconds=5).level is DirectiveLevel.FULL
    decision = machine.see(zone(45.0), alert(1.0))
    assert decision.throttling == ("alert is 1",)
    assert decision.severity == "warn"
    assert "slows itself down: alert is 1" in decision.reason
    asked = by_name(decision.directives)
    assert asked["/detector"].level is DirectiveLevel.REDUCED
    assert asked[""].throttle_factor <= 0.7
    low = machine.see(zone(45.0), alert(1.0), seconds=60)
    assert by_name(low.directives)["/detector"].throttle_factor < 0.3
    assert machine.see(zone(45.0), alert(0.0), seconds=300).level is DirectiveLevel.FULL


def test_counts_of_throttling_reduce_as_an_alert_does() -> None:
    machine = Machine(Governor(GovernorSettings()), node())
    machine.see(zone(45.0), alert(3.0, COUNT), seconds=5)
    decision = machine.see(zone(45.0), alert(4.0, COUNT))
    assert by_name(decision.directives)["/detector"].throttle_factor == pytest.approx(0.7)


def test_critical_nodes_are_left_alone_however_it_throttles() -> None:
    guard = node("/guard", safety_critical=True)
    decision = Machine(Governor(GovernorSettings()), guard).see(zone(95.0), alert(1.0), seconds=60)
    assert by_name(decision.directives)["/guard"].limits.is_free
