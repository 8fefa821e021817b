"""The table of exported metrics: names by convention, every row has values, nothing is invented."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from edge_inference.core.reading import Quantity
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.export.exported_metric import (
    ExportedMetric,
    MetricKind,
    MetricPoint,
)
from edge_inference.observe.export.machine_metrics import MACHINE_METRICS
from edge_inference.observe.export.pipeline_metrics import PIPELINE_METRICS
from edge_inference.observe.monitor.snapshot import Snapshot
from robot_snapshot import (
    empty_snapshot,
    full_snapshot,
    make_platform,
    make_reading,
    make_stage,
)

METRICS = {metric.otlp_name: metric for metric in (*PIPELINE_METRICS, *MACHINE_METRICS)}
ENDINGS = {MetricKind.COUNTER: "_total", MetricKind.INFO: "_info"}
DOCUMENT = Path(__file__).parents[2] / "docs" / "exporting.md"


def values(name: str, snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by the texts of its labels."""
    points = METRICS[f"edge_inference.{name}"].measure(snapshot)
    return {tuple(labels.values()): value for labels, value in points if value is not None}


def test_names_are_unique_and_follow_the_conventions() -> None:
    assert len(METRICS) == len(PIPELINE_METRICS) + len(MACHINE_METRICS) > 40
    assert len({metric.prometheus_name for metric in METRICS.values()}) == len(METRICS)
    for name, metric in METRICS.items():
        assert re.fullmatch(r"edge_inference(\.[a-z]+(_[a-z]+)*)+", name)
        assert metric.description.endswith("."), name
        # These endings are for the samples of a kind.
        ends = re.search(r"_(total|count|sum|bucket|info|created)$", metric.prometheus_name)
        assert ends is None, name


def test_every_metric_has_a_value_on_a_robot_of_which_everything_is_known() -> None:
    snapshot = full_snapshot()
    assert [name for name, metric in METRICS.items() if not metric.measure(snapshot)] == []


def test_without_a_pipeline_only_that_is_known() -> None:
    snapshot = empty_snapshot()
    known = {name: points for name, each in METRICS.items() if (points := each.measure(snapshot))}
    assert known == {
        "edge_inference.pipeline.running": [MetricPoint({}, 0.0)],
        "edge_inference.pipelines": [MetricPoint({}, 0.0)],
    }


def test_values_are_in_base_units() -> None:
    snapshot = full_snapshot()
    assert values("stage.process", snapshot)["inference", "/ai/inference", "0.99"] == 0.04
    assert values("end_to_end", snapshot)["decode", "/ai/decode", "1"] == 0.05
    assert values("deadline", snapshot) == {(): 0.1}
    assert values("process.resident_memory", snapshot) == {("4711",): 256 * 2**20}
    assert values("process.interpreter_lock", snapshot) == {("4711",): 0.012}
    assert values("platform.hottest", snapshot) == {("zone/tj-thermal",): 78.25}


def test_counts_are_by_reason() -> None:
    dropped = values("stage.dropped_frames", full_snapshot())
    assert dropped["inference", "/ai/inference", "superseded"] == 7
    assert dropped["inference", "/ai/inference", "too_old"] == 2


def test_a_level_is_one_of_all_levels() -> None:
    snapshot = full_snapshot()
    node = "/ai/inference"
    assert values("engine.level", snapshot) == {
        (node, "full"): 0.0,
        (node, "reduced"): 1.0,
        (node, "minimum"): 0.0,
        (node, "failsafe"): 0.0,
    }
    assert values("health", snapshot)[node, "warn"] == 1.0


def test_an_unknown_level_has_no_value_and_a_new_one_has() -> None:
    (engine,) = full_snapshot().engines
    unknown = replace(full_snapshot(), engines=(replace(engine, level=""),))
    assert values("engine.level", unknown) == {}
    new = values("engine.level", replace(unknown, engines=(replace(engine, level="paused"),)))
    assert [level for (_, level), value in new.items() if value] == ["paused"]


def test_a_target_without_a_verdict_is_neither_met_nor_failed() -> None:
    assert values("target.met", full_snapshot()) == {
        ("vision", "rate_hz ≥ 20", "true"): 1.0,
        ("vision", "age_ms p99 ≤ 50", "false"): 0.0,
    }


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf])
def test_unknown_values_are_absent(unknown: float | None) -> None:
    figures = Percentiles(p50=unknown, p99=12.0)
    reading = make_reading(Quantity.POWER, unknown)
    snapshot = replace(
        full_snapshot(),
        stages=(make_stage("decode", "/ai/decode", figures),),
        platform=replace(make_platform((reading,)), headroom=unknown),
    )
    process = values("stage.process", snapshot)
    assert process == {("decode", "/ai/decode", "0.99"): 0.012}
    assert values("sensor.power", snapshot) == values("platform.headroom", snapshot) == {}


def test_what_has_gone_has_no_value() -> None:
    snapshot = full_snapshot()
    first, *rest = snapshot.stages
    later = replace(snapshot, stages=tuple(rest), platform=None)
    assert (first.stage, first.node) in values("stage.frames", snapshot)
    assert (first.stage, first.node) not in values("stage.frames", later)
    assert values("platform.power", later) == values("sensor.power", later) == {}


def test_of_two_rows_of_one_name_one_remains() -> None:
    row = make_stage("decode", "/ai/decode")
    snapshot = replace(full_snapshot(), stages=(row, replace(row, count=5)))
    points = METRICS["edge_inference.stage.frames"].measure(snapshot)
    assert points == [MetricPoint({"stage": "decode", "node": "/ai/decode"}, 5)]


def test_texts_from_outside_stay_in_one_short_line() -> None:
    row = make_stage('a"\n# TYPE fake counter\n' + "x" * 5000, "\udcff")
    (labels, _) = METRICS["edge_inference.stage.frames"].measure(
        replace(full_snapshot(), stages=(row,))
    )[0]
    assert "\n" not in labels["stage"] and len(labels["stage"]) <= 256
    labels["node"].encode()


def test_every_quantity_of_a_sensor_has_a_metric() -> None:
    names = {
        "sensor.events" if each is Quantity.COUNT else f"sensor.{each.value}" for each in Quantity
    }
    assert {f"edge_inference.{name}" for name in names} <= METRICS.keys()


def test_a_unit_that_prometheus_has_no_word_for_is_refused() -> None:
    metric = ExportedMetric("a", MetricKind.GAUGE, "ms", "Time.", lambda snapshot: ())
    with pytest.raises(KeyError, match="ms"):
        metric.prometheus_name  # noqa: B018 - a property


def test_the_document_lists_every_metric_with_its_labels() -> None:
    rows = dict(re.findall(r"^\| `(edge_inference_\w+)` \|([\w, ]*)\|", DOCUMENT.read_text(), re.M))
    snapshot = full_snapshot()
    expected = {}
    for metric in METRICS.values():
        labels = metric.measure(snapshot)[0].labels
        name = metric.prometheus_name + ENDINGS.get(metric.kind, "")
        expected[name] = ", ".join(labels)
    assert {name: labels.strip() for name, labels in rows.items()} == expected
