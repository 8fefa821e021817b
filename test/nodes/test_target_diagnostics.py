"""The targets of a file on /diagnostics, as another process sees them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import serialize_message

from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.diagnostics import DiagnosticsAdapter
from edge_inference.nodes.conversions.process_statistics import ProcessStatisticsAdapter
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.nodes.observe import latency
from edge_inference.observe.monitor.robot_monitor import RobotMonitor
from edge_inference.observe.monitor.snapshot import TargetRow
from rig import Outside, Rig, wait_for

OK, WARN, ERROR, STALE = (bytes([level]) for level in range(4))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "REPORT_PERIOD_S", 0.1)


def write(folder: Path, targets: str) -> Path:
    file = folder / "targets.yaml"
    file.write_text(f"name: trial\nscenarios:\n  robot:\n    targets:\n{targets}")
    return file


def statuses(seen: list[Any]) -> dict[str, Any]:
    """Return the latest status of each target."""
    return {
        status["name"].removeprefix("/ai/latency: robot: "): status
        for array in seen
        for status in array["status"]
        if ": " in status["name"]
    }


def test_levels_of_all_verdicts(rig: Rig, outside: Outside, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "      - {what: process_ms, where: decode, statistic: p50, max: 8}\n"
        "      - {what: process_ms, where: decode, statistic: p50, max: 6}\n"
        "      - {what: process_ms, where: decode, statistic: p50, max: 5, required: false}\n"
        "      - {what: process_ms, where: decode, statistic: p99.9, max: 8}\n"
        "      - {what: gpu_percent, max: 80}\n"
        "      - {what: memory_mib, max: 100}\n",
    )
    seen = outside.listen("/diagnostics", "diagnostic_msgs/DiagnosticArray")
    rig.load("Latency", targets=str(file), targets_window_s=600.0)
    node = rig.container.node
    timings, processes = (
        rig.call(lambda each=each: Publisher(node, each[0], each[1], RELIABLE))
        for each in (
            (StageTimingAdapter(), "/ai/stage_timing"),
            (ProcessStatisticsAdapter(), "/ai/process_statistics"),
        )
    )
    for stamp in range(1, 50):
        timings.publish(StageTiming("decode", "/ai/decode", 0.5, 7.0, 9.0, stamp_ns=stamp))
        processes.publish(ProcessStatistics(("/ai/decode",), 1, 1, 0, 10**9, 10.0, 200.0, 0, 0))
    wanted = {
        "decode process_ms p50 <= 8 ms": OK,
        "decode process_ms p50 <= 6 ms": ERROR,
        "decode process_ms p50 <= 5 ms": WARN,  # not required
        "decode process_ms p99.9 <= 8 ms": WARN,  # too few samples
        "gpu_percent <= 80 %": STALE,
        "memory_mib <= 100 MiB": ERROR,
    }

    def levels() -> dict[str, Any]:
        return {name: status["level"] for name, status in statuses(seen).items()}

    wait_for(lambda: _as_bytes(levels()) == wanted, "the level of every target")
    status = statuses(seen)["decode process_ms p50 <= 6 ms"]
    values = {pair["key"]: pair["value"] for pair in status["values"]}
    assert values == {
        "bound": "6", "margin": "-1", "value": "7", "low": "7", "high": "7", "samples": "49",
        "required": "true",
    }  # fmt: skip
    assert status["message"].startswith("FAIL: 7 ms")
    assert "no platform manager" in statuses(seen)["gpu_percent <= 80 %"]["message"]


def _as_bytes(levels: dict[str, Any]) -> dict[str, bytes]:
    return {
        name: level if isinstance(level, bytes) else bytes([level])
        for name, level in levels.items()
    }


def test_an_invalid_file_fails_the_node_with_its_reason(rig: Rig, tmp_path: Path) -> None:
    file = write(tmp_path, "      - {what: age_ms, max: .nan}\n")
    node = rig.load_component("Latency", targets=str(file)).node
    ((_, message),) = node.health.take_errors()
    assert f"{file}, line 5" in message
    assert "got nan" in message


def test_without_a_file_there_is_no_target(rig: Rig) -> None:
    assert rig.load("Latency")._targets is None


def test_the_shipped_file_by_name(rig: Rig) -> None:
    assert rig.load("Latency", targets="specification")._targets is not None


def test_a_monitor_shows_targets_apart_from_the_health_of_nodes(rig: Rig, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "      - {what: process_ms, where: decode, statistic: p50, max: 8}\n"
        "      - {what: memory_mib, max: 100, required: false}\n",
    )
    monitor, adapter = RobotMonitor(), DiagnosticsAdapter()
    node = rig.container.node

    def receive(message: DiagnosticArray) -> None:
        item = adapter.from_bytes(serialize_message(message))
        monitor.add("/diagnostics", item, time.monotonic_ns())

    rig.call(lambda: node.create_subscription(DiagnosticArray, "/diagnostics", receive, 10))
    rig.load("Latency", targets=str(file), targets_window_s=600.0)
    topic = "/ai/stage_timing"
    timings = rig.call(lambda: Publisher(node, StageTimingAdapter(), topic, RELIABLE))
    for number in range(100):
        timings.publish(StageTiming("decode", "/ai/decode", 0.0, 7.0, 9.0, stamp_ns=number + 1))
    verdicts = ["PASS", "NOT MEASURED"]

    def find_targets() -> tuple[TargetRow, ...]:
        found = monitor.snapshot(time.monotonic_ns())
        return found.targets if [each.verdict for each in found.targets] == verdicts else ()

    passed, unknown = wait_for(find_targets, "verdicts")
    assert (passed.scenario, passed.value, passed.bound, passed.required) == (
        "robot",
        7.0,
        8.0,
        True,
    )
    assert "process_ms" in passed.label
    assert passed.message.startswith("PASS: 7 ms")
    assert (unknown.value, unknown.bound, unknown.required) == (None, 100.0, False)
    names = {each.name for each in monitor.snapshot(time.monotonic_ns()).health}
    assert not any("robot" in name for name in names)
