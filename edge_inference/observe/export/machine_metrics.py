"""The metrics of processes, engines and the machine: one row each, for every format."""

from __future__ import annotations

from edge_inference.core.reading import Quantity
from edge_inference.observe.export.exported_metric import ExportedMetric, MetricKind
from edge_inference.observe.export.metric_points import (
    each_row,
    engine_levels,
    of_engine,
    of_platform,
    of_process,
    platform_levels,
    platforms,
    process_nodes,
    readings_of,
    seconds,
)

_GAUGE, _COUNTER, _INFO = MetricKind.GAUGE, MetricKind.COUNTER, MetricKind.INFO


def _sensor_metric(quantity: Quantity) -> ExportedMetric:
    points = readings_of(quantity)
    if quantity is Quantity.COUNT:
        text = "Events that a sensor has counted since the machine started."
        return ExportedMetric("sensor.events", _COUNTER, "{event}", text, points)
    unit = "1" if quantity is Quantity.SHARE else quantity.unit
    text = f"Readings of {quantity.value.replace('_', ' ')}, by sensor."
    return ExportedMetric(f"sensor.{quantity.value}", _GAUGE, unit, text, points)


MACHINE_METRICS: tuple[ExportedMetric, ...] = (
    ExportedMetric(
        "process",
        _INFO,
        "",
        "Nodes of a process.",
        process_nodes,
    ),
    ExportedMetric(
        "process.cpu",
        _GAUGE,
        "1",
        "CPU time of a process per second; 1 is one core.",
        of_process(lambda row: row.cpu_share),
    ),
    ExportedMetric(
        "process.resident_memory",
        _GAUGE,
        "By",
        "Resident memory of a process.",
        of_process(lambda row: row.memory_mib * 2**20),
    ),
    ExportedMetric(
        "process.interpreter_lock",
        _GAUGE,
        "1",
        "Time per second in which another thread held the lock of the interpreter.",
        of_process(lambda row: seconds(row.lock_ms_per_s)),
    ),
    ExportedMetric(
        "process.run_queue",
        _GAUGE,
        "1",
        "Time per second in which threads were ready to run and waited for a core.",
        of_process(lambda row: seconds(row.run_queue_ms_per_s)),
    ),
    ExportedMetric(
        "engine",
        _INFO,
        "",
        "What an inference node runs.",
        each_row(
            lambda snapshot: snapshot.engines,
            lambda row: {
                "node": row.node,
                "model": row.model,
                "backend": row.backend,
                "precision": row.precision,
                "engine": row.engine,
            },
            lambda row: 1.0,
        ),
    ),
    ExportedMetric(
        "engine.problem",
        _GAUGE,
        "",
        "Whether the requested engine does not run (1) or does (0).",
        of_engine(lambda row: float(bool(row.problem))),
    ),
    ExportedMetric(
        "engine.preparation",
        _GAUGE,
        "1",
        "How far the preparation of the next engine is.",
        of_engine(lambda row: row.progress),
    ),
    ExportedMetric(
        "engine.batch_size",
        _GAUGE,
        "{image}",
        "Images in one inference.",
        of_engine(lambda row: row.batch),
    ),
    ExportedMetric(
        "engine.rate",
        _GAUGE,
        "Hz",
        "Inferences per second.",
        of_engine(lambda row: row.rate_hz),
    ),
    ExportedMetric(
        "engine.demand",
        _GAUGE,
        "Hz",
        "Images per second that are offered.",
        of_engine(lambda row: row.demand_hz),
    ),
    ExportedMetric(
        "engine.rate_limit",
        _GAUGE,
        "Hz",
        "Inferences per second that the platform manager allows; absent without a limit.",
        of_engine(lambda row: row.max_rate_hz),
    ),
    ExportedMetric(
        "engine.level",
        _GAUGE,
        "",
        "Level of the directive in force: 1 for the current one, 0 for the others.",
        engine_levels,
    ),
    ExportedMetric(
        "platform",
        _INFO,
        "",
        "The machine, its power mode, and whose sensors are shown.",
        each_row(
            platforms,
            lambda row: {"board": row.board, "mode": row.mode, "source": row.source},
            lambda row: 1.0,
        ),
    ),
    ExportedMetric(
        "platform.level",
        _GAUGE,
        "",
        "Most severe level of all directives: 1 for the current one, 0 for the others.",
        platform_levels,
    ),
    ExportedMetric(
        "platform.headroom",
        _GAUGE,
        "1",
        "Share of the thermal limit that the forecast uses; 1 is at the limit.",
        of_platform(lambda row: row.headroom),
    ),
    ExportedMetric(
        "platform.power",
        _GAUGE,
        "W",
        "Input power of the board.",
        of_platform(lambda row: row.power_w),
    ),
    ExportedMetric(
        "platform.hottest",
        _GAUGE,
        "Cel",
        "Highest temperature.",
        each_row(platforms, lambda row: {"sensor": row.hottest_name}, lambda row: row.hottest_c),
    ),
    ExportedMetric(
        "platform.cpu",
        _GAUGE,
        "1",
        "Load of all cores.",
        of_platform(lambda row: row.cpu_share),
    ),
    ExportedMetric(
        "platform.gpu",
        _GAUGE,
        "1",
        "Load of the GPU.",
        of_platform(lambda row: row.gpu_share),
    ),
    ExportedMetric(
        "platform.memory",
        _GAUGE,
        "1",
        "Memory in use.",
        of_platform(lambda row: row.memory_share),
    ),
    ExportedMetric(
        "platform.throttling_reasons",
        _GAUGE,
        "{reason}",
        "Number of reasons for which the machine throttles itself.",
        of_platform(lambda row: len(row.throttling)),
    ),
    *map(_sensor_metric, Quantity),
)
