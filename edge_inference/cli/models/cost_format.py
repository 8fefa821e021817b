"""Measured costs in words and as JSON."""

from __future__ import annotations

import time
from typing import Any

from edge_inference.cli.perception.summary_table import format_milliseconds
from edge_inference.core.measured_costs import Cost, MeasuredCosts, Measurement


def cost_as_json(cost: Cost, measurement: Measurement) -> dict[str, Any]:
    """Return one cost; times are milliseconds of one run, CPU time null where it is not told."""
    return {
        "backend": cost.point.backend,
        "precision": cost.point.precision,
        "batch": cost.point.batch,
        "form": cost.point.form,
        "artifact": cost.point.artifact,
        "runs": cost.runs,
        "median_ms": 1e3 * cost.wall.median_s,
        "p95_ms": 1e3 * cost.wall.p95_s,
        "cpu_median_ms": None if cost.cpu is None else 1e3 * cost.cpu.median_s,
        "cpu_p95_ms": None if cost.cpu is None else 1e3 * cost.cpu.p95_s,
        "by": measurement.by,
        "taken": moment(measurement),
    }


def cost_in_words(cost: Cost) -> str:
    """Say what one run takes, and on what."""
    point = cost.point
    batch = f", batch {point.batch}" if point.batch > 1 else ""
    return f"{format_milliseconds(1e3 * cost.seconds)} ms {point.backend} {point.form}{batch}"


def against_reference(measurement: Measurement) -> str:
    """Say what the first of a measurement takes, and which share of the second's time that is."""
    cost, *others = measurement.costs
    said = f"{format_milliseconds(1e3 * cost.seconds)} ms"
    if others:
        ratio = MeasuredCosts((measurement,)).ratio(cost.point, others[0].point)
        assert ratio is not None
        said += f", {ratio:.2f} of what {others[0].point.title} takes"
    return said


def moment(measurement: Measurement) -> str:
    """Say when it was measured."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(measurement.taken_s))
