"""The actuators that run nvpmodel and jetson_clocks, and failures of these tools."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actuator_machine import (
    CPU,
    DEADLINE_S,
    GPU,
    STEPS_KHZ,
    Workshop,
    request_and_wait,
    wait_for,
)
from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import ActuatorResult, Saved
from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.clock_cap import ClockCap
from edge_inference.platforms.actuators.power_mode import PowerModeActuator
from edge_inference.platforms.actuators.registry import ACTUATOR_NAMES


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def actuators(workshop: Workshop) -> Iterator[Actuators]:
    made = Actuators(ACTUATOR_NAMES, machine=workshop.machine())
    yield made
    assert made.close(DEADLINE_S)


# nvpmodel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["10W", "1"])
def test_a_mode_by_name_or_number(workshop: Workshop, actuators: Actuators, value: str) -> None:
    outcome = request_and_wait(actuators, "power_mode", value)
    assert (outcome.result, outcome.current_value) == (ActuatorResult.SET, "10W")
    assert workshop.calls() == ["nvpmodel -m 1"]
    assert actuators.take_outcomes()[-1].message.startswith("power_mode: set to ")
    # By name or number it is already set, so nothing is run.
    for _ in range(2):
        request_and_wait(actuators, "power_mode", value)
    assert actuators.take_outcomes() == ()
    assert request_and_wait(actuators, "power_mode", "10W").result in (
        ActuatorResult.SET,
        ActuatorResult.UNCHANGED,
    )
    assert workshop.calls() == ["nvpmodel -m 1"]


@pytest.mark.parametrize("code", [0, 1])
def test_a_mode_that_needs_a_reboot_is_refused(
    workshop: Workshop, actuators: Actuators, code: int
) -> None:
    tool = (workshop.tools / "nvpmodel").read_text()
    (workshop.tools / "nvpmodel").write_text(tool.replace("sys.exit(1)", f"sys.exit({code})"))
    outcome = request_and_wait(actuators, "power_mode", "7W")
    assert outcome.result is ActuatorResult.FAILED
    assert "7W needs a reboot, so it was not set" in outcome.message
    assert outcome.current_value == "15W"
    assert not (workshop.root / "rebooted").exists()


def test_tool_has_no_input(workshop: Workshop, actuators: Actuators) -> None:
    workshop.add_tool("nvpmodel", "import os; sys.exit(f'{sys.stdin.read()!r} {os.isatty(0)}')")
    outcome = request_and_wait(actuators, "power_mode", "MAXN")
    assert "failed with exit code 1 ('' False)" in outcome.message


def test_mode_that_does_not_change_is_reported(workshop: Workshop, actuators: Actuators) -> None:
    workshop.add_tool("nvpmodel", "print('all is well')")
    outcome = request_and_wait(actuators, "power_mode", "MAXN")
    assert (outcome.result, outcome.current_value) == (ActuatorResult.DIFFERS, "15W")
    assert outcome.message == "power_mode: expected power mode MAXN, got 15W"


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("etc/nvpmodel.conf", "", "expected POWER_MODEL entries"),
        ("etc/nvpmodel.conf", "\0\xff< POWER_MODEL ID=", "expected POWER_MODEL entries"),
        ("var/lib/nvpmodel/status", "", "expected pmode:<number>"),
        ("var/lib/nvpmodel/status", "pmode:0009", "expected pmode:<number>"),
    ],
)
def test_unknown_configuration_is_not_changed(
    workshop: Workshop, actuators: Actuators, path: str, text: str, message: str
) -> None:
    workshop.put(path, text)
    outcome = request_and_wait(actuators, "power_mode", "MAXN")
    assert (outcome.result, outcome.current_value) == (ActuatorResult.FAILED, None)
    assert message in outcome.message
    assert workshop.calls() == []


def test_an_unknown_mode(workshop: Workshop, actuators: Actuators) -> None:
    message = request_and_wait(actuators, "power_mode", "20W").message
    assert message.endswith("expected one of MAXN (0), 10W (1), 15W (2), 7W (3), got '20W'")


def test_without_a_status_file_the_default_mode_is_current(workshop: Workshop) -> None:
    (workshop.root / "var/lib/nvpmodel/status").unlink()
    assert PowerModeActuator(workshop.machine()).read() == "15W"


@pytest.mark.parametrize(
    ("names", "most"),
    [
        (("15W", "7W"), "15W"),
        (("MODE_10W", "MODE_30W_2CORE", "MODE_30W_ALL", "MODE_15W"), "MODE_30W_ALL"),
        (("MODE_20W_2CORE", "MODE_20W_6CORE", "MODE_20W_4CORE"), "MODE_20W_6CORE"),
        (("15W", "25W", "MAXN_SUPER", "7W"), "MAXN_SUPER"),
        (("120W", "MAXN"), "MAXN"),
        (("quiet", "loud"), None),
    ],
)
def test_most_powerful_mode_by_name(
    workshop: Workshop, names: tuple[str, ...], most: str | None
) -> None:
    lines = [f"< POWER_MODEL ID={number} NAME={name} >" for number, name in enumerate(names)]
    workshop.put("etc/nvpmodel.conf", "\n".join(lines))
    mode = PowerModeActuator(workshop.machine())
    if most is None:
        with pytest.raises(ActuatorError, match="expected a mode name with watts"):
            mode.find_most_powerful()
    else:
        assert mode.find_most_powerful() == most


def test_hanging_tool_is_killed_and_blocks_no_call(workshop: Workshop) -> None:
    hang = "import os, subprocess, time\n"
    hang += "pause = 'import signal; signal.pause()'\n"
    hang += "child = subprocess.Popen([sys.executable, '-IS', '-c', pause])\n"
    hang += "(root / 'pids').write_text(f'{os.getpid()}\\n{child.pid}\\n')\ntime.sleep(1000)\n"
    workshop.add_tool("nvpmodel", hang)
    actuators = Actuators(["power_mode", "cpu_clock_cap"], machine=workshop.machine(1.0))
    actuators.request("power_mode", "MAXN")
    file = workshop.root / "pids"
    wait_for(lambda: file.exists() and file.read_text().count("\n") == 2, "the tool's start")
    pids = [int(pid) for pid in file.read_text().split()]
    # Every call returns while the tool hangs.
    calls = [lambda: actuators.cap_clocks(0.5), actuators.outcomes, actuators.take_outcomes]
    for call in (*calls, lambda: actuators.request("power_mode", "10W")):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    assert actuators.wait_until_idle(DEADLINE_S)
    outcomes = {outcome.actuator: outcome for outcome in actuators.outcomes()}
    assert "killed after 1 s" in outcomes["power_mode"].message
    assert outcomes["cpu_clock_cap"].result is ActuatorResult.SET
    for pid in pids:
        wait_for(lambda pid=pid: is_gone(pid), "the tool's end")
    assert actuators.close(DEADLINE_S)
    # It is not restored either, so its original stays for the next start.
    assert "power_mode" in (workshop.state / "actuators.json").read_text()
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[-1])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_closing_has_a_timeout(workshop: Workshop) -> None:
    workshop.add_tool("nvpmodel", "import time; time.sleep(1000)")
    actuators = Actuators(["power_mode"], machine=workshop.machine(1.0))
    actuators.request("power_mode", "MAXN")
    wait_for(lambda: workshop.calls(), "the tool's start")
    assert not actuators.close(0.0)
    assert actuators.close(DEADLINE_S)


def test_no_tool(workshop: Workshop, actuators: Actuators) -> None:
    for name in ("nvpmodel", "jetson_clocks"):
        (workshop.tools / name).unlink()
    assert request_and_wait(actuators, "power_mode", "MAXN").message == (
        "power_mode: nvpmodel: not found on this machine"
    )
    assert request_and_wait(actuators, "jetson_clocks", "on").message == (
        "jetson_clocks: not found on this machine"
    )


# jetson_clocks ----------------------------------------------------------------------------------


def test_clocks_are_stored_locked_and_restored_without_the_fan(
    workshop: Workshop, actuators: Actuators
) -> None:
    before = workshop.settings()
    assert request_and_wait(actuators, "jetson_clocks", "on").current_value == "on"
    assert workshop.get(f"{CPU}/policy4/scaling_min_freq") == str(STEPS_KHZ[-1])
    workshop.put("sys/devices/pwm-fan/target_pwm", 255)  # by the machine's own fan control
    assert request_and_wait(actuators, "jetson_clocks", "off").current_value == "off"
    assert workshop.get("sys/devices/pwm-fan/target_pwm") == "255"
    workshop.put("sys/devices/pwm-fan/target_pwm", 80)
    assert workshop.settings() == before
    assert not any("--fan" in call for call in workshop.calls())


def test_clocks_locked_by_another_program(workshop: Workshop, actuators: Actuators) -> None:
    for number in (0, 4):
        workshop.put(f"{CPU}/policy{number}/scaling_min_freq", STEPS_KHZ[-1])
    workshop.put(f"{GPU}/min_freq", workshop.get(f"{GPU}/max_freq"))
    assert request_and_wait(actuators, "jetson_clocks", "on").result is ActuatorResult.UNCHANGED
    outcome = request_and_wait(actuators, "jetson_clocks", "off")
    assert outcome.result is ActuatorResult.FAILED
    assert "another program has locked the clocks" in outcome.message
    assert workshop.calls() == []


@pytest.mark.parametrize(
    ("code", "result", "message"),
    [
        ("", ActuatorResult.FAILED, "expected a file, got none"),
        ("sys.exit('no permission')", ActuatorResult.FAILED, "(no permission)"),
        (
            "if sys.argv[1:2] == ['--store']: pathlib.Path(sys.argv[2]).write_text('')",
            ActuatorResult.DIFFERS,
            "expected locked clocks on, got off",
        ),
    ],
)
def test_clocks_that_stay_unlocked_are_reported(
    workshop: Workshop, actuators: Actuators, code: str, result: ActuatorResult, message: str
) -> None:
    workshop.add_tool("jetson_clocks", code)
    outcome = request_and_wait(actuators, "jetson_clocks", "on")
    assert outcome.result is result
    assert message in outcome.message


def test_new_mode_restores_locked_clocks_and_caps_first(
    workshop: Workshop, actuators: Actuators
) -> None:
    """Locked clocks are stored again in the new mode, so a restore stays in that mode."""
    before = workshop.settings()
    actuators.cap_clocks(0.7)
    request_and_wait(actuators, "jetson_clocks", "on")
    assert workshop.get(f"{CPU}/policy0/scaling_min_freq") == str(STEPS_KHZ[2])
    request_and_wait(actuators, "power_mode", "10W")
    calls = [call.split(" /")[0] for call in workshop.calls()]
    assert calls == [
        *("jetson_clocks --store", "jetson_clocks", "jetson_clocks --restore"),
        *("nvpmodel -m 1", "jetson_clocks --store", "jetson_clocks"),
    ]
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[2])
    assert actuators.close(DEADLINE_S)
    assert workshop.settings() == before


def test_clocks_that_are_not_locked_again_after_a_mode_change_are_reported(
    workshop: Workshop, actuators: Actuators
) -> None:
    assert request_and_wait(actuators, "jetson_clocks", "on").result is ActuatorResult.SET
    actuators.take_outcomes()
    tool = workshop.tools / "jetson_clocks"
    tool.write_text(tool.read_text().replace("elif not sys.argv[1:]:", "elif False:"))
    assert request_and_wait(actuators, "power_mode", "MAXN").result is ActuatorResult.SET
    first, second = actuators.take_outcomes()
    assert (first.actuator, first.result) == ("power_mode", ActuatorResult.SET)
    assert (second.actuator, second.result) == ("jetson_clocks", ActuatorResult.FAILED)


def test_dependents_are_set_again_if_one_cannot_be_restored(
    workshop: Workshop, actuators: Actuators, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_and_wait(actuators, "cpu_clock_cap", "0.5")
    request_and_wait(actuators, "gpu_clock_cap", "0.5")
    capped = workshop.get(f"{GPU}/max_freq")
    restore = ClockCap.restore

    def refuse(self: ClockCap, saved: Saved) -> None:
        if self.name == "cpu_clock_cap":
            raise ActuatorError("the kernel refuses")
        restore(self, saved)

    monkeypatch.setattr(ClockCap, "restore", refuse)
    outcome = request_and_wait(actuators, "power_mode", "MAXN")
    assert (outcome.result, outcome.current_value) == (ActuatorResult.FAILED, "15W")
    assert "cpu_clock_cap: the kernel refuses" in outcome.message
    assert workshop.get(f"{GPU}/max_freq") == capped
    monkeypatch.undo()
