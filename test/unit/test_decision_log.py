"""What becomes a line of the log of decisions, and what does not."""

from __future__ import annotations

import dataclasses

import pytest

from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.platform_state import PlatformReport, PlatformState
from edge_inference.observe.monitor.decision_log import DecisionLog
from edge_inference.observe.monitor.node_health import NodeHealth
from edge_inference.observe.monitor.snapshot import TargetRow

NODE = "/ai/inference"
SECOND = 1_000_000_000
STATE = InferenceState(
    NODE, "nanodet", "", "nanodet", "", "ort", "fp32", "ONNX Runtime", False, "", None, ""
)
FULL = Directive(
    1, "/ai/platform_manager", NODE, DirectiveLevel.FULL, 1.0, DirectiveLimits(), "cool"
)
TARGET = TargetRow("steady", "decode rate", "PASS", "PASS: 30 Hz", 30.0, 25.0, True)


def limited(level: DirectiveLevel, reason: str, **limits: float | str) -> Directive:
    return dataclasses.replace(
        FULL,
        level=level,
        reason=reason,
        limits=DirectiveLimits(**limits),  # type: ignore[arg-type]
    )


def report(level: DirectiveLevel, *throttling: str, reason: str = "") -> PlatformReport:
    state = PlatformState("orin", (), 0)
    return PlatformReport(state, None, throttling, level, reason, 0)


class Log:
    """A log with a clock of its own: a second passes before each object."""

    def __init__(self) -> None:
        self.now_ns = 1000 * SECOND
        self.log = DecisionLog(lambda: self.now_ns)

    def __getattr__(self, name: str):
        def add(*arguments: object) -> None:
            self.now_ns += SECOND
            getattr(self.log, name)(*arguments, self.now_ns)

        return add

    def take(self) -> list[tuple[str, str, str]]:
        lines = [(each.kind, each.subject, each.text) for each in self.log.lines()]
        self.log._lines.clear()
        return lines


def test_engines() -> None:
    log = Log()
    log.add_state(STATE, "")
    assert log.take() == [("engine", NODE, "nanodet, fp32 on ort")]
    log.add_state(STATE, "")
    log.add_state(dataclasses.replace(STATE, preparing="nanodet, ort, int8 for the manager"), "")
    int8 = dataclasses.replace(STATE, precision="int8")
    for percent in range(0, 100, 10):
        preparing = f"nanodet, ort, int8 for the manager: calibrating {percent}%"
        log.add_state(dataclasses.replace(STATE, preparing=preparing), "")
    log.add_state(int8, "78 °C")
    log.add_state(int8, "79 °C")
    assert log.take() == [
        ("engine", NODE, "preparing nanodet, ort, int8 for the manager"),
        ("engine", NODE, "nanodet, int8 on ort: 78 °C"),
        ("engine", NODE, "prepared nanodet, ort, int8 for the manager"),
    ]


def test_preparations_that_fail() -> None:
    log = Log()
    log.add_state(dataclasses.replace(STATE, preparing="nanodet, trt, fp16 for the user: x"), "")
    log.take()
    failed = dataclasses.replace(STATE, problem="TensorRT is not installed")
    log.add_state(failed, "")
    log.add_state(failed, "")
    assert log.take() == [
        ("engine", NODE, "nanodet, trt, fp16 for the user failed: TensorRT is not installed")
    ]
    log.add_state(STATE, "")
    log.add_state(failed, "")
    assert log.take() == [("engine", NODE, "not as requested: TensorRT is not installed")]


def test_what_has_been_silent_is_new_again() -> None:
    log = Log()
    log.add_state(STATE, "")
    log.now_ns += 10 * SECOND
    log.add_state(STATE, "")
    assert len(log.take()) == 2


def test_levels_and_limits() -> None:
    log = Log()
    log.add_directive(FULL)
    assert log.take() == []
    log.add_directive(limited(DirectiveLevel.REDUCED, "78 °C", max_rate_hz=20.0))
    log.add_directive(limited(DirectiveLevel.REDUCED, "79 °C", max_rate_hz=17.0))  # a small step
    log.add_directive(limited(DirectiveLevel.REDUCED, "79 °C", max_rate_hz=16.0))  # just as small
    log.add_directive(limited(DirectiveLevel.REDUCED, "80 °C", max_rate_hz=15.0))
    log.add_directive(limited(DirectiveLevel.REDUCED, "80 °C", max_rate_hz=15.0))
    log.add_directive(
        limited(DirectiveLevel.REDUCED, "81 °C", max_rate_hz=15.0, precision_ceiling="int8")
    )
    log.add_directive(FULL)
    assert log.take() == [
        ("level", NODE, "reduced, at most 20 Hz: 78 °C"),
        ("limit", NODE, "reduced, at most 15 Hz: 80 °C"),
        ("limit", NODE, "reduced, at most 15 Hz, at most int8: 81 °C"),
        ("level", NODE, "full: cool"),
    ]


