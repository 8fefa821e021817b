"""nvpmodel and jetson_clocks at their worst, and kernels that do something else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actuator_machine import CPU, DEADLINE_S, GPU, NVPMODEL_CONF, STEPS_KHZ, Workshop, wait_for
from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import Outcome, Result
from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.catalogue import NAMES, all_actuators
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.power_mode import PowerMode


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def actuators(workshop: Workshop) -> Iterator[Actuators]:
    made = Actuators(NAMES, machine=workshop.machine())
    yield made
    assert made.close(DEADLINE_S)


def came_of(actuators: Actuators, name: str, value: str) -> Outcome:
    actuators.request(name, value)
    assert actuators.settle(DEADLINE_S)
    return {outcome.actuator: outcome for outcome in actuators.outcomes()}[name]


# nvpmodel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["10W", "1"])
def test_a_mode_by_name_or_number(workshop: Workshop, actuators: Actuators, value: str) -> None:
    outcome = came_of(actuators, "power_mode", value)
    assert (outcome.result, outcome.in_force) == (Result.SET, "10W")
    assert workshop.calls() == ["nvpmodel -m 1"]
    assert came_of(actuators, "power_mode", "10W").result is Result.UNCHANGED
    assert workshop.calls() == ["nvpmodel -m 1"]


@pytest.mark.parametrize("code", [0, 1])
def test_a_mode_that_needs_a_reboot_is_refused(
    workshop: Workshop, actuators: Actuators, code: int
) -> None:
    tool = (workshop.tools / "nvpmodel").read_text()
    (workshop.tools / "nvpmodel").write_text(tool.replace("sys.exit(1)", f"sys.exit({code})"))
    outcome = came_of(actuators, "power_mode", "7W")
    assert outcome.result is Result.FAILED
    assert "7W needs a reboot, so it was not set" in outcome.words
    assert outcome.in_force == "15W"
    assert not (workshop.root / "rebooted").exists()


def test_a_tool_finds_nobody_to_ask(workshop: Workshop, actuators: Actuators) -> None:
    workshop.tool("nvpmodel", "import os; sys.exit(f'{sys.stdin.read()!r} {os.isatty(0)}')")
    outcome = came_of(actuators, "power_mode", "MAXN")
    assert "failed with exit code 1 ('' False)" in outcome.words


def test_a_mode_that_is_not_taken_is_told(workshop: Workshop, actuators: Actuators) -> None:
    workshop.tool("nvpmodel", "print('all is well')")
    outcome = came_of(actuators, "power_mode", "MAXN")
    assert (outcome.result, outcome.in_force) == (Result.DIFFERS, "15W")
    assert outcome.words == "power_mode: the power mode is 15W, asked was MAXN"


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("etc/nvpmodel.conf", "", "expected POWER_MODEL entries"),
        ("etc/nvpmodel.conf", "\0\xff< POWER_MODEL ID=", "expected POWER_MODEL entries"),
        ("var/lib/nvpmodel/status", "", "expected pmode:<number>"),
        ("var/lib/nvpmodel/status", "pmode:0009", "expected pmode:<number>"),
    ],
)
def test_a_machine_that_cannot_be_understood_is_left_alone(
    workshop: Workshop, actuators: Actuators, path: str, text: str, words: str
) -> None:
    workshop.put(path, text)
    outcome = came_of(actuators, "power_mode", "MAXN")
    assert (outcome.result, outcome.in_force) == (Result.FAILED, None)
    assert words in outcome.words
    assert workshop.calls() == []


def test_an_unknown_mode(workshop: Workshop, actuators: Actuators) -> None:
    words = came_of(actuators, "power_mode", "20W").words
    assert words.endswith("expected one of MAXN (0), 10W (1), 15W (2), 7W (3), got '20W'")


def test_without_a_note_it_is_the_mode_at_start(workshop: Workshop) -> None:
    (workshop.root / "var/lib/nvpmodel/status").unlink()
    assert PowerMode(workshop.machine()).read() == "15W"


@pytest.mark.parametrize(
    ("names", "most"),
    [
        (("15W", "7W"), "15W"),
        (("MODE_10W", "MODE_30W_ALL", "MODE_15W"), "MODE_30W_ALL"),
        (("15W", "25W", "MAXN_SUPER", "7W"), "MAXN_SUPER"),
        (("120W", "MAXN"), "MAXN"),
        (("quiet", "loud"), None),
    ],
)
def test_the_most_powerful_mode_goes_by_name(
    workshop: Workshop, names: tuple[str, ...], most: str | None
) -> None:
    lines = [f"< POWER_MODEL ID={number} NAME={name} >" for number, name in enumerate(names)]
    workshop.put("etc/nvpmodel.conf", "\n".join(lines))
    mode = PowerMode(workshop.machine())
    if most is None:
        with pytest.raises(ActuatorError, match="is not known"):
            mode.most_powerful()
    else:
        assert mode.most_powerful() == most


def test_a_tool_that_hangs_is_killed_and_holds_nobody_up(workshop: Workshop) -> None:
    hang = "import os, subprocess, time\n"
    hang += "child = subprocess.Popen([sys.executable, '-IS', '-c', 'input()'], stdin=0)\n"
    hang += "(root / 'pids').write_text(f'{os.getpid()}\\n{child.pid}\\n')\ntime.sleep(1000)\n"
    workshop.tool("nvpmodel", hang.replace("stdin=0", "stdin=os.pipe()[0]"))
    actuators = Actuators(["power_mode", "cpu_clock_cap"], machine=workshop.machine(1.0))
    actuators.request("power_mode", "MAXN")
    file = workshop.root / "pids"
    wait_for(lambda: file.exists() and file.read_text().count("\n") == 2, "the tool's start")
    pids = [int(pid) for pid in file.read_text().split()]
    # While it hangs every call returns: they end, or this test does not.
    calls = [lambda: actuators.apply(0.5), actuators.outcomes, actuators.take]
    for call in (*calls, lambda: actuators.request("power_mode", "10W")):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    assert actuators.settle(DEADLINE_S)
    outcomes = {outcome.actuator: outcome for outcome in actuators.outcomes()}
    assert "did not end in 1 s; killed" in outcomes["power_mode"].words
    assert outcomes["cpu_clock_cap"].result is Result.SET
    for pid in pids:
        wait_for(lambda pid=pid: is_gone(pid), "the tool's end")
    assert actuators.close(DEADLINE_S)
    # It could not be put back either, so its original is kept for the next start.
    assert "power_mode" in (workshop.state / "actuators.json").read_text()
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[-1])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_closing_does_not_wait_for_ever(workshop: Workshop) -> None:
    workshop.tool("nvpmodel", "import time; time.sleep(1000)")
    actuators = Actuators(["power_mode"], machine=workshop.machine(1.0))
    actuators.request("power_mode", "MAXN")
    wait_for(lambda: workshop.calls(), "the tool's start")
    assert not actuators.close(0.0)
    assert actuators.close(DEADLINE_S)


def test_no_tool(workshop: Workshop, actuators: Actuators) -> None:
    for name in ("nvpmodel", "jetson_clocks"):
        (workshop.tools / name).unlink()
    assert came_of(actuators, "power_mode", "MAXN").words == (
        "power_mode: nvpmodel: this machine has no such tool"
    )
    assert came_of(actuators, "jetson_clocks", "on").words == (
        "jetson_clocks: this machine has no such tool"
    )


# jetson_clocks ----------------------------------------------------------------------------------


def test_clocks_are_stored_locked_and_restored_and_the_fan_is_left(
    workshop: Workshop, actuators: Actuators
) -> None:
    before = workshop.settings()
    assert came_of(actuators, "jetson_clocks", "on").in_force == "on"
    assert workshop.get(f"{CPU}/policy4/scaling_min_freq") == str(STEPS_KHZ[-1])
    workshop.put("sys/devices/pwm-fan/target_pwm", 255)  # by the machine's own fan control
    assert came_of(actuators, "jetson_clocks", "off").in_force == "off"
    assert workshop.get("sys/devices/pwm-fan/target_pwm") == "255"
    workshop.put("sys/devices/pwm-fan/target_pwm", 80)
    assert workshop.settings() == before
    assert not any("--fan" in call for call in workshop.calls())


def test_clocks_that_somebody_else_has_locked(workshop: Workshop, actuators: Actuators) -> None:
    for number in (0, 4):
        workshop.put(f"{CPU}/policy{number}/scaling_min_freq", STEPS_KHZ[-1])
    workshop.put(f"{GPU}/min_freq", workshop.get(f"{GPU}/max_freq"))
    assert came_of(actuators, "jetson_clocks", "on").result is Result.UNCHANGED
    outcome = came_of(actuators, "jetson_clocks", "off")
    assert outcome.result is Result.FAILED
    assert "somebody else has locked the clocks" in outcome.words
    assert workshop.calls() == []


@pytest.mark.parametrize(
    ("code", "result", "words"),
    [
        ("", Result.FAILED, "it has written nothing"),
        ("sys.exit('no permission')", Result.FAILED, "(no permission)"),
        (
            "if sys.argv[1:2] == ['--store']: pathlib.Path(sys.argv[2]).write_text('')",
            Result.DIFFERS,
            "locked clocks are off, asked was on",
        ),
    ],
)
def test_clocks_that_are_not_locked_are_told(
    workshop: Workshop, actuators: Actuators, code: str, result: Result, words: str
) -> None:
    workshop.tool("jetson_clocks", code)
    outcome = came_of(actuators, "jetson_clocks", "on")
    assert outcome.result is result
    assert words in outcome.words


def test_a_new_mode_goes_beneath_locked_clocks_and_caps(
    workshop: Workshop, actuators: Actuators
) -> None:
    """Locked clocks are stored of the new mode, so going back to them is going back to it."""
    before = workshop.settings()
    actuators.apply(0.7)
    came_of(actuators, "jetson_clocks", "on")
    assert workshop.get(f"{CPU}/policy0/scaling_min_freq") == str(STEPS_KHZ[2])
    came_of(actuators, "power_mode", "10W")
    calls = [call.split(" /")[0] for call in workshop.calls()]
    assert calls == [
        *("jetson_clocks --store", "jetson_clocks", "jetson_clocks --restore"),
        *("nvpmodel -m 1", "jetson_clocks --store", "jetson_clocks"),
    ]
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[2])
    assert actuators.close(DEADLINE_S)
    assert workshop.settings() == before


# Kernels ----------------------------------------------------------------------------------------


class StubbornMachine(Machine):
    """One whose kernel has steps of its own and tells nobody: 100 MHz, rounded up or down."""

    up = False

    def write(self, path: str, text: str) -> None:
        if path.endswith("_freq"):
            text = str((int(text) + (99999 if self.up else 0)) // 100000 * 100000)
        super().write(path, text)


@pytest.mark.parametrize(
    ("up", "result", "in_force"),
    [
        (False, Result.SET, "1300000, 1300000 kHz"),
        (True, Result.DIFFERS, "1400000, 1400000 kHz"),
    ],
)
def test_a_kernel_that_rounds_is_read_back(
    workshop: Workshop, up: bool, result: Result, in_force: str
) -> None:
    for number in (0, 4):
        (workshop.root / f"{CPU}/policy{number}/scaling_available_frequencies").unlink()
    machine = StubbornMachine(workshop.root)
    object.__setattr__(machine, "up", up)
    cap = all_actuators(machine)["cpu_clock_cap"]
    different = cap.set("0.7", cap.save())
    assert bool(different) == (result is Result.DIFFERS)
    assert cap.read() == in_force
    if different:
        assert "is 1400000, asked was 1388800" in different


def test_a_cap_is_no_lower_than_the_clock_goes(workshop: Workshop) -> None:
    for number in (0, 4):
        (workshop.root / f"{CPU}/policy{number}/scaling_available_frequencies").unlink()
    cap = all_actuators(workshop.machine())["cpu_clock_cap"]
    cap.set("0", cap.save())
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[0])


class OrderlyMachine(Machine):
    """One whose kernel refuses a lowest clock above the highest, at any moment."""

    def write(self, path: str, text: str) -> None:
        folder, _, name = path.rpartition("/")
        for low, high in (("scaling_min_freq", "scaling_max_freq"), ("min_freq", "max_freq")):
            if name == low and int(text) > int(self.read(f"{folder}/{high}")):
                raise ActuatorError(f"{path}: Invalid argument")
            if name == high and int(text) < int(self.read(f"{folder}/{low}")):
                raise ActuatorError(f"{path}: Invalid argument")
        super().write(path, text)


@pytest.mark.parametrize("shares", [(0.0,), (0.1, 0.9, 0.4), (0.6, 0.0, 1.0)])
def test_the_lowest_clock_is_never_above_the_highest(
    workshop: Workshop, shares: tuple[float, ...]
) -> None:
    before = workshop.settings()
    for actuator in (
        all_actuators(OrderlyMachine(workshop.root))[name]
        for name in ("cpu_clock_cap", "gpu_clock_cap")
    ):
        saved = actuator.save()
        for share in shares:
            assert actuator.set(str(share), saved) == ""
        actuator.restore(saved)
    assert workshop.settings() == before


@pytest.mark.parametrize("value", ["nan", "-0.1", "1.1", "fast", ""])
def test_a_share_that_is_none(workshop: Workshop, value: str) -> None:
    cap = all_actuators(workshop.machine())["cpu_clock_cap"]
    with pytest.raises(ActuatorError, match="expected a share from 0 to 1"):
        cap.plan(value, None)


def test_a_ceiling_that_stood_before_stands(workshop: Workshop) -> None:
    workshop.put(f"{CPU}/policy0/scaling_max_freq", STEPS_KHZ[2])
    cap = all_actuators(workshop.machine())["cpu_clock_cap"]
    saved = cap.save()
    cap.set("0.2", saved)
    cap.set("1", saved)
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == str(STEPS_KHZ[2])


def test_what_the_kernel_refuses_is_told(workshop: Workshop, actuators: Actuators) -> None:
    file = workshop.root / f"{GPU}/governor"
    file.unlink()
    file.symlink_to("/dev/full")
    outcome = came_of(actuators, "gpu_governor", "performance")
    assert outcome.result is Result.FAILED
    assert f"{file}: No space left on device while writing 'performance'" in outcome.words


@pytest.mark.parametrize("name", NAMES)
def test_a_machine_without_any_of_it(tmp_path: Path, name: str) -> None:
    actuators = Actuators(NAMES, machine=Machine(tmp_path, str(tmp_path)))
    outcome = came_of(actuators, name, "0.5")
    assert (outcome.result, outcome.in_force) == (Result.FAILED, None)
    actuators.restore()
    assert actuators.close(DEADLINE_S)


def test_clusters_that_go_away_are_not_put_back(workshop: Workshop, actuators: Actuators) -> None:
    came_of(actuators, "cpu_governor", "performance")
    for file in (workshop.root / f"{CPU}/policy4").iterdir():
        file.unlink()
    actuators.restore()
    assert actuators.settle(DEADLINE_S)
    assert actuators.outcomes()[-1].result is Result.RESTORED
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
def test_nothing_else_is_ever_written(workshop: Workshop, path: str) -> None:
    with pytest.raises(ActuatorError, match="not among the files"):
        workshop.machine().write(path, "1")
    with pytest.raises(ActuatorError, match="not among the files"):
        workshop.machine().replace(path, "1")


def test_a_damaged_journal_forbids_changes(workshop: Workshop) -> None:
    workshop.put("var/lib/edge_inference/actuators.json", "{")
    before = workshop.content()
    actuators = Actuators(NAMES, machine=workshop.machine())
    outcome = came_of(actuators, "cpu_governor", "performance")
    assert outcome.result is Result.REFUSED
    assert "damaged, so what was set before is not known" in outcome.words
    assert actuators.close(DEADLINE_S)
    assert workshop.content() == before


def test_a_folder_that_cannot_be_made_forbids_changes(workshop: Workshop) -> None:
    workshop.put("var/lib/edge_inference", "a file")
    before = workshop.settings()
    actuators = Actuators(NAMES, machine=workshop.machine())
    outcome = came_of(actuators, "cpu_governor", "performance")
    assert outcome.result is Result.REFUSED
    assert "run as root, or make it and give it to this user" in outcome.words
    assert actuators.close(DEADLINE_S)
    assert workshop.settings() == before


def test_the_table_is_read_with_its_comments(workshop: Workshop) -> None:
    assert list(PowerMode(workshop.machine()).choices()) == ["MAXN", "10W", "15W", "7W"]
    assert "# the mode at start" in NVPMODEL_CONF
