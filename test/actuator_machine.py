"""A machine in a folder: its kernel files, and scripts in place of its tools."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_inference.platforms.actuators.actuator import ActuatorOutcome
from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.machine import Machine

DEADLINE_S = 20.0
CPU = "sys/devices/system/cpu/cpufreq"
GPU = "sys/class/devfreq/17000000.gpu"
STEPS_KHZ = (115200, 729600, 1190400, 1984000)
STEPS_HZ = (114750000, 306000000, 510000000, 918000000)

NVPMODEL_CONF = """\
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_1 /sys/devices/system/cpu/cpu1/online

< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_1 1
< POWER_MODEL ID=1 NAME=10W >
CPU_ONLINE CORE_1 1
< POWER_MODEL ID=2 NAME=15W >
CPU_ONLINE CORE_1 1
< POWER_MODEL ID=3 NAME=7W >
CPU_ONLINE CORE_1 0

# the mode at start
< PM_CONFIG DEFAULT=2 >
"""

# Each run is noted; mode 3 asks whether to reboot, as the real one does.
_NVPMODEL = """
number = sys.argv[2]
if number == "3":
    print("NVPM WARN: Reboot required for changing to this power mode: 3")
    print("NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:")
    answer = sys.stdin.readline()
    if answer.strip().lower() == "yes":
        (root / "rebooted").write_text("yes")
        sys.exit(0)
    print("NVPM ERROR: bad input!")
    print("NVPM ERROR: optMask is 1, no request for power mode")
    sys.exit(BAD_INPUT)
(root / "var/lib/nvpmodel/status").write_text(f"pmode:{int(number):04d}\\n")
"""

_JETSON_CLOCKS = """
import pathlib
clocks = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_m*_freq"))
clocks += sorted((root / "sys/class/devfreq").glob("*/m*_freq"))
fan = root / "sys/devices/pwm-fan/target_pwm"
if sys.argv[1:2] == ["--store"]:
    file = pathlib.Path(sys.argv[2])
    if file.exists():
        sys.exit("File exists. Can I overwrite it? Y/N:" + sys.stdin.readline())
    held = [f"/{f.relative_to(root)}:{f.read_text().strip()}" for f in [*clocks, fan]]
    file.write_text("\\n".join(held) + "\\n")
elif sys.argv[1:2] == ["--restore"]:
    for line in pathlib.Path(sys.argv[2]).read_text().splitlines():
        name, _, value = line.rpartition(":")
        (root / name.lstrip("/")).write_text(value + "\\n")
elif not sys.argv[1:]:
    for file in clocks:
        file.write_text((file.parent / file.name.replace("min", "max")).read_text())
else:
    sys.exit("an option that nobody should use")
"""


class Workshop:
    """The folder, and what was done to it. ``path`` is where its tools are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tools = root / "usr" / "bin"
        self.state = root / "var/lib/edge_inference"
        self.put("proc/sys/kernel/random/boot_id", "first")
        for number in (0, 4):
            self.put(f"{CPU}/policy{number}/scaling_governor", "schedutil")
            self.put(f"{CPU}/policy{number}/scaling_available_governors", "performance schedutil")
            self.put(f"{CPU}/policy{number}/scaling_min_freq", STEPS_KHZ[1])
            self.put(f"{CPU}/policy{number}/scaling_max_freq", STEPS_KHZ[-1])
            self.put(f"{CPU}/policy{number}/cpuinfo_min_freq", STEPS_KHZ[0])
            frequencies = " ".join(map(str, STEPS_KHZ))
            self.put(f"{CPU}/policy{number}/scaling_available_frequencies", frequencies)
        self.put(f"{GPU}/governor", "nvhost_podgov")
        self.put(f"{GPU}/available_governors", "nvhost_podgov performance")
        self.put(f"{GPU}/min_freq", STEPS_HZ[1])
        self.put(f"{GPU}/max_freq", STEPS_HZ[-1])
        self.put(f"{GPU}/available_frequencies", " ".join(map(str, STEPS_HZ)))
        self.put("sys/devices/pwm-fan/target_pwm", 80)
        self.put("etc/nvpmodel.conf", NVPMODEL_CONF)
        self.put("var/lib/nvpmodel/status", "pmode:0002")
        self.add_tool("nvpmodel", _NVPMODEL.replace("BAD_INPUT", "1"))
        self.add_tool("jetson_clocks", _JETSON_CLOCKS)

    def machine(self, timeout_s: float = DEADLINE_S) -> Machine:
        return Machine(self.root, str(self.tools), timeout_s)

    def put(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def get(self, path: str) -> str:
        return (self.root / path).read_text().strip()

    def add_tool(self, name: str, code: str) -> None:
        """Make a tool of Python code that knows ``root`` and notes each of its runs."""
        self.tools.mkdir(parents=True, exist_ok=True)
        file = self.tools / name
        head = f"#!{sys.executable} -IS\nimport sys, pathlib\n"
        head += f"root = pathlib.Path({str(self.root)!r})\n"
        head += "with (root / 'calls').open('a') as log: "
        head += f"print({name!r}, *sys.argv[1:], file=log)\n"
        file.write_text(head + code)
        file.chmod(0o755)

    def calls(self) -> list[str]:
        """Return the tools' runs, each as one line."""
        log = self.root / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def content(self) -> dict[str, bytes]:
        """Return every file that is there, but for the writer's lock."""
        kept: dict[str, bytes] = {}
        for file in self.root.rglob("*"):
            # A guardian may be putting back: its journal is there, and then it is not.
            with contextlib.suppress(FileNotFoundError):
                if file.is_file() and file.name != "writer.lock":
                    kept[str(file.relative_to(self.root))] = file.read_bytes()
        return kept

    def settings(self) -> dict[str, bytes]:
        """Return the files that say how the machine is set."""
        places = ("sys/", "proc/", "etc/", "var/lib/nvpmodel/")
        return {name: data for name, data in self.content().items() if name.startswith(places)}


def wait_for(predicate: Callable[[], Any], what: str) -> Any:
    """Wait until ``predicate`` gives something true and return it; fail at the deadline."""
    end = time.monotonic() + DEADLINE_S
    while not (value := predicate()):
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen in {DEADLINE_S:g} s")
        time.sleep(0.005)
    return value


def request_and_wait(actuators: Actuators, name: str, value: str) -> ActuatorOutcome:
    """Request a value and return the outcome."""
    actuators.request(name, value)
    assert actuators.wait_until_idle(DEADLINE_S)
    return {outcome.actuator: outcome for outcome in actuators.outcomes()}[name]
