"""Clock caps and governors with kernels that round, refuse and remove clocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actuator_machine import CPU, DEADLINE_S, GPU, STEPS_KHZ, Workshop, request_and_wait
from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import ActuatorResult
from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.registry import ACTUATOR_NAMES, make_actuators


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def actuators(workshop: Workshop) -> Iterator[Actuators]:
    made = Actuators(ACTUATOR_NAMES, machine=workshop.machine())
    yield made
    assert made.close(DEADLINE_S)


class StubbornMachine(Machine):
    """A machine whose kernel rounds up or down to unlisted steps of 100 MHz."""

    up = False

    def write(self, path: str, text: str) -> None:
        if path.endswith("_freq"):
            text = str((int(text) + (99999 if self.up else 0)) // 100000 * 100000)
        super().write(path, text)


@pytest.mark.parametrize(
    ("up", "result", "current_value"),
    [
        (False, ActuatorResult.SET, "1300000, 1300000 kHz"),
        (True, ActuatorResult.DIFFERS, "1400000, 1400000 kHz"),
    ],
)
def test_rounded_frequency_is_read_back(
    workshop: Workshop, up: bool, result: ActuatorResult, current_value: str
) -> None:
    for number in (0, 4):
        (workshop.root / f"{CPU}/policy{number}/scaling_available_frequencies").unlink()
    machine = StubbornMachine(workshop.root)
    object.__setattr__(machine, "up", up)
    cap = make_actuators(machine)["cpu_clock_cap"]
    difference = cap.set("0.7", cap.save())
    assert bool(difference) == (result is ActuatorResult.DIFFERS)
    assert cap.read() == current_value
    if difference:
        assert "expected 1388800, got 1400000" in difference


def test_cap_is_at_least_the_hardware_minimum(workshop: Workshop) -> None:
    for number in (0, 4):
        (workshop.root / f"{CPU}/policy{number}/scaling_available_frequencies").unlink()
    cap = make_actuators(workshop.machine())["cpu_clock_cap"]
    cap.set("0", cap.save())
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[0])


class OrderlyMachine(Machine):
    """A machine whose kernel refuses a minimum above the maximum at any time."""

    def write(self, path: str, text: str) -> None:
        folder, _, name = path.rpartition("/")
        for low, high in (("scaling_min_freq", "scaling_max_freq"), ("min_freq", "max_freq")):
            if name == low and int(text) > int(self.read(f"{folder}/{high}")):
                raise ActuatorError(f"{path}: Invalid argument")
            if name == high and int(text) < int(self.read(f"{folder}/{low}")):
                raise ActuatorError(f"{path}: Invalid argument")
        super().write(path, text)


@pytest.mark.parametrize("shares", [(0.0,), (0.1, 0.9, 0.4), (0.6, 0.0, 1.0)])
def test_minimum_is_never_above_the_maximum(workshop: Workshop, shares: tuple[float, ...]) -> None:
    before = workshop.settings()
    for actuator in (
        make_actuators(OrderlyMachine(workshop.root))[name]
        for name in ("cpu_clock_cap", "gpu_clock_cap")
    ):
        saved = actuator.save()
        for share in shares:
            assert actuator.set(str(share), saved) == ""
        actuator.restore(saved)
    assert workshop.settings() == before


def test_originals_are_restored_in_either_order(workshop: Workshop) -> None:
    for number in (0, 4):
        workshop.put(f"{CPU}/policy{number}/scaling_max_freq", STEPS_KHZ[2])
    before = workshop.settings()
    cap = make_actuators(OrderlyMachine(workshop.root))["cpu_clock_cap"]
    saved = cap.save()
    for number in (0, 4):  # another program locks the clocks at their maximum meanwhile
        workshop.put(f"{CPU}/policy{number}/scaling_max_freq", STEPS_KHZ[-1])
        workshop.put(f"{CPU}/policy{number}/scaling_min_freq", STEPS_KHZ[-1])
    cap.restore(saved)
    assert workshop.settings() == before


@pytest.mark.parametrize("value", ["nan", "-0.1", "1.1", "fast", ""])
def test_invalid_share(workshop: Workshop, value: str) -> None:
    cap = make_actuators(workshop.machine())["cpu_clock_cap"]
    with pytest.raises(ActuatorError, match="expected a share from 0 to 1"):
        cap.plan(value, None)


def test_original_maximum_stays(workshop: Workshop) -> None:
    workshop.put(f"{CPU}/policy0/scaling_max_freq", STEPS_KHZ[2])
    cap = make_actuators(workshop.machine())["cpu_clock_cap"]
    saved = cap.save()
    cap.set("0.2", saved)
    cap.set("1", saved)
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[2])


def test_original_maximum_below_all_steps_stays(workshop: Workshop) -> None:
    workshop.put(f"{CPU}/policy0/scaling_max_freq", STEPS_KHZ[0] - 1)
    cap = make_actuators(workshop.machine())["cpu_clock_cap"]
    cap.set("0.5", cap.save())
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[0] - 1)


def test_write_error_is_reported(workshop: Workshop, actuators: Actuators) -> None:
    file = workshop.root / f"{GPU}/governor"
    file.unlink()
    file.symlink_to("/dev/full")
    outcome = request_and_wait(actuators, "gpu_governor", "performance")
    assert outcome.result is ActuatorResult.FAILED
    assert f"{file}: No space left on device while writing 'performance'" in outcome.message


@pytest.mark.parametrize("name", ACTUATOR_NAMES)
def test_machine_without_clocks(tmp_path: Path, name: str) -> None:
    actuators = Actuators(ACTUATOR_NAMES, machine=Machine(tmp_path, str(tmp_path)))
    outcome = request_and_wait(actuators, name, "0.5")
    assert (outcome.result, outcome.current_value) == (ActuatorResult.FAILED, None)
    actuators.restore()
    assert actuators.close(DEADLINE_S)


def test_removed_clusters_are_not_restored(workshop: Workshop, actuators: Actuators) -> None:
    request_and_wait(actuators, "cpu_governor", "performance")
    for file in (workshop.root / f"{CPU}/policy4").iterdir():
        file.unlink()
    actuators.restore()
    assert actuators.wait_until_idle(DEADLINE_S)
    assert actuators.outcomes()[-1].result is ActuatorResult.RESTORED
    assert workshop.get(f"{CPU}/policy0/scaling_governor") == "schedutil"


@pytest.mark.parametrize(
    "path",
    [
        "sys/devices/pwm-fan/target_pwm",
        "sys/class/hwmon/hwmon2/pwm1",
        "sys/class/thermal/cooling_device0/cur_state",
        "sys/devices/system/cpu/cpu1/online",
        "sys/class/devfreq/../../devices/pwm-fan/governor",
        "etc/passwd",
    ],
)
def test_other_files_are_never_written(workshop: Workshop, path: str) -> None:
    with pytest.raises(ActuatorError, match="not among the files"):
        workshop.machine().write(path, "1")
    with pytest.raises(ActuatorError, match="not among the files"):
        workshop.machine().replace(path, "1")


@pytest.mark.parametrize("text", ["", "<unknown>", "-1", "12.5", "\0"])
def test_clock_without_a_number_is_not_changed(
    workshop: Workshop, actuators: Actuators, text: str
) -> None:
    workshop.put(f"{CPU}/policy4/scaling_max_freq", text)
    before = workshop.settings()
    outcome = request_and_wait(actuators, "cpu_clock_cap", "0.5")
    assert outcome.result is ActuatorResult.FAILED
    assert "policy4/scaling_max_freq: expected a frequency, got" in outcome.message
    assert workshop.settings() == before


def test_unreadable_originals_are_kept_and_reported(workshop: Workshop) -> None:
    originals = {
        "cpu_governor": {"files": {f"{CPU}/policy0/scaling_governor": "performance"}},
        "power_mode": {"number": 1},
        "rocket_engine": {},
    }
    record = {"writer": "x", "boot_id": "first", "originals": originals}
    workshop.put("var/lib/edge_inference/actuators.json", json.dumps(record))
    following = Actuators(["gpu_governor"], machine=workshop.machine())
    assert following.close(DEADLINE_S)
    results = {outcome.actuator: outcome.result for outcome in following.outcomes()}
    assert results == {
        "rocket_engine": ActuatorResult.FAILED,
        "power_mode": ActuatorResult.FAILED,
        "cpu_governor": ActuatorResult.RESTORED,
    }
    assert workshop.get(f"{CPU}/policy0/scaling_governor") == "performance"
    left = json.loads(workshop.get("var/lib/edge_inference/actuators.json"))["originals"]
    assert left == {name: originals[name] for name in ("power_mode", "rocket_engine")}


def test_a_damaged_journal_forbids_changes(workshop: Workshop) -> None:
    workshop.put("var/lib/edge_inference/actuators.json", "{")
    before = workshop.content()
    actuators = Actuators(ACTUATOR_NAMES, machine=workshop.machine())
    outcome = request_and_wait(actuators, "cpu_governor", "performance")
    assert outcome.result is ActuatorResult.REFUSED
    assert "damaged, so the original settings are unknown" in outcome.message
    assert actuators.close(DEADLINE_S)
    assert workshop.content() == before


def test_missing_state_folder_forbids_changes(workshop: Workshop) -> None:
    workshop.put("var/lib/edge_inference", "a file")
    before = workshop.settings()
    actuators = Actuators(ACTUATOR_NAMES, machine=workshop.machine())
    outcome = request_and_wait(actuators, "cpu_governor", "performance")
    assert outcome.result is ActuatorResult.REFUSED
    assert "run as root, or create the folder for this user" in outcome.message
    assert actuators.close(DEADLINE_S)
    assert workshop.settings() == before
