"""What is known of a robot, from the objects on its topics."""

from __future__ import annotations

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from edge_inference.core.directives.directive import (
    Directive,
    DirectiveLevel,
    DirectiveLimits,
    OperatingPoint,
    Workload,
    make_release_directive,
)
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.platform_state import PlatformReport, PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.core.results import Detections
from edge_inference.core.results.detection_results import DETECTION
from edge_inference.core.runtime.latency import (
    EndToEndLatency,
    LatencyReport,
    Percentiles,
    StageLatency,
)
from edge_inference.core.runtime.process_statistics import Hold, ProcessStatistics
from edge_inference.core.voice import (
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    IntentSlot,
    Transcript,
)
from edge_inference.errors import ConfigError
from edge_inference.observe.monitor.node_health import NodeHealth
from edge_inference.observe.monitor.parameter_row import ParameterChange
from edge_inference.observe.monitor.platform_rows import OWN_SENSORS, make_own_row
from edge_inference.observe.monitor.robot_monitor import RobotMonitor
from edge_inference.observe.monitor.snapshot import Snapshot

SECOND = 1_000_000_000
START = 1000 * SECOND
NODE = "/ai/inference"
TIMES = Percentiles(mean=5.0, p50=4.0, p99=9.0)
UNKNOWN = Percentiles()
STAGE = StageLatency(
    "inference", NODE, 100, 10, 30.0, TIMES, UNKNOWN, UNKNOWN, drops={"superseded": 3}
)
REPORT = LatencyReport(
    10.0,
    (STAGE,),
    deadline_ms=50.0,
    ends=(EndToEndLatency("decode", "/ai/decode", 90, TIMES, TIMES, 2),),
)
STATE = InferenceState(
    NODE, "nanodet", "", "nanodet", "", "ort", "fp32", "ONNX Runtime", False, "", None, ""
)
DIRECTIVE = Directive(
    3,
    "/ai/platform_manager",
    NODE,
    DirectiveLevel.REDUCED,
    0.5,
    DirectiveLimits(max_rate_hz=15.0, precision_ceiling="int8"),
    "78 °C",
)
WORKLOAD = Workload(
    NODE,
    50,
    False,
    30.0,
    14.9,
    1.0,
    1,
    (OperatingPoint("nanodet", "fp32"), OperatingPoint("nanodet", "int8")),
    1,
    3,
    "/ai/platform_manager",
    DIRECTIVE.limits,
    "directive",
)


def statistics(pid: int, *nodes: str, **values) -> ProcessStatistics:
    known = {
        "clock_id": 1,
        "begin_ns": 0,
        "end_ns": SECOND // 2,
        "cpu_ms": 250.0,
        "memory_mib": 120.0,
        "minor_faults": 0,
        "major_faults": 0,
    }
    return ProcessStatistics(nodes, pid, **{**known, **values})


def detections(label: str, stamp_ns: int = 0) -> Detections:
    box = np.array([[1, 2, 31, 42]], np.float32)
    one = np.ones(1, np.float32)
    return Detections(box, one, np.zeros(1, np.int32), (label,), 640, 480, "nanodet", stamp_ns)


class Robot:
    """A monitor with a clock."""

    def __init__(self) -> None:
        self.now_ns = START
        self.monitor = RobotMonitor(wall_ns=lambda: self.now_ns)

    def add(self, topic: str, item: object, after_s: float = 0.0) -> None:
        self.now_ns += round(after_s * SECOND)
        self.monitor.add(topic, item, self.now_ns)

    def see(self, after_s: float = 0.0) -> Snapshot:
        self.now_ns += round(after_s * SECOND)
        return self.monitor.snapshot(self.now_ns)


@pytest.fixture
def robot() -> Robot:
    return Robot()


def test_nothing_is_known_of_nothing(robot: Robot) -> None:
    found = robot.see()
    assert found == Snapshot(START / 1e9, "")
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_stages_and_ends(robot: Robot) -> None:
    robot.add("/ai/latency_report", REPORT)
    found = robot.see()
    (stage,), (end,) = found.stages, found.ends
    assert (stage.stage, stage.node, stage.rate_hz, stage.process) == (
        "inference",
        NODE,
        30.0,
        TIMES,
    )
    assert (stage.drops, stage.queue, stage.silent_s) == ({"superseded": 3}, UNKNOWN, 0.0)
    assert (end.stage, end.recent, end.deadline_misses) == ("decode", TIMES, 2)
    assert (found.window_s, found.deadline_ms) == (10.0, 50.0)
    found = robot.see(after_s=5.0)
    assert (found.stages, found.ends, found.window_s, found.deadline_ms) == ((), (), None, None)


