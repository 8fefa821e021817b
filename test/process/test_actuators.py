"""Actuators in a control loop: allow-list, dry run, one writer, restore at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actuator_machine import CPU, DEADLINE_S, GPU, STEPS_HZ, STEPS_KHZ, Workshop
from edge_inference.errors import ActuatorError, ConfigError
from edge_inference.platforms.actuators.actuator import ActuatorOutcome, ActuatorResult
from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.journal import Journal
from edge_inference.platforms.actuators.registry import ACTUATOR_NAMES, CLOCK_CAPS


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


class Rig:
    """Creates actuators and closes them."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._made: list[Actuators] = []

    def __call__(self, *allowed: str, timeout_s: float = DEADLINE_S, **options: bool) -> Actuators:
        machine = self._workshop.machine(timeout_s)
        made = Actuators(allowed, machine=machine, **options)
        self._made.append(made)
        return made

    def close(self) -> None:
        for actuators in self._made:
            assert actuators.close(DEADLINE_S)


@pytest.fixture
def actuators(workshop: Workshop) -> Iterator[Rig]:
    rig = Rig(workshop)
    yield rig
    rig.close()


def settled(actuators: Actuators) -> dict[str, ActuatorOutcome]:
    assert actuators.wait_until_idle(DEADLINE_S)
    return {outcome.actuator: outcome for outcome in actuators.outcomes()}


def test_empty_allow_list_writes_nothing(workshop: Workshop, actuators: Rig) -> None:
    before = workshop.content()
    off = actuators()
    off.cap_clocks(0.1)
    for name in ACTUATOR_NAMES:
        off.request(name, "performance")
    off.restore()
    outcomes = settled(off)
    assert off.close()
    assert {outcome.result for outcome in outcomes.values()} == {ActuatorResult.REFUSED}
    assert outcomes["power_mode"].message == "power_mode: not allowed; allowed: none"
    assert workshop.content() == before
    assert not (workshop.state / "writer.lock").exists()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown actuator 'fan'"):
        Actuators(["fan"])


def test_dry_run_reports_and_writes_nothing(workshop: Workshop, actuators: Rig) -> None:
    before = workshop.content()
    dry = actuators(*ACTUATOR_NAMES, dry_run=True)
    dry.cap_clocks(None)
    assert settled(dry) == {}
    dry.cap_clocks(0.5)
    dry.request("power_mode", "MAXN")
    dry.request("jetson_clocks", "on")
    dry.request("cpu_governor", "performance")
    dry.request("gpu_governor", "magic")
    outcomes = settled(dry)
    assert workshop.content() == before
    assert not (workshop.state / "writer.lock").exists()
    path = workshop.root / GPU
    assert outcomes["gpu_clock_cap"].message == (
        f"gpu_clock_cap: dry run; would write {STEPS_HZ[1]} to {path}/max_freq"
    )
    assert outcomes["power_mode"].message == "power_mode: dry run; would run nvpmodel -m 0 (MAXN)"
    assert outcomes["jetson_clocks"].result is ActuatorResult.DRY_RUN
    assert outcomes["cpu_governor"].message.count("write performance to ") == 2
    assert outcomes["gpu_governor"].result is ActuatorResult.FAILED
    dry.cap_clocks(None)
    assert settled(dry)["gpu_clock_cap"].message == "gpu_clock_cap: dry run; would restore it"
    assert dry.close()


def test_cap_is_an_available_frequency(workshop: Workshop, actuators: Rig) -> None:
    capped = actuators(*CLOCK_CAPS)
    capped.cap_clocks(0.7)
    outcomes = settled(capped)
    assert {outcome.result for outcome in outcomes.values()} == {ActuatorResult.SET}
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[2])
    assert workshop.get(f"{CPU}/policy4/scaling_max_freq") == str(STEPS_KHZ[2])
    assert workshop.get(f"{GPU}/max_freq") == str(STEPS_HZ[2])
    assert outcomes["gpu_clock_cap"].current_value == f"{STEPS_HZ[2]} Hz"


def test_only_allowed_caps_are_set(workshop: Workshop, actuators: Rig) -> None:
    before = workshop.settings()
    capped = actuators("gpu_clock_cap")
    capped.cap_clocks(0.1)
    settled(capped)
    changed = {name for name, data in workshop.settings().items() if data != before[name]}
    assert changed == {f"{GPU}/max_freq", f"{GPU}/min_freq"}
    assert workshop.get(f"{GPU}/max_freq") == str(STEPS_HZ[0])


@pytest.mark.parametrize("lift", [lambda a: a.cap_clocks(None), lambda a: a.restore()])
def test_cap_is_removed(workshop: Workshop, actuators: Rig, lift) -> None:
    before = workshop.settings()
    capped = actuators(*CLOCK_CAPS)
    for share in (0.7, 0.0, 0.5, 1.0, 0.2):
        capped.cap_clocks(share)
        settled(capped)
    assert workshop.settings() != before
    lift(capped)
    settled(capped)
    assert workshop.settings() == before
    assert not (workshop.state / "actuators.json").exists()


def test_closing_restores_all_originals(workshop: Workshop, actuators: Rig) -> None:
    before = workshop.settings()
    busy = actuators(*ACTUATOR_NAMES)
    busy.request("power_mode", "MAXN")
    busy.request("cpu_governor", "performance")
    busy.request("gpu_governor", "performance")
    busy.request("jetson_clocks", "on")
    busy.cap_clocks(0.3)
    outcomes = settled(busy)
    assert {outcome.result for outcome in outcomes.values()} == {ActuatorResult.SET}
    assert workshop.get("var/lib/nvpmodel/status") == "pmode:0000"
    assert workshop.get(f"{CPU}/policy0/scaling_governor") == "performance"
    assert busy.close(DEADLINE_S)
    assert workshop.settings() == before
    assert not (workshop.state / "actuators.json").exists()
    results = {outcome.actuator: outcome.result for outcome in busy.outcomes()}
    assert results == dict.fromkeys(ACTUATOR_NAMES, ActuatorResult.RESTORED)


def test_failure_after_a_lift_is_reported_again(workshop: Workshop, actuators: Rig) -> None:
    for file in (workshop.root / GPU).iterdir():
        file.unlink()
    capped = actuators("gpu_clock_cap")
    for _ in range(2):
        for _ in range(2):  # the control loop repeats its request
            capped.cap_clocks(0.5)
            settled(capped)
        (outcome,) = capped.take_outcomes()
        assert outcome.result is ActuatorResult.FAILED
        capped.cap_clocks(None)
        settled(capped)
        assert capped.take_outcomes() == ()


def test_error_of_a_request_is_its_outcome(
    workshop: Workshop, actuators: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that cannot be written, then can, then cannot."""
    capped = actuators("gpu_clock_cap")
    for _ in range(2):
        capped.cap_clocks(0.5)
        assert settled(capped)["gpu_clock_cap"].result is ActuatorResult.SET
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "store", fail_to_store)
            capped.cap_clocks(None)
            outcome = settled(capped)["gpu_clock_cap"]
        assert (outcome.result, outcome.message) == (ActuatorResult.FAILED, "gpu_clock_cap: full")
        assert [each.result for each in capped.take_outcomes()][-1] is ActuatorResult.FAILED


def fail_to_store(self: Journal, record: object) -> None:
    raise ActuatorError("full")
