"""How what a platform manager has asked comes to its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge_inference.core.directives.directive import DirectiveLimits
from edge_inference.nodes import throttle_client
from edge_inference.nodes.perception import inference
from manager_rig import TOPIC, Asker, last, manager, recorded
from perception_rig import Pipeline, offer_everything
from rig import Collected, Rig, wait_for
from rig import later as time_passes


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell state and workload ten times a second, and offer what is cheaper in theory."""
    monkeypatch.setattr(inference, "STATE_PERIOD_S", 0.1)
    offer_everything(monkeypatch)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass at once for nodes that are managed."""
    return time_passes(monkeypatch, throttle_client)


def test_a_clock_that_stands_still_keeps_no_directive(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"manager_timeout_s": 600.0, "safe_rate_hz": 0.0, "use_sim_time": True}
    pipeline = Pipeline(rig, model="efficientnet_lite0", inference=settings)
    Asker(rig).ask(7, max_rate_hz=2.0)
    wait_for(lambda: workloads and last(workloads).limits == DirectiveLimits(max_rate_hz=2.0))
    assert pipeline.inference.now_ns() == 0
    later(601.0)
    wait_for(lambda: last(workloads).limits.is_free, "the directive to end")


def is_obeyed(workloads: Collected) -> bool:
    return bool(workloads and last(workloads).directive_id)


def test_a_manager_that_is_unloaded_leaves_no_limit(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    asked = rig.tap(TOPIC)
    Pipeline(rig, model="efficientnet_lite0")
    # It asks for the least, as it knows no temperature.
    component = rig.load_component("PlatformManager", recording=recorded("bare_machine"))
    wait_for(lambda: is_obeyed(workloads), "a directive to be obeyed")
    assert not last(workloads).limits.is_free
    rig.call(lambda: rig.container.unload(component.id))
    assert asked[-1].is_release
    wait_for(lambda: last(workloads).obeys == "nothing", "the directive to end")
    assert last(workloads).limits.is_free


def test_a_manager_whose_process_ends_leaves_no_limit(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0", inference={"manager_timeout_s": 600.0})
    other = Rig()
    try:
        manager(other, "bare_machine")
        wait_for(lambda: is_obeyed(workloads), "a directive to be obeyed")
        assert not last(workloads).limits.is_free
    finally:
        other.close()
    wait_for(lambda: last(workloads).obeys == "nothing", "the directive to end")
    later(601.0)
    told = len(workloads)
    assert workloads.wait(told + 2)[-1].limits.is_free


@pytest.mark.parametrize("preset", ["ramp", "off"])
@pytest.mark.parametrize("name", ["!first", "~last"])
@pytest.mark.parametrize("is_first", [True, False], ids=["before ours", "beside ours"])
def test_our_own_manager_counts_again_after_a_foreign_one_that_crashed(
    rig: Rig, preset: str, name: str, is_first: bool
) -> None:
    """Whoever of the two began, and whichever name sorts first."""
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0", inference={"manager_timeout_s": 1.0})
    foreign = Asker(rig, name)
    asked = rig.tap(TOPIC)

    def is_ours(workload) -> bool:
        own = workload.manager.startswith("/ai/platform_manager#")
        return own and workload.obeys == "directive" and workload.limits.is_free

    def settled() -> bool:
        """Tell whether our own manager is obeyed, and for longer than it gives way to others."""
        return len(workloads) > 50 and all(map(is_ours, workloads[-50:]))

    def speaks() -> bool:
        foreign.ask(7, max_rate_hz=2.0)
        return True

    if is_first:
        wait_for(lambda: speaks() and workloads and last(workloads).manager == name, "the foreign")
        manager(rig, preset=preset)
        count = len(asked)
        wait_for(lambda: speaks() and len(asked) > count + 20, "the two of them")
        assert last(workloads).limits == DirectiveLimits(max_rate_hz=2.0)
    else:
        manager(rig, preset=preset)
        wait_for(lambda: workloads and is_ours(last(workloads)), "our own manager")
        count = len(asked)
        wait_for(lambda: speaks() and len(asked) > count + 20, "the two of them")
    # It says no more, and has not said farewell.
    silent = len(workloads)
    wait_for(lambda: len(workloads) > silent + 50 and settled(), "our own manager to count again")
    assert "also sends directives" not in last(workloads).problem


def test_without_another_manager_a_foreign_one_that_crashed_is_missed(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0", inference={"manager_timeout_s": 1.0})
    Asker(rig, "foreign").ask(7, max_rate_hz=2.0)
    wait_for(lambda: workloads and last(workloads).obeys == "safe_level", "the safe level")
    count = len(workloads)
    workloads.wait(count + 20)
    assert last(workloads).obeys == "safe_level"
    assert last(workloads).limits == DirectiveLimits(max_rate_hz=5.0)
    # One that is started now is soon obeyed.
    manager(rig)
    wait_for(lambda: last(workloads).obeys == "directive", "the new manager to be obeyed")
    assert last(workloads).limits.is_free


def test_a_manager_that_is_only_deactivated_is_missed(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    asked = rig.tap(TOPIC)
    Pipeline(rig, model="efficientnet_lite0", inference={"manager_timeout_s": 600.0})
    node = manager(rig)
    wait_for(lambda: workloads and last(workloads).directive_id, "a directive to be obeyed")
    rig.call(node.trigger_deactivate)
    assert not any(each.is_release for each in asked)
    later(601.0)
    wait_for(lambda: last(workloads).obeys == "safe_level", "the manager to be missed")