def test_a_silent_stage(robot: Robot) -> None:
    robot.add("/ai/latency_report", REPORT)
    robot.add("/ai/latency_report", REPORT, after_s=1.0)
    robot.add("/ai/latency_report", REPORT, after_s=1.0)
    assert robot.see(after_s=0.5).stages[0].silent_s == pytest.approx(2.5)
    again = dataclasses.replace(STAGE, count=1)  # it has started again
    robot.add("/ai/latency_report", dataclasses.replace(REPORT, stages=(again,)))
    assert robot.see().stages[0].silent_s == 0.0


def test_a_stage_that_was_silent_before_it_was_seen(robot: Robot) -> None:
    old = dataclasses.replace(STAGE, window_count=0, rate_hz=0.0)
    robot.add("/ai/latency_report", dataclasses.replace(REPORT, stages=(old,)))
    assert robot.see(after_s=1.0).stages[0].silent_s == pytest.approx(11.0)


def test_processes(robot: Robot) -> None:
    holds = (
        Hold(0, 100.0, 40.0),
        Hold(0, 500.0, 10.0, is_stopped=True),
    )
    robot.add("/ai/process_statistics", statistics(7, "/ai/b", "/ai/a", holds=holds))
    (process,) = robot.see(after_s=0.25).processes
    assert (process.pid, process.nodes, process.memory_mib) == (7, ("/ai/b", "/ai/a"), 120.0)
    assert process.cpu_share == 0.5
    assert process.lock_ms_per_s == pytest.approx(120.0)
    assert process.run_queue_ms_per_s == pytest.approx(100.0)
    assert process.age_s == 0.25
    robot.add("/ai/process_statistics", statistics(7, "/ai/b", end_ns=0))  # an empty window
    assert robot.see().processes[0].age_s == 0.25
    assert robot.see(after_s=10.0).processes == ()


def test_a_process_that_was_replaced_goes_at_once(robot: Robot) -> None:
    robot.add("/ai/process_statistics", statistics(7, "/ai/inference", "/ai/decode"))
    robot.add("/ai/process_statistics", statistics(8, "/ai/command"))
    robot.add("/ai/process_statistics", statistics(9, "/ai/inference"), after_s=2.5)
    robot.add("/ai/process_statistics", statistics(8, "/ai/command"))
    assert [each.pid for each in robot.see().processes] == [8, 9]


def test_two_processes_with_the_same_nodes_are_both_shown(robot: Robot) -> None:
    for _ in range(5):
        robot.add("/ai/process_statistics", statistics(7, "/ai/inference"), after_s=0.5)
        robot.add("/ai/process_statistics", statistics(8, "/ai/inference"))
        assert {each.pid for each in robot.see().processes} == {7, 8}
    other_machine = statistics(8, "/ai/inference", clock_id=2)
    robot.add("/ai/process_statistics", other_machine)
    assert [each.pid for each in robot.see().processes] == [7, 8, 8]


def test_engines(robot: Robot) -> None:
    robot.add("/ai/inference_state", STATE)
    (engine,) = robot.see().engines
    assert (engine.model, engine.backend, engine.precision) == ("nanodet", "ort", "fp32")
    assert (engine.batch, engine.rate_hz, engine.level, engine.reason) == (None, None, "", "")
    robot.add("/ai/performance_directive", DIRECTIVE)
    robot.add("/ai/workload", WORKLOAD)
    int8 = dataclasses.replace(STATE, precision="int8", preparing="x: 10%", progress=0.1)
    robot.add("/ai/inference_state", int8)
    (engine,) = robot.see().engines
    assert (engine.precision, engine.batch, engine.rate_hz, engine.demand_hz) == (
        "int8",
        1,
        14.9,
        30.0,
    )
    assert (engine.max_rate_hz, engine.precision_ceiling) == (15.0, "int8")
    assert (engine.level, engine.reason, engine.progress) == ("reduced", "78 °C", 0.1)
    assert [each.text for each in robot.see().decisions] == [
        "nanodet, fp32 on ort",
        "reduced, at most 15 Hz, at most int8: 78 °C",
        "nanodet, int8 on ort: 78 °C",
        "preparing x",
    ]
    assert robot.see(after_s=10.0).engines == ()


