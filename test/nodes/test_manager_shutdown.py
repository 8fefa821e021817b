"""How the directives of a platform manager end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actuator_machine import Workshop
from edge_inference.core.directives.directive import DirectiveLimits
from edge_inference.errors import ActuatorError
from edge_inference.governor.governor import Governor
from edge_inference.governor.state import GovernorDecision
from edge_inference.nodes import throttle_client
from edge_inference.nodes.perception import inference
from edge_inference.nodes.platform import actuator_control
from edge_inference.nodes.platform.platform_reports import PlatformReports
from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.clock_cap import ClockCap
from manager_rig import TOPIC, FakeManager, last, manager, recorded
from perception_rig import Pipeline, offer_everything
from rig import Collected, Rig, wait_for
from rig import later as time_passes


@pytest.fixture(autouse=True)
def fast_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish state and workload ten times a second; offer points that are cheaper in theory."""
    monkeypatch.setattr(inference, "STATE_PERIOD_S", 0.1)
    offer_everything(monkeypatch)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advance the clock of throttle clients by some seconds at once."""
    return time_passes(monkeypatch, throttle_client)


def test_a_directive_ends_while_the_ros_clock_stands_still(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"manager_timeout_s": 600.0, "safe_rate_hz": 0.0, "use_sim_time": True}
    pipeline = Pipeline(rig, model="efficientnet_lite0", inference=settings)
    FakeManager(rig).send(7, max_rate_hz=2.0)
    wait_for(lambda: workloads and last(workloads).limits == DirectiveLimits(max_rate_hz=2.0))
    assert pipeline.inference.now_ns() == 0
    later(601.0)
    wait_for(lambda: last(workloads).limits.is_free, "the directive to end")


def is_followed(workloads: Collected) -> bool:
    return bool(workloads and last(workloads).directive_id)


def test_an_unloaded_manager_leaves_no_limit(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    directives = rig.tap(TOPIC)
    Pipeline(rig, model="efficientnet_lite0")
    # It asks for the minimum: it knows no temperature.
    component = rig.load_component("PlatformManager", recording=recorded("bare_machine"))
    wait_for(lambda: is_followed(workloads), "a directive to be followed")
    assert not last(workloads).limits.is_free
    rig.call(lambda: rig.container.unload(component.id))
    assert directives[-1].is_release
    wait_for(lambda: last(workloads).limits_source == "nothing", "the directive to end")
    assert last(workloads).limits.is_free


def test_a_manager_whose_process_ends_leaves_no_limit(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0", inference={"manager_timeout_s": 600.0})
    other = Rig()
    try:
        manager(other, "bare_machine")
        wait_for(lambda: is_followed(workloads), "a directive to be followed")
        assert not last(workloads).limits.is_free
    finally:
        other.close()
    wait_for(lambda: last(workloads).limits_source == "nothing", "the directive to end")
    later(601.0)
    count = len(workloads)
    assert workloads.wait(count + 2)[-1].limits.is_free


@pytest.mark.parametrize("preset", ["ramp", "off"])
@pytest.mark.parametrize("name", ["!first", "~last"])
@pytest.mark.parametrize("is_first", [True, False], ids=["foreign first", "own first"])
def test_the_own_manager_is_followed_after_a_foreign_one_crashes(
    rig: Rig, preset: str, name: str, is_first: bool
) -> None:
    """For either order of the starts, and of the names."""
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0", inference={"manager_timeout_s": 1.0})
    foreign = FakeManager(rig, name)
    directives = rig.tap(TOPIC)

    def is_own(workload) -> bool:
        own = workload.manager.startswith("/ai/platform_manager#")
        return own and workload.limits_source == "directive" and workload.limits.is_free

    def settled() -> bool:
        """Tell whether the own manager is followed for longer than it stands by for others."""
        return len(workloads) > 50 and all(map(is_own, workloads[-50:]))

    def foreign_sends() -> bool:
        foreign.send(7, max_rate_hz=2.0)
        return True

    if is_first:
        wait_for(
            lambda: foreign_sends() and workloads and last(workloads).manager == name,
            "the foreign manager",
        )
        manager(rig, preset=preset)
        count = len(directives)
        wait_for(lambda: foreign_sends() and len(directives) > count + 20, "both managers")
        assert last(workloads).limits == DirectiveLimits(max_rate_hz=2.0)
    else:
        manager(rig, preset=preset)
        wait_for(lambda: workloads and is_own(last(workloads)), "the own manager")
        count = len(directives)
        wait_for(lambda: foreign_sends() and len(directives) > count + 20, "both managers")
    # The foreign manager falls silent without a release directive.
    silent = len(workloads)
    wait_for(
        lambda: len(workloads) > silent + 50 and settled(), "the own manager to be followed again"
    )
    assert "also sends directives" not in last(workloads).problem


def test_a_crashed_foreign_manager_is_lost_without_another_one(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0", inference={"manager_timeout_s": 1.0})
    FakeManager(rig, "foreign").send(7, max_rate_hz=2.0)
    wait_for(lambda: workloads and last(workloads).limits_source == "safe_level", "the safe level")
    count = len(workloads)
    workloads.wait(count + 20)
    assert last(workloads).limits_source == "safe_level"
    assert last(workloads).limits == DirectiveLimits(max_rate_hz=5.0)
    # A manager that starts now is followed soon.
    manager(rig)
    wait_for(lambda: last(workloads).limits_source == "directive", "the new manager to be followed")
    assert last(workloads).limits.is_free


def test_a_deactivated_manager_counts_as_lost(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    directives = rig.tap(TOPIC)
    Pipeline(rig, model="efficientnet_lite0", inference={"manager_timeout_s": 600.0})
    node = manager(rig)
    wait_for(lambda: workloads and last(workloads).directive_id, "a directive to be followed")
    rig.call(node.trigger_deactivate)
    assert not any(each.is_release for each in directives)
    later(601.0)
    wait_for(lambda: last(workloads).limits_source == "safe_level", "the manager to be lost")


@pytest.mark.parametrize("fails", [False, True], ids=["working", "failing"])
def test_deactivation_lifts_the_clock_cap(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    workshop = Workshop(tmp_path)
    before = workshop.settings()
    caps: list[float | None] = [0.5]
    decide = Governor.decide

    def decide_with_cap(self: Governor, *arguments: Any) -> GovernorDecision:
        return replace(decide(self, *arguments), clock_cap=caps[0])

    monkeypatch.setattr(Governor, "decide", decide_with_cap)
    machine = workshop.machine()
    monkeypatch.setattr(actuator_control, "Actuators", partial(Actuators, machine=machine))
    allowed = ["gpu_clock_cap", "cpu_clock_cap"]
    node = rig.load("PlatformManager", rate_hz=10.0, actuators=allowed)
    wait_for(lambda: workshop.settings() != before, "the clock cap")
    if fails:
        monkeypatch.setattr(Governor, "decide", broken)
        wait_for(lambda: node.health.status(0).values.get("error: failed"), "failing updates")
    rig.call(node.trigger_deactivate)
    assert workshop.settings() == before
    # Without a cap of the new governor, activation leaves the clocks as they are.
    monkeypatch.setattr(Governor, "decide", decide_with_cap)
    caps[0] = None
    rig.call(node.trigger_activate)
    count = len(states := rig.tap("/ai/platform_state"))
    states.wait(count + 3)
    assert workshop.settings() == before
    # Then it caps them as before.
    caps[0] = 0.5
    wait_for(lambda: workshop.settings() != before, "the clock cap")
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_cleanup)
    assert workshop.settings() == before


def test_a_cap_that_cannot_be_lifted_is_reported(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = Workshop(tmp_path)
    before = workshop.settings()
    decide = Governor.decide
    monkeypatch.setattr(
        Governor, "decide", lambda self, *each: replace(decide(self, *each), clock_cap=0.5)
    )
    machine = workshop.machine()
    monkeypatch.setattr(actuator_control, "Actuators", partial(Actuators, machine=machine))
    node = rig.load("PlatformManager", rate_hz=10.0, actuators=["gpu_clock_cap"])
    wait_for(lambda: workshop.settings() != before, "the clock cap")
    wait_for(lambda: node.health.status(0).values.get("board"), "a step")
    with monkeypatch.context() as patch:
        patch.setattr(ClockCap, "restore", refuse)
        rig.call(node.trigger_deactivate)
    assert "gpu_clock_cap: the kernel refuses" in str(node.health.status(0))


def test_a_report_that_cannot_be_sent_does_not_hold_the_clock_cap_back(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = Workshop(tmp_path)
    before = workshop.settings()
    decide = Governor.decide
    monkeypatch.setattr(
        Governor, "decide", lambda self, *each: replace(decide(self, *each), clock_cap=0.5)
    )
    monkeypatch.setattr(PlatformReports, "publish", broken)
    machine = workshop.machine()
    monkeypatch.setattr(actuator_control, "Actuators", partial(Actuators, machine=machine))
    rig.load("PlatformManager", rate_hz=10.0, actuators=["gpu_clock_cap"])
    wait_for(lambda: workshop.settings() != before, "the clock cap")


def refuse(*_: Any) -> None:
    raise ActuatorError("the kernel refuses")


def broken(*_: Any) -> None:
    raise RuntimeError("a fault of the test")
