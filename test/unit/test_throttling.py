"""The throttling of the machine itself takes precedence over any temperature."""

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


def update(watch: ThrottleWatch, *readings: Reading, seconds: float = 0.5) -> tuple[str, ...]:
    active: tuple[str, ...] = ()
    for _ in range(round(seconds / 0.5)):
        active = watch.update(state(*readings), 0.5, 0.1)
    return active


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_without_an_alert_nothing_throttles(value: float) -> None:
    watch = ThrottleWatch()
    assert update(watch, alert(value), alert(0.0, COUNT, "oc1")) == ()
    assert watch.factor == 1.0


def test_the_factor_falls_while_an_alert_lasts_and_recovers_slowly() -> None:
    watch = ThrottleWatch()
    assert update(watch, alert(1.0)) == ("alert is 1",)
    assert watch.factor == pytest.approx(0.7)
    update(watch, alert(1.0), seconds=3.0)
    assert watch.factor == pytest.approx(0.49)
    update(watch, alert(1.0), seconds=60.0)
    assert watch.factor == pytest.approx(0.1)
    update(watch, alert(0.0), seconds=9.0)
    assert watch.factor == pytest.approx(0.1)
    update(watch, alert(0.0), seconds=20.0)
    assert 0.1 < watch.factor < 0.5
    update(watch, alert(0.0), seconds=60.0)
    assert watch.factor == 1.0


def test_a_counter_reports_throttling_only_when_it_rises() -> None:
    watch = ThrottleWatch()
    assert update(watch, alert(7.0, COUNT)) == ()
    assert update(watch, alert(7.0, COUNT)) == ()
    assert update(watch, alert(9.0, COUNT)) == ("alert rose to 9",)
    assert update(watch, alert(9.0, COUNT), seconds=5.0) == ("alert rose to 9",)
    assert update(watch, alert(9.0, COUNT)) == ()


def test_a_counter_that_falls_has_a_new_reference() -> None:
    watch = ThrottleWatch()
    update(watch, alert(7.0, COUNT))
    assert update(watch, alert(0.0, COUNT)) == ()
    assert update(watch, alert(1.0, COUNT)) == ("alert rose to 1",)


def test_a_counter_that_comes_back_higher_has_risen() -> None:
    watch = ThrottleWatch()
    update(watch, alert(7.0, COUNT))
    assert update(watch) == ()
    assert update(watch, alert(8.0, COUNT)) == ("alert rose to 8",)


@pytest.mark.parametrize("preset", ["ramp", "predictive"])
def test_nodes_are_reduced_at_once_on_a_cool_machine_that_throttles(preset: str) -> None:
    machine = Machine(Governor(GovernorSettings(preset=preset)), node())
    assert machine.run(zone(45.0), alert(0.0), seconds=5).level is DirectiveLevel.FULL
    decision = machine.run(zone(45.0), alert(1.0))
    assert decision.throttling == ("alert is 1",)
    assert decision.severity == "warn"
    assert "throttles: alert is 1" in decision.reason
    directives = by_name(decision.directives)
    assert directives["/detector"].level is DirectiveLevel.REDUCED
    assert directives[""].throttle_factor <= 0.7
    low = machine.run(zone(45.0), alert(1.0), seconds=60)
    assert by_name(low.directives)["/detector"].throttle_factor < 0.3
    assert machine.run(zone(45.0), alert(0.0), seconds=300).level is DirectiveLevel.FULL


def test_a_throttle_counter_reduces_as_an_alert_does() -> None:
    machine = Machine(Governor(GovernorSettings()), node())
    machine.run(zone(45.0), alert(3.0, COUNT), seconds=5)
    decision = machine.run(zone(45.0), alert(4.0, COUNT))
    assert by_name(decision.directives)["/detector"].throttle_factor == pytest.approx(0.7)


def test_critical_nodes_are_never_reduced_by_throttling() -> None:
    guard = node("/guard", safety_critical=True)
    decision = Machine(Governor(GovernorSettings()), guard).run(zone(95.0), alert(1.0), seconds=60)
    assert by_name(decision.directives)["/guard"].limits.is_free