def test_a_node_without_a_state(robot: Robot) -> None:
    robot.add("/ai/workload", dataclasses.replace(WORKLOAD, node="/ai/speech_recognition"))
    robot.add("/ai/performance_directive", dataclasses.replace(DIRECTIVE, node=""))
    (engine,) = robot.see().engines
    assert (engine.node, engine.model, engine.precision) == (
        "/ai/speech_recognition",
        "nanodet",
        "int8",
    )
    assert (engine.backend, engine.engine, engine.level) == ("", "", "reduced")
    unknown = dataclasses.replace(WORKLOAD, operating_point=None, node="/ai/speech_recognition")
    robot.add("/ai/workload", unknown)
    assert robot.see().engines[0].precision == ""


def test_a_manager_that_is_lost_or_leaves(robot: Robot) -> None:
    robot.add("/ai/performance_directive", DIRECTIVE)
    lost = dataclasses.replace(
        WORKLOAD, limits=DirectiveLimits(max_rate_hz=5.0), limits_source="safe_level", problem="no"
    )
    robot.add("/ai/workload", lost)
    (engine,) = robot.see().engines
    assert (engine.level, engine.reason) == ("", "the node's safe level: no")
    assert (engine.max_rate_hz, engine.problem) == (5.0, "no")
    robot.add("/ai/workload", WORKLOAD)
    robot.add("/ai/performance_directive", make_release_directive(DIRECTIVE.manager, 0))
    assert robot.see().engines[0].level == "full"
    assert robot.see().decisions[-1].text == "full: the manager has left"
    robot.add("/ai/performance_directive", dataclasses.replace(DIRECTIVE, manager="/other"))
    robot.add("/ai/performance_directive", make_release_directive(DIRECTIVE.manager, 0))
    assert robot.see().engines[0].level == "reduced"


def platform_state(**loads: float | None) -> PlatformState:
    readings = [
        Reading("zone/cpu", Quantity.TEMPERATURE, 71.5, "f", 0, role=Role.CONTROL, throttle=95.0),
        Reading("rail/in", Quantity.POWER, 12.0, "f", 0, role=Role.TOTAL_POWER),
        Reading(
            "zone/gpu", Quantity.TEMPERATURE, None, "f", 0, ReadingStatus.GATED, problem="it is off"
        ),
        Reading("alert/oc1", Quantity.STATE, 1.0, "f", 0, role=Role.THROTTLE),
        *(
            Reading(name, Quantity.SHARE, load, "f", 0)
            if load is not None
            else Reading(name, Quantity.SHARE, None, "f", 0, ReadingStatus.STALE)
            for name, load in loads.items()
        ),
    ]
    return PlatformState("orin", tuple(readings), 0, "MAXN", "")


def test_the_machine(robot: Robot) -> None:
    loads = {"cpu/load": 0.25, "memory/used": 0.5, "gpu/1/load": 0.75, "nvml/0/load": 0.125}
    report = PlatformReport(
        platform_state(**loads), 0.2, ("oc1",), DirectiveLevel.REDUCED, "hot", 0
    )
    robot.add("/ai/platform_state", report)
    platform = robot.see(after_s=0.5).platform
    assert platform is not None
    assert (platform.board, platform.mode, platform.level) == ("orin", "MAXN", "reduced")
    assert (platform.reason, platform.headroom, platform.throttling) == ("hot", 0.2, ("oc1",))
    assert (platform.power_w, platform.hottest_c, platform.hottest_name) == (12.0, 71.5, "zone/cpu")
    assert (platform.cpu_share, platform.memory_share, platform.gpu_share) == (0.25, 0.5, 0.75)
    assert (platform.source, platform.age_s) == ("/ai/platform_state", 0.5)
    cpu, _, gpu, *_ = platform.readings
    assert (cpu.text, cpu.unit, cpu.limit, cpu.role) == ("71.5 °C", "Cel", 95.0, "control")
    assert (gpu.value, gpu.text, gpu.status) == (None, "it is off", "gated")
    assert robot.see(after_s=10.0).platform is None


