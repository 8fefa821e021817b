"""The doctor on made-up machines: each fault is found, and gone when it is mended."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from edge_inference.cli.doctor import examine_machine
from edge_inference.observe.doctor.cpu_checks import parse_cores
from edge_inference.observe.doctor.examination import examine
from edge_inference.observe.doctor.finding import Finding, FindingLevel, worst_level
from edge_inference.observe.doctor.system_view import ClockDiscipline, SystemView

ROOT = Path(__file__).parents[2]
OK, NOTE, WARNING = FindingLevel.OK, FindingLevel.NOTE, FindingLevel.WARNING
PROBLEM, UNKNOWN = FindingLevel.PROBLEM, FindingLevel.UNKNOWN
MIB = 1 << 20
CLOCK_SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"
POLICY = "sys/devices/system/cpu/cpufreq/policy{}/{}"
NOW_NS = 1_790_000_000 * 10**9
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

# Two moments of /proc/stat: user nice system idle iowait irq softirq steal.
STAT = "cpu  {} 0 100 {} 0 0 0 {}\ncpu0 1 2 3 4\nprocs_running {}"
MEMORY = "MemTotal: 8000000 kB\nMemAvailable: {} kB"
HEALTHY = {
    CLOCK_SOURCE: "arch_sys_counter",
    "sys/devices/system/cpu/online": "0-3",
    "sys/devices/system/cpu/present": "0-3",
    "proc/self/cgroup": "0::/robot.slice/ai.service",
    "proc/stat": STAT.format(1000, 9000, 0, 1),
    "proc/loadavg": "0.10 0.20 0.30 1/200 4242",
    "proc/pressure/cpu": "some avg10=0.00 avg60=9.00 avg300=9.00 total=1",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00",
    "proc/pressure/io": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1",
    "proc/meminfo": "MemTotal: 8000000 kB\nMemFree: 1 kB\nMemAvailable: 6000000 kB\n"
    "SwapTotal: 4000000 kB\nSwapFree: 4000000 kB",
    "proc/vmstat": "pswpin 10\npswpout 20",
    "proc/sys/vm/swappiness": "10",
    "proc/sys/net/core/rmem_max": str(8 * MIB),
    "proc/10/stat": "10 (camera) S 1 1 1 0 -1 0 0 0 0 0 100 0 0 0 20 0 1 0 5",
    "proc/11/stat": "11 (edge (inference)) S 1 1 1 0 -1 0 0 0 0 0 100 0 0 0 20 0 1 0 5",
    "dev/shm/segment": "",
    **{
        POLICY.format(number, name): text
        for number in (0, 2)
        for name, text in (
            ("scaling_governor", "performance"),
            ("scaling_driver", "tegra"),
            ("scaling_max_freq", "2000000"),
            ("cpuinfo_max_freq", "2000000"),
        )
    },
}
#: What half a second changes on a quiet machine.
LATER = {"proc/stat": STAT.format(1010, 9190, 0, 1)}


@dataclass
class MachineUnderTest:
    """A folder of system files; ``later`` is written between the two samples."""

    root: Path
    files: dict[str, str] = field(default_factory=lambda: dict(HEALTHY))
    later: dict[str, str] = field(default_factory=lambda: dict(LATER))
    steady_ns: int = 0
    system_ns: int = NOW_NS
    step_ns: int = 0

    def view(self) -> SystemView:
        self._write(self.files)
        return SystemView(
            root=self.root,
            environment={
                "XDG_CACHE_HOME": str(self.root),
                "ROS_DISTRO": "jazzy",
                "FASTDDS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / "fastdds.xml"),
            },
            pid=11,
            limits=lambda which: UNLIMITED,
            cores=lambda: {0, 1, 2, 3},
            disk=lambda folder: (1 << 40, 0, 1 << 40),
            clock_discipline=lambda: ClockDiscipline(True, 0.01),
            facts=lambda: {"onnxruntime": "1.20", "gpu": "Orin"},
            engine_problems=lambda: {"trt": None, "ort": None},
            has_module=lambda name: True,
            system_ns=lambda: self.system_ns,
            steady_ns=lambda: self.steady_ns,
            wait=self._advance,
        )

    def _advance(self, seconds: float) -> None:
        self.steady_ns += round(seconds * 1e9)
        self.system_ns += round(seconds * 1e9) + self.step_ns
        self._write(self.later)

    def _write(self, files: Mapping[str, str]) -> None:
        for path, text in files.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text + "\n")


@pytest.fixture
def machine(tmp_path: Path) -> MachineUnderTest:
    return MachineUnderTest(tmp_path)


def find(findings: list[Finding], name: str) -> Finding:
    """Return the only finding of a name, such as "cpu: governor"."""
    (found,) = [each for each in findings if f"{each.area}: {each.name}" == name]
    return found


def test_a_healthy_machine_has_nothing_to_complain_about(machine: MachineUnderTest) -> None:
    findings = examine(machine.view())
    assert [each for each in findings if each.level is not OK and each.name != "python"] == []
    assert len({(each.area, each.name) for each in findings}) == len(findings) > 20
    assert worst_level(findings) is OK


FILES = [
    ("clocks: clock source", WARNING, {CLOCK_SOURCE: "hpet"}),
    ("cpu: governor", WARNING, {POLICY.format(2, "scaling_governor"): "powersave"}),
    ("cpu: governor", NOTE, {POLICY.format(0, "scaling_governor"): "schedutil"}),
    ("cpu: frequency limit", WARNING, {POLICY.format(0, "scaling_max_freq"): "1200000"}),
    ("cpu: cores", NOTE, {"sys/devices/system/cpu/present": "0-7"}),
    ("cpu: quota", WARNING, {"sys/fs/cgroup/cpu.max": "150000 100000"}),
    ("cpu: quota", PROBLEM, {"sys/fs/cgroup/robot.slice/cpu.max": "50000 100000"}),
    ("cpu: quota", OK, {"sys/fs/cgroup/robot.slice/ai.service/cpu.max": "max 100000"}),
    ("cpu: quota", OK, {"sys/fs/cgroup/cpu.max": "400000 100000"}),
    (
        "cpu: quota",
        WARNING,
        {
            "proc/self/cgroup": "4:cpuacct,cpu:/docker/7f",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    ),
    ("load: run queue", WARNING, {"proc/loadavg": "4.50 2.0 1.0 1/200 9"}),
    ("load: pressure", WARNING, {"proc/pressure/cpu": "some avg10=35.20 total=9"}),
    ("load: pressure", WARNING, {"proc/pressure/memory": "some avg10=2.5\nfull avg10=2.00"}),
    ("memory: available", WARNING, {"proc/meminfo": MEMORY.format(500000)}),
    ("memory: available", PROBLEM, {"proc/meminfo": MEMORY.format(100000)}),
    (
        "memory: swap",
        WARNING,
        {"proc/meminfo": HEALTHY["proc/meminfo"].replace("SwapFree: 4", "SwapFree: 1")},
    ),
    ("memory: swappiness", NOTE, {"proc/sys/vm/swappiness": "60"}),
    ("memory: limit", NOTE, {"sys/fs/cgroup/memory.max": str(512 * MIB)}),
    ("memory: limit", OK, {"sys/fs/cgroup/memory.max": "max"}),
    ("network: receive buffer", WARNING, {"proc/sys/net/core/rmem_max": "212992"}),
    ("machine: kind", NOTE, {".dockerenv": ""}),
    ("machine: kind", NOTE, {"proc/cpuinfo": "flags : fpu hypervisor avx2"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "level", "files"), FILES)
def test_a_fault_in_files(
    machine: MachineUnderTest, name: str, level: FindingLevel, files: dict[str, str]
) -> None:
    machine.files |= files
    finding = find(examine(machine.view()), name)
    assert finding.level is level, finding
    if level in (WARNING, PROBLEM):
        assert finding.reason and finding.advice
    machine.files |= {path: HEALTHY[path] for path in files if path in HEALTHY}
    for path in set(files) - set(HEALTHY):
        del machine.files[path]
        (machine.root / path).unlink()
    assert find(examine(machine.view()), name).level is OK


CHANGES = [
    ("load: cpu time", WARNING, {"proc/stat": STAT.format(1150, 9050, 0, 1)}),
    ("load: stolen time", WARNING, {"proc/stat": STAT.format(1010, 9170, 20, 1)}),
    ("memory: swap", PROBLEM, {"proc/vmstat": "pswpin 15\npswpout 20"}),
    (
        "load: other processes",
        WARNING,
        {"proc/10/stat": HEALTHY["proc/10/stat"].replace(" 100 0 ", " 130 0 ")},
    ),
    # What this process does itself is no other load.
    (
        "load: other processes",
        OK,
        {"proc/11/stat": HEALTHY["proc/11/stat"].replace(" 100 0 ", " 150 0 ")},
    ),
]


@pytest.mark.parametrize(("name", "level", "files"), CHANGES)
def test_a_fault_between_two_samples(
    machine: MachineUnderTest, name: str, level: FindingLevel, files: dict[str, str]
) -> None:
    machine.later |= files
    finding = find(examine(machine.view()), name)
    assert finding.level is level, finding
    if name == "load: other processes" and level is WARNING:
        assert "camera (process 10) 60%" in finding.value  # 30 ticks of 10 ms in 0.5 s


def test_a_queue_in_both_samples(machine: MachineUnderTest) -> None:
    machine.files["proc/stat"] = STAT.format(1000, 9000, 0, 6)
    assert find(examine(machine.view()), "load: run queue").level is OK  # a moment is no queue
    machine.later["proc/stat"] = STAT.format(1010, 9190, 0, 6)
    finding = find(examine(machine.view()), "load: run queue")
    assert finding.level is WARNING
    assert finding.value.startswith("5 tasks for 4 cores")


def test_a_quota_that_is_used_up(machine: MachineUnderTest) -> None:
    machine.files |= {
        "sys/fs/cgroup/cpu.max": "400000 100000",
        "sys/fs/cgroup/cpu.stat": "nr_throttled 3",
    }
    machine.later["sys/fs/cgroup/cpu.stat"] = "nr_throttled 5"
    finding = find(examine(machine.view()), "cpu: quota")
    assert (finding.level, "used up just now" in finding.value) == (PROBLEM, True)


def discipline(is_synchronized: bool) -> Callable[[], ClockDiscipline]:
    return lambda: ClockDiscipline(is_synchronized, 0.5)


def fail(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted", "adjtimex")


VIEWS = [
    ("clocks: synchronization", WARNING, {"clock_discipline": discipline(False)}),
    ("clocks: synchronization", UNKNOWN, {"clock_discipline": fail}),
    ("clocks: system time", PROBLEM, {"system_ns": lambda: 10**9}),
    ("cpu: cores", WARNING, {"cores": lambda: {2}}),
    ("memory: shared memory", PROBLEM, {"disk": lambda _: (64 * MIB, 10, 60 * MIB)}),
    ("memory: shared memory", WARNING, {"disk": lambda _: (128 * MIB, 0, 128 * MIB)}),
    ("software: cache", WARNING, {"disk": lambda _: (1 << 40, 0, 1 << 30)}),
    ("software: cache", PROBLEM, {"disk": lambda _: (1 << 40, 0, 1 << 20)}),
    ("machine: gpu", NOTE, {"facts": lambda: {}}),
    ("software: engines", PROBLEM, {"engine_problems": lambda: {"trt": "no", "ort": "no"}}),
    ("software: engines", WARNING, {"engine_problems": lambda: {"trt": "no", "ort": None}}),
    ("ros: ros 2", NOTE, {"has_module": lambda name: False}),
    ("limits: real-time priority", NOTE, {"limits": lambda _: (0, 0)}),
    ("limits: open files", WARNING, {"limits": lambda _: (256, 4096)}),
    ("ros: domain", WARNING, {"environment": {"ROS_DOMAIN_ID": "150", "HOME": "/"}}),
    ("ros: domain", PROBLEM, {"environment": {"ROS_DOMAIN_ID": "-1", "HOME": "/"}}),
    ("ros: domain", PROBLEM, {"environment": {"ROS_DOMAIN_ID": "233", "HOME": "/"}}),
    ("ros: profile", NOTE, {"environment": {"HOME": "/"}}),
    (
        "ros: profile",
        PROBLEM,
        {"environment": {"FASTDDS_DEFAULT_PROFILES_FILE": "/no/such.xml", "HOME": "/"}},
    ),
    (
        "ros: profile",
        UNKNOWN,
        {"environment": {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", "HOME": "/"}},
    ),
]


@pytest.mark.parametrize(("name", "level", "changes"), VIEWS)
def test_a_fault_of_this_process(
    machine: MachineUnderTest, name: str, level: FindingLevel, changes: dict[str, object]
) -> None:
    view = replace(machine.view(), **changes)
    assert find(examine(view), name).level is level


def test_a_clock_that_steps(machine: MachineUnderTest) -> None:
    machine.step_ns = -250_000_000
    finding = find(examine(machine.view()), "clocks: clock steps")
    assert finding.level is WARNING
    assert finding.value == "-250.00 ms in 0.5 s"


def test_the_segment_of_the_profile_in_use_counts(machine: MachineUnderTest) -> None:
    profile = machine.root / "small.xml"
    profile.write_text("<a><segment_size>1048576</segment_size></a>")
    environment = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(profile), "HOME": "/"}
    disk = lambda _: (64 * MIB, 0, 60 * MIB)  # noqa: E731
    view = replace(machine.view(), environment=environment, disk=disk)
    assert find(examine(view), "memory: shared memory").level is OK
    assert "1024 KiB" in find(examine(view), "ros: profile").value


def test_an_empty_machine_is_unknown_and_nothing_is_invented(tmp_path: Path) -> None:
    view = replace(MachineUnderTest(tmp_path, {}, {}).view(), clock_discipline=fail)
    findings = examine(view)
    levels = {f"{each.area}: {each.name}": each.level for each in findings}
    unknown = {name for name, level in levels.items() if level is UNKNOWN}
    assert unknown >= {
        "clocks: clock source",
        "clocks: synchronization",
        "cpu: cores",
        "cpu: governor",
        "cpu: frequency limit",
        "load: cpu time",
        "load: run queue",
        "load: other processes",
        "load: pressure",
        "load: stolen time",
        "memory: available",
        "memory: swap",
        "network: receive buffer",
    }
    assert all(each.reason for each in findings if each.level is UNKNOWN)


@pytest.mark.parametrize("text", ["", "garbage", "-5 x", "cpu a b c", "\0\xff" * 50])
def test_files_with_garbage_are_unknown(machine: MachineUnderTest, text: str) -> None:
    machine.files = {
        path: text if path.startswith(("proc", "sys")) and "cgroup" not in path else old
        for path, old in HEALTHY.items()
    }
    machine.files["sys/fs/cgroup/cpu.max"] = text
    machine.later = {}
    findings = examine(machine.view())
    assert find(findings, "cpu: quota").level is UNKNOWN
    assert find(findings, "load: cpu time").level is UNKNOWN
    assert find(findings, "memory: available").level is UNKNOWN


def test_the_worst_level() -> None:
    order = (OK, NOTE, UNKNOWN, WARNING, PROBLEM)
    findings = [Finding("a", "b", level, "") for level in order]
    assert [worst_level(findings[: count + 1]) for count in range(5)] == list(order)
    assert worst_level(findings[::-1]) is PROBLEM


def test_core_lists() -> None:
    assert parse_cores("0-2,5,7-8") == {0, 1, 2, 5, 7, 8}
    assert parse_cores("") == set()


@pytest.mark.parametrize(("level", "code"), [(OK, 0), (WARNING, 0), (UNKNOWN, 0), (PROBLEM, 1)])
def test_exit_code_and_json(
    level: FindingLevel, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    finding = Finding("cpu", "governor", level, "[bold]powersave", "why", "do this", "a command")
    monkeypatch.setattr(examine_machine, "preflight", lambda: [finding])
    assert run(["doctor", "--json", "--no-graph"]) == code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["level"] == level.value
    assert lines[1]["summary"]["worst"] == level.value
    assert run(["doctor", "--no-graph"]) == code
    printed = capsys.readouterr().out
    assert "[bold]powersave" in printed  # a value is no markup
    assert "a command" in printed
