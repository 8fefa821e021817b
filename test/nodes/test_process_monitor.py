"""The process monitor in a container: what others receive, and what /diagnostics shows."""

from __future__ import annotations

import ctypes
import time

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.nodes.observe import process_diagnosis
from rig import Collected, Outside, Rig, wait_for

STATISTICS = "/ai/process_statistics"


def window_after(statistics: Collected, moment_ns: int) -> list[ProcessStatistics]:
    """Wait for the window that ends after a moment; return all."""
    wait_for(lambda: statistics and statistics[-1].end_ns > moment_ns, "another window")
    return list(statistics)


def test_it_tells_others_about_its_process(rig: Rig, outside: Outside) -> None:
    received = outside.listen(STATISTICS, "edge_inference/ProcessStatistics")
    latency = rig.load("Latency")
    node = rig.load("ProcessMonitor")
    rig.wait_for_subscribers(node, STATISTICS)
    wait_for(lambda: len(received) >= 2, "statistics")
    first, second = received[-2:]
    assert second["begin_ns"] == first["end_ns"]
    assert {"/ai/process_monitor", latency.get_fully_qualified_name()} <= set(second["nodes"])
    assert second["memory_mib"] > 10.0
    assert second["clock_id"]


def test_a_hold_of_the_interpreter_lock(rig: Rig) -> None:
    statistics = rig.tap(STATISTICS)
    rig.load("ProcessMonitor")
    statistics.wait(1)
    begin_ns = time.monotonic_ns()
    ctypes.PyDLL(None).usleep(400_000)
    end_ns = time.monotonic_ns()
    holds = [
        hold
        for window in window_after(statistics, end_ns)
        for hold in window.holds
        if begin_ns - 20_000_000 <= hold.begin_ns <= end_ns
    ]
    assert max(hold.lock_ms for hold in holds) > 200.0


def test_a_slow_callback_delays_the_executor(rig: Rig) -> None:
    statistics = rig.tap(STATISTICS)
    rig.load("ProcessMonitor")
    statistics.wait(2)
    rig.call(lambda: time.sleep(0.6))
    end_ns = time.monotonic_ns()
    windows = window_after(statistics, end_ns)
    assert max(window.executor_ms or 0.0 for window in windows) > 300.0


def test_without_heartbeat_there_are_no_holds(rig: Rig) -> None:
    statistics = rig.tap(STATISTICS)
    node = rig.load("ProcessMonitor", heartbeat=False)
    statistics.wait(1)
    ctypes.PyDLL(None).usleep(300_000)
    windows = window_after(statistics, time.monotonic_ns())
    assert all(not window.holds for window in windows)
    assert windows[-1].cpu_ms > 0.0
    rig.call(lambda: node.set_parameters([Parameter("heartbeat", value=True)]))
    count = len(statistics)
    statistics.wait(count + 2)
    ctypes.PyDLL(None).usleep(300_000)
    assert any(window.holds for window in window_after(statistics, time.monotonic_ns())[count:])


def test_it_starts_again_after_deactivation(rig: Rig) -> None:
    statistics = rig.tap(STATISTICS)
    node = rig.load("ProcessMonitor")
    statistics.wait(1)
    rig.call(node.trigger_deactivate)
    count = len(statistics)
    rig.call(node.trigger_activate)
    statistics.wait(count + 1)


def test_diagnostics_name_the_cause(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_diagnosis, "PERIOD_S", 0.2)
    received = outside.listen("/diagnostics", "diagnostic_msgs/DiagnosticArray")
    rig.load("ProcessMonitor")
    publisher = rig.call(
        lambda: Publisher(rig.container.node, StageTimingAdapter(), "/ai/stage_timing", RELIABLE)
    )

    def found() -> dict[str, object] | None:
        publish_slow_frames(publisher)
        statuses = [status for message in received for status in message["status"]]
        names = "/ai/process_monitor: what holds frames up"
        slow = [each for each in statuses if each["name"] == names and "waiting" in each["message"]]
        return slow[-1] if slow else None

    status = wait_for(found, "a diagnosis")
    values = {each["key"]: each["value"] for each in status["values"]}
    assert values["cause 1"].startswith("waiting, /ai/inference: ")
    assert "to do: " in values["cause 1"]


def publish_slow_frames(publisher: Publisher) -> None:
    """Publish 30 frames of a stage, of which each third waited for 50 ms while processing."""
    now_ns = time.monotonic_ns()
    usual = StageTiming(
        "inference", "/ai/inference", 0.1, 10.0, None, cpu_ms=10.0, run_queue_ms=0.0, clock_id=1
    )
    for frame in range(30):
        blocked_ms = 50.0 if frame % 3 == 0 else 0.0
        publisher.publish(
            usual._replace(
                stamp_ns=frame + 1,
                process_ms=10.0 + blocked_ms,
                ended_ns=now_ns + frame * 100_000_000,
            )
        )
