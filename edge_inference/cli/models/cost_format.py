"""Measured costs as text and as JSON."""

from __future__ import annotations

import time
from typing import Any

from edge_inference.cli.console_table import format_milliseconds
from edge_inference.core.measured_costs import Cost, MeasuredCosts, Measurement


def cost_as_json(cost: Cost, measurement: Measurement) -> dict[str, Any]:
    """Return one cost; times are milliseconds of one run, CPU time null where it is unknown."""
    return {
        "backend": cost.configuration.backend,
        "precision": cost.configuration.precision,
        "batch": cost.configuration.batch,
        "execution": cost.configuration.execution,
        "artifact": cost.configuration.artifact,
        "runs": cost.runs,
        "median_ms": 1e3 * cost.wall.median_s,
        "p95_ms": 1e3 * cost.wall.p95_s,
        "cpu_median_ms": None if cost.cpu is None else 1e3 * cost.cpu.median_s,
        "cpu_p95_ms": None if cost.cpu is None else 1e3 * cost.cpu.p95_s,
        "by": measurement.by,
        "taken": measured_at(measurement),
    }


def cost_as_text(cost: Cost) -> str:
    """Return the time of one run and the engine that it ran on."""
    used = cost.configuration
    batch = f", batch {used.batch}" if used.batch > 1 else ""
    return f"{format_milliseconds(1e3 * cost.seconds)} ms {used.backend} {used.execution}{batch}"


def ratio_to_reference(measurement: Measurement) -> str:
    """Return the first cost of a measurement, and its ratio to the second one."""
    cost, *others = measurement.costs
    text = f"{format_milliseconds(1e3 * cost.seconds)} ms"
    if others:
        ratio = MeasuredCosts((measurement,)).ratio(cost.configuration, others[0].configuration)
        assert ratio is not None
        text += f", {ratio:.2f} of the time of {others[0].configuration.title}"
    return text


def measured_at(measurement: Measurement) -> str:
    """Return the date and time of a measurement."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(measurement.taken_s))
