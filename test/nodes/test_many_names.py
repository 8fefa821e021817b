"""Many invalid names in messages: rejected and reported once, without effect on other nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.cli.sessions import monitor_session
from edge_inference.composition.bus import Publisher
from edge_inference.core.directives.directive import DirectiveLimits, OperatingPoint, Workload
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.nodes import component
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.performance import WorkloadAdapter
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.nodes.observe import latency
from edge_inference.nodes.platform import platform_manager
from edge_inference.observe.latency_log import LatencyLog
from rig import Outside, Rig, wait_for

TREE = Path(__file__).parents[1] / "platform_recordings" / "orin_nx.jsonl"
LONG = "x" * 10**6


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish reports ten times a second."""
    monkeypatch.setattr(latency, "REPORT_PERIOD_S", 0.1)
    monkeypatch.setattr(component, "DIAGNOSTICS_PERIOD_S", 0.1)


def test_stages_are_limited(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LatencyLog, "MAX_STAGES", 2)
    node = rig.load("Latency", window_s=600.0)
    reports = rig.tap("/ai/latency_report")
    publisher = rig.call(
        lambda: Publisher(rig.container.node, StageTimingAdapter(), "/ai/stage_timing", RELIABLE)
    )
    for name in ("preprocess", "inference", *(f"made-up-{number}" for number in range(50))):
        publisher.publish(StageTiming(name, f"/ai/{name}", 0.5, 1.0, 1.0))
    assert node.health.drop_counts() == {"stages": 50}
    message = node.health.status(2**62).values["last error"]
    assert message.startswith("stage 'made-up-49' of '/ai/made-up-49' is not in the report")
    wait_for(lambda: reports and len(reports[-1].stages) == 2, "a report")
    assert [stage.stage for stage in reports[-1].stages] == ["preprocess", "inference"]


def test_invented_node_names(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform_manager, "_MAX_NODES", 2)
    node = rig.load("PlatformManager", recording=str(TREE), rate_hz=10.0)
    directives = rig.tap("/ai/performance_directive")
    publisher = rig.call(
        lambda: Publisher(rig.container.node, WorkloadAdapter(), "/ai/workload", RELIABLE)
    )

    def tell() -> None:
        for name in ("/ai/inference", "/ai/guard", "/made_up/one", "/made_up/two"):
            operating_point = (OperatingPoint("net", "fp32", 1.0, 20.0),)
            publisher.publish(
                Workload(
                    name,
                    0,
                    False,
                    30.0,
                    30.0,
                    1.0,
                    1,
                    operating_point,
                    0,
                    0,
                    "",
                    DirectiveLimits(),
                    "nothing",
                )
            )

    def asked() -> set[str]:
        tell()
        return {directive.node for directive in list(directives)}

    wait_for(lambda: {"/ai/inference", "/ai/guard"} <= asked(), "directives by name")
    assert asked() == {"/ai/inference", "/ai/guard", ""}
    assert "workload of '/made_up/two': expected at most 2 nodes" in str(node.health.take_errors())


def test_a_name_of_a_megabyte_is_not_on_diagnostics(rig: Rig, outside: Outside) -> None:
    node = rig.load("Latency")
    inferences = rig.tap("/ai/inference_latency")
    diagnostics = outside.listen("/diagnostics", "diagnostic_msgs/DiagnosticArray")
    send = outside.speak("/ai/stage_timing", "edge_inference/StageTiming")
    rig.wait_for_publishers(node, "/ai/stage_timing")
    send(stage="inference", node=LONG, process_ms=1.0)
    send(stage="a\n[ERROR] fire", node="/far", process_ms=1.0)
    send(stage="inference", node="/far", process_ms=12.5)
    assert inferences.wait() == [12.5]
    assert node.health.drop_counts() == {"invalid": 2}

    def shown() -> list[str]:
        statuses = [each for array in list(diagnostics) for each in array["status"]]
        return [
            text
            for each in statuses
            for text in (each["message"], *(value["value"] for value in each["values"]))
        ]

    wait_for(lambda: any("StageTiming message: stage:" in text for text in shown()), "the refusal")
    assert max(map(len, shown())) < 1001
    assert not any("\n" in text for text in shown())


def test_made_up_pipelines_do_not_make_a_snapshot_large(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"/robot{number:04}/ai" for number in range(1000)]
    monkeypatch.setattr(monitor_session, "find_namespaces", lambda container: names)
    with monitor_session.open_monitor("monitor", "", print) as session:
        wait_for(lambda: session.snapshot().namespaces, "the namespaces")
        found = session.snapshot()
    assert found.namespaces == tuple(names[:256])
    assert "1000 pipelines run" in found.status
