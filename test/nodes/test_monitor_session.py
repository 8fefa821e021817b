"""A robot under observation: its pipeline comes and goes, and is changed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from edge_inference.msg import LatencyReport, PerformanceDirective
from edge_inference.msg import Workload as WorkloadMessage
from rclpy.serialization import serialize_message

from edge_inference.cli.sessions import monitor_session, own_sensors
from edge_inference.cli.sessions.monitor_session import MonitorSession, open_monitor
from edge_inference.composition.bus import Publisher
from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits
from edge_inference.core.images.frame import CompressedFrame
from edge_inference.core.platform_state import PlatformReport, PlatformState
from edge_inference.core.results import DETECTION, Detections
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.images import CompressedImageAdapter
from edge_inference.nodes.conversions.performance import DirectiveAdapter, WorkloadAdapter
from edge_inference.nodes.conversions.platform import PlatformReportAdapter
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.observe.monitor.platform_rows import OWN_SENSORS
from edge_inference.observe.monitor.snapshot import Snapshot
from rig import Collected, Rig, later, wait_for

# Nodes of earlier tests may be in the graph still, and would be taken for other pipelines.
pytestmark = pytest.mark.usefixtures("alone")
MESSAGES: list[str] = []


@pytest.fixture
def observe() -> Iterator[Callable[..., MonitorSession]]:
    """Provide a function that opens a session; what it says is in ``MESSAGES``."""
    MESSAGES.clear()
    with ExitStack() as stack:
        yield lambda namespace="": stack.enter_context(
            open_monitor("monitor", namespace, MESSAGES.append)
        )


class Pipeline:
    """A node that publishes timings, and a latency node."""

    def __init__(self, rig: Rig, namespace: str = "/ai") -> None:
        self.rig, self.namespace = rig, namespace
        node = rig.container.node
        self.latency = rig.load_component("Latency", "-r", f"__ns:={namespace}")
        topic = f"{namespace}/stage_timing"
        self.timings = rig.call(lambda: Publisher(node, StageTimingAdapter(), topic, RELIABLE))

    def send(self, count: int = 3) -> None:
        for _ in range(count):
            timing = StageTiming("decode", f"{self.namespace}/decode", 1.0, 2.0, 3.0)
            self.timings.publish(timing)

    def end(self) -> None:
        self.rig.call(self.timings.close)
        self.rig.call(lambda: self.rig.container.unload(self.latency.id))


def wait_to_see(
    session: MonitorSession, what: str, predicate: Callable[[Snapshot], Any]
) -> Snapshot:
    """Wait until a snapshot is as expected, and return it."""
    found = [session.snapshot()]

    def is_seen() -> bool:
        found[0] = session.snapshot()
        return bool(predicate(found[0]))

    wait_for(is_seen, what)
    return found[0]


def publish(rig: Rig, adapter: Any, topic: str) -> Publisher[Any]:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, adapter, topic, RELIABLE))


def test_a_pipeline_starts_ends_and_starts_again(
    rig: Rig, observe: Callable[..., MonitorSession]
) -> None:
    session = observe()
    found = wait_to_see(session, "a status", lambda found: found.status)
    assert found.status.startswith("no pipeline runs: start one with")
    assert (found.namespace, found.namespaces, found.stages) == ("", (), ())
    pipeline = Pipeline(rig)
    wait_to_see(session, "the pipeline", lambda found: found.namespaces == ("/ai",))
    pipeline.send()
    found = wait_to_see(session, "frames", lambda found: found.stages)
    assert (found.status, found.namespace) == ("", "/ai")
    (stage,) = found.stages
    assert (stage.stage, stage.node, stage.count) == ("decode", "/ai/decode", 3)
    assert stage.process.p50 == pytest.approx(2.0)
    pipeline.end()
    found = wait_to_see(session, "the end", lambda found: found.status)
    assert found.status == "the pipeline in /ai has ended; waiting until it starts again"
    pipeline = Pipeline(rig)
    wait_to_see(session, "the second pipeline", lambda found: not found.status)
    pipeline.send(5)
    found = wait_to_see(
        session, "new frames", lambda found: found.stages and found.stages[0].count == 5
    )
    texts = [each.text for each in found.decisions if each.kind == "pipeline"]
    assert texts == ["found", "gone", "started again"]
    assert MESSAGES == []


def test_several_pipelines(rig: Rig, observe: Callable[..., MonitorSession]) -> None:
    first, second = Pipeline(rig), Pipeline(rig, "/ai_2")
    # Before the session discovers anything, it could take the first for the only one.
    session = observe("/ai_2")
    other = observe("/nothing")
    found = wait_to_see(session, "both", lambda found: len(found.namespaces) == 2)
    assert found.namespaces == ("/ai", "/ai_2")
    wait_to_see(session, "the chosen one", lambda found: found.namespace == "/ai_2")
    first.send(2)
    second.send(3)
    found = wait_to_see(session, "frames", lambda found: found.stages)
    assert [(each.node, each.count) for each in found.stages] == [("/ai_2/decode", 3)]
    found = wait_to_see(session, "health", lambda found: found.health)
    assert {each.name for each in found.health} == {"/ai_2/latency"}
    found = wait_to_see(other, "a status", lambda found: len(found.namespaces) == 2)
    assert found.status.startswith("no pipeline runs in /nothing; those in /ai, /ai_2 do")


def test_waiting_for_a_change(rig: Rig, observe: Callable[..., MonitorSession]) -> None:
    session = observe()
    Pipeline(rig)
    version = session.wait_until_changed(0, 60.0)
    assert version > 0
    assert session.wait_until_changed(0, 0.0) >= version
    assert session.wait_until_changed(version, 60.0) > version  # reports go on


def test_images_come_only_while_somebody_watches(
    rig: Rig, observe: Callable[..., MonitorSession]
) -> None:
    session = observe()
    Pipeline(rig)
    images = publish(rig, CompressedImageAdapter(), "/ai/overlay/compressed")
    wait_to_see(session, "the pipeline", lambda found: found.namespace)
    seen, also = Collected(), Collected()
    end = session.watch_image(lambda data, stamp_ns: seen.take((data, stamp_ns)))
    end_also = session.watch_image(lambda data, stamp_ns: also.take((data, stamp_ns)))
    wait_for(images.has_subscribers, "the session to ask for images")
    data = np.frombuffer(b"\xff\xd8 a file", np.uint8)
    images.publish(CompressedFrame(data, "jpeg", 12_000_000_345, "cam"))
    assert seen.wait()[0] == (b"\xff\xd8 a file", 12_000_000_345)
    also.wait()
    end()
    images.publish(CompressedFrame(data, "jpeg", 13, "cam"))
    also.wait(2)
    assert len(seen) == 1
    end_also()
    end_also()
    wait_for(lambda: not images.has_subscribers(), "the session to leave the images")


def test_parameters(rig: Rig, observe: Callable[..., MonitorSession]) -> None:
    session = observe()
    Pipeline(rig)
    other = rig.load("ProcessMonitor", "-r", "__ns:=/other")
    wait_to_see(session, "the pipeline", lambda found: found.namespace)
    wait_for(lambda: "/ai/latency" in session.parameters.nodes(), "the node")
    assert session.parameters.nodes() == ("/ai/latency",)
    rows = {row.name: row for row in session.parameters.read("/ai/latency")}
    window = rows["window_s"]
    assert (window.type, window.value) == ("double", 10.0)
    assert (window.minimum, window.maximum, window.read_only) == (1.0, 3600.0, False)
    assert window.description == "time window of the report [s]"
    assert rows["targets"].read_only
    assert not any(name.startswith("qos_overrides") for name in rows)
    assert session.parameters.change("/ai/latency", "window_s", 20) == ""
    found = wait_to_see(
        session,
        "the change",
        lambda found: any(each.kind == "parameter" for each in found.decisions),
    )
    (line,) = [each for each in found.decisions if each.kind == "parameter"]
    assert (line.subject, line.text) == ("/ai/latency", "window_s: 20")
    wait_to_see(session, "its effect", lambda found: found.window_s == 20.0)
    refused = session.parameters.change("/ai/latency", "window_s", 0.5)
    assert re.search(r"window_s.*0\.5", refused)  # of rclpy itself, for a range
    assert "read-only" in session.parameters.change("/ai/latency", "targets", "robot")
    with pytest.raises(ConfigError, match="window_s: expected a value of type double, got 'x'"):
        session.parameters.change("/ai/latency", "window_s", "x")
    with pytest.raises(ConfigError, match="expected one of its parameters, got 'no_such'"):
        session.parameters.change("/ai/latency", "no_such", 1)
    for node in ("/other/process_monitor", "/nothing", "", other.get_fully_qualified_name()):
        with pytest.raises(ConfigError, match="expected a node of the observed pipeline, which"):
            session.parameters.read(node)


def test_a_node_that_does_not_answer(rig: Rig, observe: Callable[..., MonitorSession]) -> None:
    session = observe()
    Pipeline(rig)
    wait_for(lambda: "/ai/latency" in session.parameters.nodes(), "the node")
    session.parameters.read("/ai/latency")

    def stand_still() -> None:
        wait_for(lambda: is_over, "the end of the test")

    is_over: list[bool] = []
    rig.container.executor.create_task(stand_still)
    begin_s = time.monotonic()
    try:
        with pytest.raises(EdgeInferenceError, match=r"/ai/latency: did not answer .* in time"):
            session.parameters.read("/ai/latency", timeout_s=1.0)
    finally:
        is_over.append(True)
    assert time.monotonic() - begin_s > 0.9


def test_the_platform_of_another_namespace(
    rig: Rig, observe: Callable[..., MonitorSession]
) -> None:
    session = observe()
    latency = Pipeline(rig).latency.node
    reports = publish(rig, PlatformReportAdapter(), "/machine/platform_state")
    workloads = rig.call(
        lambda: Publisher(latency, WorkloadAdapter(), "/machine/workload", RELIABLE)
    )
    directives = publish(rig, DirectiveAdapter(), "/machine/performance_directive")
    rig.call(
        lambda: latency.create_subscription(
            PerformanceDirective, directives.topic, lambda message: None, 10
        )
    )
    # Nobody of the pipeline uses these.
    others = [
        publish(rig, WorkloadAdapter(), "/other/workload"),
        publish(rig, DirectiveAdapter(), "/other/performance_directive"),
    ]
    for each in (reports, workloads):
        wait_for(each.has_subscribers, f"the session to listen to {each.topic}")
    wait_for(lambda: directives._ros.get_subscription_count() == 2, "the session to listen")
    assert not any(each.has_subscribers() for each in others)
    state = PlatformState("orin", (), 0)
    reports.publish(PlatformReport(state, 0.3, (), DirectiveLevel.REDUCED, "hot", 0))
    for node in ("/ai_2/inference", "/ai/inference"):
        limits = DirectiveLimits(max_rate_hz=10.0)
        directives.publish(
            Directive(1, "/machine/manager", node, DirectiveLevel.REDUCED, 0.5, limits, "hot")
        )
        message = WorkloadMessage(node=node, demand_hz=30.0, rate_hz=10.0, minimum_rate_hz=1.0)
        workloads.publish(WorkloadAdapter().from_bytes(serialize_message(message)))
    found = wait_to_see(
        session,
        "the machine",
        lambda found: found.platform and found.engines and found.engines[0].level,
    )
    assert found.platform is not None
    assert (found.platform.source, found.platform.level) == ("/machine/platform_state", "reduced")
    assert [(each.node, each.level) for each in found.engines] == [("/ai/inference", "reduced")]
    assert not any("/ai_2" in each.subject for each in found.decisions)


def test_a_platform_manager_of_its_own_replaces_another_one(
    rig: Rig, observe: Callable[..., MonitorSession]
) -> None:
    session = observe()
    Pipeline(rig)
    others = publish(rig, PlatformReportAdapter(), "/machine/platform_state")
    wait_for(others.has_subscribers, "the session to listen")
    own = publish(rig, PlatformReportAdapter(), "/ai/platform_state")
    wait_for(own.has_subscribers, "the session to listen")
    wait_for(lambda: not others.has_subscribers(), "the session to leave the other one")
    report = PlatformReport(PlatformState("orin", (), 0), None, (), DirectiveLevel.FULL, "", 0)
    own.publish(report)
    found = wait_to_see(session, "the machine", lambda found: found.platform)
    assert found.platform is not None
    assert found.platform.source == "/ai/platform_state"


def test_own_sensors_without_a_platform_manager(
    rig: Rig, observe: Callable[..., MonitorSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_sensors, "_MISSED_NS", 500_000_000)
    session = observe()
    Pipeline(rig)
    rig.load("ProcessMonitor")
    found = wait_to_see(session, "the machine", lambda found: found.platform)
    assert found.platform is not None
    assert found.platform.source == OWN_SENSORS
    assert any(each.name == "memory/used" for each in found.platform.readings)
    (process,) = found.processes
    assert "/ai/process_monitor" in process.nodes
    wait_for(lambda: "memory_share" in session.history.series(), "the history")
    assert "process_memory_mib:/ai/latency" in session.history.series()


def test_sensors_that_cannot_be_opened_are_said_once(
    rig: Rig, observe: Callable[..., MonitorSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ConfigError("board.yaml: expected a name")

    monkeypatch.setattr(own_sensors, "_MISSED_NS", 0)
    monkeypatch.setattr(monitor_session, "OwnSensors", lambda: own_sensors.OwnSensors(fail))
    session = observe()
    Pipeline(rig)
    rig.load("ProcessMonitor")
    wait_for(lambda: MESSAGES, "a message")
    begin_s, _ = session.history.newest() or (0.0, {})
    wait_for(lambda: session.history.newest()[0] > begin_s + 2.0, "the history going on")
    assert len(MESSAGES) == 1
    assert "board.yaml: expected a name" in MESSAGES[0]


def test_results_are_sampled(rig: Rig, observe: Callable[..., MonitorSession]) -> None:
    session = observe()
    Pipeline(rig)
    results = publish(rig, result_adapter(DETECTION), "/ai/detections")
    wait_for(results.has_subscribers, "the session to listen")
    added: list[str] = []
    add = session._monitor.add
    session._monitor.add = lambda topic, item, now_ns: (  # type: ignore[method-assign]
        added.append(topic),
        add(topic, item, now_ns),
    )
    box, one = np.array([[1, 2, 31, 42]], np.float32), np.ones(1, np.float32)
    found = Detections(box, one, np.zeros(1, np.int32), ("cup",), 640, 480, "nanodet", 7)
    begin_s = time.monotonic()
    for _ in range(100):
        results.publish(found)
    (row,) = wait_to_see(session, "a result", lambda found: found.results).results
    assert row.lines == ("cup 1.00 [1, 2, 30, 40]",)
    assert row.model == "nanodet"
    wait_for(lambda: added.count("/ai/latency_report") >= 2, "what came after the results")
    assert added.count("/ai/detections") <= 2 + 5 * (time.monotonic() - begin_s)


def test_a_message_that_is_invalid_is_said_once(
    rig: Rig, observe: Callable[..., MonitorSession]
) -> None:
    session = observe()
    Pipeline(rig)
    node = rig.container.node
    reports = rig.call(lambda: node.create_publisher(LatencyReport, "/ai/latency_report", 10))
    wait_for(lambda: reports.get_subscription_count() == 1, "the session to listen")
    for _ in range(3):
        reports.publish(LatencyReport(window_s=-1.0))
    wait_for(lambda: MESSAGES, "a message")
    wait_to_see(session, "the other reports", lambda found: found.window_s == 10.0)
    assert len(MESSAGES) == 1
    assert "window_s: expected a number" in MESSAGES[0]


def test_two_nodes_of_one_name(
    rig: Rig, observe: Callable[..., MonitorSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_s = later(monkeypatch, monitor_session)
    session = observe()
    Pipeline(rig)
    twin = Rig()
    try:
        for one in (rig, twin):
            one.load("Preprocess", "-r", "image_raw:=/image")
        wait_for(lambda: session._twins_s is not None, "both nodes")
        assert MESSAGES == []  # one of them may have crashed
        pass_s(31.0)
        wait_for(lambda: MESSAGES, "a message")
        assert "several nodes are called /ai/preprocess" in MESSAGES[0]
        wait_to_see(session, "the pipeline", lambda found: found.namespace)
    finally:
        twin.close()


def test_a_fault_of_the_observer_is_said_and_it_goes_on(
    rig: Rig, observe: Callable[..., MonitorSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = monitor_session.find_namespaces
    faults = [KeyError("a fault")]

    def fail_once(container: Any) -> list[str]:
        if faults:
            raise faults.pop()
        return find(container)

    monkeypatch.setattr(monitor_session, "find_namespaces", fail_once)
    session = observe()
    Pipeline(rig)
    wait_to_see(session, "the pipeline", lambda found: found.namespace == "/ai")
    assert MESSAGES == ["observing failed: KeyError: 'a fault'"]
