"""The metrics of a pipeline: one row each, for every format."""

from __future__ import annotations

from edge_inference.observe.export.exported_metric import ExportedMetric, MetricKind
from edge_inference.observe.export.metric_points import (
    each_row,
    end_quantiles,
    health_levels,
    of_end,
    of_stage,
    one_value,
    seconds,
    stage_counts,
    stage_quantiles,
)

_GAUGE, _COUNTER, _SUMMARY = MetricKind.GAUGE, MetricKind.COUNTER, MetricKind.SUMMARY
#: There is no verdict in all other cases.
_MET = {"PASS": 1.0, "FAIL": 0.0}

PIPELINE_METRICS: tuple[ExportedMetric, ...] = (
    ExportedMetric(
        "pipeline.running",
        _GAUGE,
        "",
        "Whether a pipeline is observed (1) or none is (0).",
        one_value(lambda snapshot: float(not snapshot.status)),
    ),
    ExportedMetric(
        "pipelines",
        _GAUGE,
        "{pipeline}",
        "Number of pipelines in the ROS graph.",
        one_value(lambda snapshot: len(snapshot.namespaces)),
    ),
    ExportedMetric(
        "window",
        _GAUGE,
        "s",
        "Length of the window that the quantiles and rates of stages cover.",
        one_value(lambda snapshot: snapshot.window_s),
    ),
    ExportedMetric(
        "deadline",
        _GAUGE,
        "s",
        "Age beyond which a frame has missed its deadline.",
        one_value(lambda snapshot: seconds(snapshot.deadline_ms)),
    ),
    ExportedMetric(
        "stage.frames",
        _COUNTER,
        "{frame}",
        "Frames that a stage has processed.",
        of_stage(lambda row: row.count),
    ),
    ExportedMetric(
        "stage.rate",
        _GAUGE,
        "Hz",
        "Frames that a stage processes per second.",
        of_stage(lambda row: row.rate_hz),
    ),
    ExportedMetric(
        "stage.process",
        _SUMMARY,
        "s",
        "Processing of a frame in a stage.",
        stage_quantiles(lambda row: row.process),
    ),
    ExportedMetric(
        "stage.queue",
        _SUMMARY,
        "s",
        "Wait of a frame before a stage.",
        stage_quantiles(lambda row: row.queue),
    ),
    ExportedMetric(
        "stage.transport",
        _SUMMARY,
        "s",
        "Time from the end of the stage before, or from capture, to the arrival at a stage.",
        stage_quantiles(lambda row: row.transport),
    ),
    ExportedMetric(
        "stage.age",
        _SUMMARY,
        "s",
        "Time from capture to the end of a stage.",
        stage_quantiles(lambda row: row.age),
    ),
    ExportedMetric(
        "stage.device",
        _SUMMARY,
        "s",
        "Part of the processing on an accelerator.",
        stage_quantiles(lambda row: row.device),
    ),
    ExportedMetric(
        "stage.dropped_frames",
        _COUNTER,
        "{frame}",
        "Frames that a stage has dropped, by reason.",
        stage_counts(lambda row: row.drops, "reason"),
    ),
    ExportedMetric(
        "stage.deadline_misses",
        _COUNTER,
        "{frame}",
        "Frames whose age at the end of a stage exceeded the deadline.",
        of_stage(lambda row: row.deadline_misses),
    ),
    ExportedMetric(
        "stage.clock_faults",
        _COUNTER,
        "{frame}",
        "Frames whose stamp or clocks were implausible, by fault.",
        stage_counts(lambda row: row.clock_faults, "fault"),
    ),
    ExportedMetric(
        "stage.silent",
        _GAUGE,
        "s",
        "Time since the newest frame of a stage.",
        of_stage(lambda row: row.silent_s),
    ),
    ExportedMetric(
        "end_to_end",
        _SUMMARY,
        "s",
        "Time from capture to the end of publishing by the last stage.",
        end_quantiles,
    ),
    ExportedMetric(
        "end_to_end.frames",
        _COUNTER,
        "{frame}",
        "Frames that have ended at a stage.",
        of_end(lambda row: row.count),
    ),
    ExportedMetric(
        "end_to_end.deadline_misses",
        _COUNTER,
        "{frame}",
        "Frames that took longer than the deadline from end to end.",
        of_end(lambda row: row.deadline_misses),
    ),
    ExportedMetric(
        "result.age",
        _GAUGE,
        "s",
        "Time since the newest result, by topic.",
        each_row(
            lambda snapshot: snapshot.results,
            lambda row: {"topic": row.topic, "kind": row.kind},
            lambda row: row.age_s,
        ),
    ),
    ExportedMetric(
        "target.met",
        _GAUGE,
        "",
        "Whether a target is met (1) or failed (0); absent while there is no verdict.",
        each_row(
            lambda snapshot: snapshot.targets,
            lambda row: {
                "scenario": row.scenario,
                "target": row.label,
                "required": str(row.required).lower(),
            },
            lambda row: _MET.get(row.verdict),
        ),
    ),
    ExportedMetric(
        "health",
        _GAUGE,
        "",
        "Level of a status on /diagnostics: 1 for the current one, 0 for the others.",
        health_levels,
    ),
)
