"""What is known of a robot, from the objects on its topics."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.platform_state import PlatformReport, PlatformState
from edge_inference.core.reading import Quantity, Reading
from edge_inference.core.results import Detections
from edge_inference.core.results.detection_results import DETECTION
from edge_inference.core.runtime.latency import LatencyReport, StageLatency
from edge_inference.core.runtime.process_statistics import Hold
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
from edge_inference.observe.monitor.snapshot import Snapshot
from monitor_kit import (
    DIRECTIVE,
    NODE,
    REPORT,
    STAGE,
    START,
    STATE,
    TIMES,
    UNKNOWN,
    WORKLOAD,
    Robot,
    detections,
    statistics,
)


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
    found = robot.see()
    assert [each.pid for each in found.processes] == [8, 9]
    assert [(each.kind, each.subject, each.text) for each in found.decisions] == [
        ("pipeline", "/ai/inference", "a new process, 9, has the nodes of one that has ended")
    ]


def test_a_process_that_starts_again_after_a_minute(robot: Robot) -> None:
    robot.add("/ai/process_statistics", statistics(7, "/ai/inference"))
    robot.add("/ai/process_statistics", statistics(9, "/ai/inference", end_ns=0), after_s=60.0)
    assert len(robot.see().decisions) == 1
    robot.add("/ai/process_statistics", statistics(9, "/ai/inference"), after_s=200.0)
    assert len(robot.see().decisions) == 1


def test_two_processes_with_the_same_nodes_are_both_shown(robot: Robot) -> None:
    for _ in range(5):
        robot.add("/ai/process_statistics", statistics(7, "/ai/inference"), after_s=0.5)
        robot.add("/ai/process_statistics", statistics(8, "/ai/inference"))
        assert {each.pid for each in robot.see().processes} == {7, 8}
        assert robot.see().decisions == ()
    other_machine = statistics(8, "/ai/inference", clock_id=2)
    robot.add("/ai/process_statistics", other_machine)
    assert [each.pid for each in robot.see().processes] == [7, 8, 8]


def test_health_and_targets(robot: Robot) -> None:
    values = {"bound": "33", "margin": "-1", "value": "34", "required": "true"}
    robot.add(
        "/diagnostics",
        (
            NodeHealth(NODE, "ok", "active, 30 frames"),
            NodeHealth("/ai/monitor: what holds frames up", "warn", "PASS: a lock", values),
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
    assert [(each.kind, each.subject) for each in found.decisions] == [
        ("health", "/ai/monitor: what holds frames up"),
        ("target", "steady: decode: p99"),
    ]
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
    for is_final, problem in ((False, ""), (True, "no phrase")):
        robot.add(
            "/ai/transcript", Transcript("", 0.0, "command", 0, is_final, problem="no phrase")
        )
        assert robot.see().voice.problem == problem


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
    robot.add("/ai/latency_report", LatencyReport(10.0, (nothing,)))
    text = json.dumps(dataclasses.asdict(robot.see().stages[0]), allow_nan=False)
    assert '"p50": null' in text


@pytest.mark.parametrize(
    "topic", ["/ai/stage_timing", "/ai/other", "/ai/detections/more", "detections", ""]
)
def test_unknown_topics(robot: Robot, topic: str) -> None:
    with pytest.raises(ConfigError, match="expected one of latency_report"):
        robot.add(topic, detections("cup"))