def test_what_a_machine_does_not_say_is_unknown() -> None:
    row = make_own_row(platform_state(**{"cpu/load": None}), 0.0)
    assert (row.cpu_share, row.gpu_share, row.memory_share) == (None, None, None)
    assert (row.level, row.reason, row.headroom) == ("", "", None)
    assert (row.source, row.throttling) == (OWN_SENSORS, ("alert/oc1",))
    assert make_own_row(PlatformState("x", (), 0), 0.0).power_w is None


def test_health_and_targets(robot: Robot) -> None:
    values = {"bound": "33", "margin": "-1", "value": "34", "required": "true"}
    robot.add(
        "/diagnostics",
        (
            NodeHealth(NODE, "ok", "active, 30 frames"),
            NodeHealth("/ai/monitor: what holds frames up", "warn", "PASS: a lock"),
            NodeHealth("/ai/latency: steady: decode: p99", "error", "FAIL: 34 ms", values),
            NodeHealth("/ai/latency: steady: rate", "stale", "NOT MEASURED: x", {"required": "no"}),
            NodeHealth("a: b: c", "ok", "all well"),
        ),
    )
    found = robot.see(after_s=1.0)
    assert [(each.name, each.level, each.age_s) for each in found.health] == [
        ("/ai/inference", "ok", 1.0),
        ("/ai/monitor: what holds frames up", "warn", 1.0),
        ("a: b: c", "ok", 1.0),
    ]
    failed, open_ = found.targets
    assert (failed.scenario, failed.label, failed.verdict) == ("steady", "decode: p99", "FAIL")
    assert (failed.value, failed.bound, failed.required) == (34.0, 33.0, True)
    assert (open_.verdict, open_.value, open_.bound, open_.required) == (
        "NOT MEASURED",
        None,
        None,
        False,
    )
    found = robot.see(after_s=9.0)
    assert (found.health, found.targets) == ((), ())


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "x", "1e999", ""])
def test_a_figure_of_a_target_that_is_no_number(robot: Robot, text: str) -> None:
    values = {"bound": text, "value": text, "required": "true"}
    robot.add("/diagnostics", (NodeHealth("n: s: t", "ok", "PASS", values),))
    (target,) = robot.see().targets
    assert (target.value, target.bound) == (None, None)


def test_voice(robot: Robot) -> None:
    assert robot.see().voice.at_s is None
    robot.add("/ai/transcript", Transcript("go forward", 0.9, "command", 0, is_final=False))
    slots = {"distance": IntentSlot("distance", 2.0, "m"), "how": IntentSlot("how", "slowly")}
    intents = (Intent("move_forward", slots), Intent("stop"))
    robot.add("/ai/intent", IntentArray(intents, 1.0, "go", "grammar", 0))
    steps = (
        ActionStep("move_forward", distance_m=2.0, speed_mps=0.5),
        ActionStep("say", values=(IntentSlot("text", "hello"),)),
        ActionStep("go_to", target="kitchen"),
    )
    robot.add("/ai/action_plan", ActionPlan("move", steps, 0))
    feedback = SimpleNamespace(state=SimpleNamespace(value="moving"), problem="")
    robot.add("/ai/command_feedback", feedback)
    robot.add("/ai/say", "I am going", after_s=1.0)
    voice = robot.see(after_s=3.0).voice
    assert (voice.transcript, voice.is_final, voice.state) == ("go forward", False, "moving")
    assert voice.intents == ("move_forward: distance 2 m, how slowly", "stop")
    assert voice.plan == (
        "move_forward: distance 2 m, speed 0.5 m/s",
        "say: text hello",
        "go_to: target kitchen",
    )
    assert (voice.said, voice.problem, voice.at_s) == ("I am going", "", START / 1e9 + 1.0)
    robot.add("/ai/action_plan", ActionPlan("move", (), 0, is_refused=True, reason="too far"))
    voice = robot.see().voice
    assert (voice.plan, voice.problem) == ((), "too far")


def test_results(robot: Robot) -> None:
    robot.add("/ai/detections", detections("cup"))
    robot.add("/ai/detections", detections("cat\x1b[2J"))
    robot.add("/front/ai/detections", detections("dog"))
    first, second = robot.see(after_s=1.0).results
    assert (first.topic, first.kind, first.model) == ("/ai/detections", "detection", "nanodet")
    assert first.lines == ("cat\\x1b[2J 1.00 [1, 2, 30, 40]",)
    assert (second.topic, second.age_s) == ("/front/ai/detections", 1.0)
    assert robot.see(after_s=9.0).results == ()