def test_the_first_directive_is_a_line_where_it_limits() -> None:
    log = Log()
    everybody = dataclasses.replace(FULL, node="", limits=DirectiveLimits(max_rate_hz=5.0))
    log.add_directive(everybody)
    assert log.take() == [("limit", "all nodes", "full, at most 5 Hz: cool")]


def test_all_limits_are_named() -> None:
    log = Log()
    log.add_directive(limited(DirectiveLevel.MINIMUM, "hot", max_batch=2, model="nanodet"))
    log.add_directive(limited(DirectiveLevel.MINIMUM, "hot", max_batch=1, model="nanodet"))
    log.add_directive(limited(DirectiveLevel.MINIMUM, "hot", max_batch=1, model="nanodet"))
    assert [text for _, _, text in log.take()] == [
        "minimum, batch at most 2, model nanodet: hot",
        "minimum, batch at most 1, model nanodet: hot",
    ]


def test_a_lost_manager() -> None:
    log = Log()
    for source in ("nothing", "directive", "directive"):
        log.add_limits_source(NODE, source, "")
    assert log.take() == []
    log.add_limits_source(NODE, "safe_level", "no directive for 5 s")
    log.add_limits_source(NODE, "safe_level", "no directive for 5 s")
    log.add_limits_source(NODE, "directive", "")
    assert log.take() == [
        ("limit", NODE, "limits from safe level: no directive for 5 s"),
        ("limit", NODE, "limits from directive"),
    ]


def test_the_machine() -> None:
    log = Log()
    log.add_platform(report(DirectiveLevel.FULL))
    assert log.take() == []
    log.add_platform(report(DirectiveLevel.REDUCED, reason="78 °C"))
    log.add_platform(report(DirectiveLevel.REDUCED, "oc1", "oc2", reason="79 °C"))
    log.add_platform(report(DirectiveLevel.REDUCED, "oc2", "oc1", reason="80 °C"))
    log.add_platform(report(DirectiveLevel.REDUCED, reason="79 °C"))
    assert log.take() == [
        ("level", "orin", "reduced: 78 °C"),
        ("level", "orin", "the machine throttles: oc1, oc2"),
        ("level", "orin", "the machine throttles no more"),
    ]


def test_health_and_targets() -> None:
    log = Log()
    log.add_health(NodeHealth(NODE, "ok", "active"))
    log.add_health(NodeHealth(NODE, "warn", "dropped 3 of 10 frames"))
    for _ in range(8):  # it comes and goes
        log.add_health(NodeHealth(NODE, "ok", "active"))
        log.add_health(NodeHealth(NODE, "warn", "dropped 4 of 10 frames"))
    for second in range(10):
        log.add_health(NodeHealth(NODE, "ok", f"active for {second} s"))
    log.add_health(NodeHealth("/ai/decode", "error", "no model"))
    log.add_health(NodeHealth("/ai/decode", "warn", "a model, and drops"))
    assert log.take() == [
        ("health", NODE, "warn: dropped 3 of 10 frames"),
        ("health", NODE, "ok: active for 9 s"),
        ("health", "/ai/decode", "error: no model"),
    ]
    log.add_target(TARGET)
    log.add_target(TARGET)
    assert log.take() == []
    log.add_target(dataclasses.replace(TARGET, verdict="FAIL", message="FAIL: 9 Hz"))
    assert log.take() == [("target", "steady: decode rate", "FAIL: 9 Hz")]


def test_a_target_that_fails_at_first_sight() -> None:
    log = Log()
    log.add_target(dataclasses.replace(TARGET, verdict="FAIL", message="FAIL: 9 Hz"))
    assert log.take() == [("target", "steady: decode rate", "FAIL: 9 Hz")]


def test_repetitions_and_floods_are_left_out() -> None:
    log = DecisionLog(lambda: 5 * SECOND)
    for number in range(20):
        log.add("limit", NODE, f"limit {number % 2}", number)
    assert [each.text for each in log.lines()] == ["limit 0", "limit 1"]
    log.add("limit", NODE, "limit 0", SECOND)
    assert len(log.lines()) == 3
    for number in range(1000):
        log.add("health", f"/node_{number}", "error", 2 * SECOND)
    assert len(log.lines()) == 3 + 50
    assert log.lines()[0].at_s == 5.0


def test_only_so_many_lines_are_kept() -> None:
    log = DecisionLog()
    for number in range(700):
        log.add("pipeline", "/ai", f"line {number}", number * SECOND)
    lines = log.lines()
    assert (len(lines), lines[0].text, lines[-1].text) == (500, "line 200", "line 699")


@pytest.mark.parametrize("text", ["x" * 10_000, "a\n12:00:00 engine int8", "a\x1b[2J"])
def test_a_text_is_one_line_of_limited_length(text: str) -> None:
    log = DecisionLog()
    log.add("engine", text, text, 0)
    (line,) = log.lines()
    assert len(line.text) <= 400
    assert len(line.subject) <= 200
    assert line.text.isprintable()