def test_a_kind_of_another_package_that_fails(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(result: Detections, limit: int) -> list[str]:
        raise KeyError(f"no {limit}")

    broken = dataclasses.replace(DETECTION, to_lines=fail)
    monkeypatch.setattr(
        "edge_inference.observe.monitor.robot_monitor.kind_of", lambda result: broken
    )
    robot.add("/ai/detections", detections("cup"))
    assert robot.see().results[0].lines == ("cannot be shown: KeyError: 'no 20'",)


def test_parameters_and_other_decisions(robot: Robot) -> None:
    robot.add("/parameter_events", (ParameterChange("/ai/decode", "confidence", "0.4"),))
    robot.monitor.add_decision("pipeline", "/ai", "gone", robot.now_ns)
    lines = [(each.at_s, each.kind, each.subject, each.text) for each in robot.see().decisions]
    assert lines == [
        (START / 1e9, "parameter", "/ai/decode", "confidence: 0.4"),
        (START / 1e9, "pipeline", "/ai", "gone"),
    ]


def test_everything_is_bounded(robot: Robot) -> None:
    long = "x" * 5_000
    for number in range(1000):
        name = f"/ai/{number}/{long}"
        robot.add("/ai/process_statistics", statistics(number, *[name] * 300))
        robot.add("/ai/inference_state", dataclasses.replace(STATE, node=name, engine=long))
        robot.add("/ai/workload", dataclasses.replace(WORKLOAD, node=name, problem=long))
        robot.add("/ai/performance_directive", dataclasses.replace(DIRECTIVE, node=name))
        robot.add("/diagnostics", (NodeHealth(f"/{number}", "error", long),) * 2)
        robot.add("/diagnostics", (NodeHealth(f"a: {number}: x", "ok", "PASS", {"required": ""}),))
        robot.add(f"/{number}/detections", detections(long))
    stages = tuple(
        dataclasses.replace(STAGE, stage=f"{number}{long}", drops={f"{n}": n for n in range(99)})
        for number in range(1000)
    )
    ends = tuple(
        dataclasses.replace(REPORT.ends[0], stage=f"{number}{long}") for number in range(1000)
    )
    robot.add("/ai/latency_report", dataclasses.replace(REPORT, stages=stages, ends=ends))
    slots = {f"{number}": IntentSlot(f"{number}", long) for number in range(100)}
    intents = tuple(Intent(long, slots) for _ in range(1000))
    robot.add("/ai/intent", IntentArray(intents, 1.0, long, "grammar", 0))
    readings = tuple(
        Reading(f"{number}{long}", Quantity.POWER, 1.0, "f", 0) for number in range(5000)
    )
    report = PlatformReport(
        PlatformState(long, readings, 0, long, long),
        None,
        (long,) * 999,
        DirectiveLevel.FULL,
        long,
        0,
    )
    robot.add("/ai/platform_state", report)
    found = robot.see()
    for rows in (
        found.stages,
        found.ends,
        found.processes,
        found.engines,
        found.health,
        found.targets,
        found.results,
    ):
        assert len(rows) == 256
    assert len(found.stages[0].drops) == 64
    assert len(json.dumps(dataclasses.asdict(found), allow_nan=False)) < 10 << 20
    # The names have not displaced each other: those that came first have stayed.
    assert found.results[0].topic == "/0/detections"


def test_unknown_figures_stay_unknown_in_json(robot: Robot) -> None:
    nothing = StageLatency("s", "/n", 0, 0, 0.0, UNKNOWN, UNKNOWN, UNKNOWN)
    robot.add("/ai/latency_report", LatencyReport(math.inf, (nothing,)))
    text = json.dumps(dataclasses.asdict(robot.see().stages[0]), allow_nan=False)
    assert '"p50": null' in text


@pytest.mark.parametrize("topic", ["/ai/stage_timing", "/ai/other", "/ai/detections/more", ""])
def test_unknown_topics(robot: Robot, topic: str) -> None:
    with pytest.raises(ConfigError, match="expected one of latency_report"):
        robot.add(topic, detections("cup"))
