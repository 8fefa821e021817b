"""How metrics take their points from the rows of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

from edge_inference.core.reading import Quantity
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.export.exported_metric import MetricPoint
from edge_inference.observe.monitor.snapshot import (
    EndRow,
    EngineRow,
    PlatformRow,
    ProcessRow,
    ReadingRow,
    Snapshot,
    StageRow,
)

MetricSource: TypeAlias = Callable[[Snapshot], Iterable[MetricPoint]]
_Row = TypeVar("_Row")

_QUANTILES = {"0.5": "p50", "0.9": "p90", "0.95": "p95", "0.99": "p99", "1": "max"}
_DIRECTIVE_LEVELS = ("full", "reduced", "minimum", "failsafe")
_HEALTH_LEVELS = ("ok", "warn", "error", "stale")


def one_value(value: Callable[[Snapshot], float | None]) -> MetricSource:
    """Return the source of a metric that has one value."""
    return lambda snapshot: [MetricPoint({}, value(snapshot))]


def each_row(
    rows: Callable[[Snapshot], Iterable[_Row]],
    labels: Callable[[_Row], dict[str, str]],
    value: Callable[[_Row], float | None],
) -> MetricSource:
    """Return the source of a metric that has a value for each row."""
    return lambda snapshot: (MetricPoint(labels(row), value(row)) for row in rows(snapshot))


def of_stage(value: Callable[[StageRow], float | None]) -> MetricSource:
    """Return the source of a metric that has a value for each stage."""
    return each_row(lambda snapshot: snapshot.stages, place_labels, value)


def of_end(value: Callable[[EndRow], float | None]) -> MetricSource:
    """Return the source of a metric that has a value for each last stage."""
    return each_row(lambda snapshot: snapshot.ends, place_labels, value)


def of_process(value: Callable[[ProcessRow], float | None]) -> MetricSource:
    """Return the source of a metric that has a value for each process."""
    return each_row(lambda snapshot: snapshot.processes, lambda row: {"pid": str(row.pid)}, value)


def of_engine(value: Callable[[EngineRow], float | None]) -> MetricSource:
    """Return the source of a metric that has a value for each inference node."""
    return each_row(lambda snapshot: snapshot.engines, lambda row: {"node": row.node}, value)


def of_platform(value: Callable[[PlatformRow], float | None]) -> MetricSource:
    """Return the source of a metric of the machine."""
    return each_row(platforms, lambda row: {}, value)


def platforms(snapshot: Snapshot) -> Iterable[PlatformRow]:
    """Return the machine where it is known."""
    return () if snapshot.platform is None else (snapshot.platform,)


def place_labels(row: StageRow | EndRow) -> dict[str, str]:
    """Return the labels of a stage."""
    return {"stage": row.stage, "node": row.node}


def seconds(ms: float | None) -> float | None:
    """Return milliseconds in seconds."""
    return None if ms is None else ms / 1000.0


def stage_quantiles(figures: Callable[[StageRow], Percentiles]) -> MetricSource:
    """Return the source of a summary that has quantiles for each stage."""
    return lambda snapshot: (
        point for row in snapshot.stages for point in _quantiles(place_labels(row), figures(row))
    )


def stage_counts(counts: Callable[[StageRow], dict[str, int]], label: str) -> MetricSource:
    """Return the source of a metric that has counts for each stage by what ``label`` names."""
    return lambda snapshot: (
        MetricPoint({**place_labels(row), label: name}, count)
        for row in snapshot.stages
        for name, count in counts(row).items()
    )


def end_quantiles(snapshot: Snapshot) -> Iterator[MetricPoint]:
    """Yield the quantiles from capture to the end of publishing."""
    for row in snapshot.ends:
        yield from _quantiles(place_labels(row), row.recent)


def process_nodes(snapshot: Snapshot) -> Iterator[MetricPoint]:
    """Yield a point for each node, with its process."""
    for row in snapshot.processes:
        for node in row.nodes:
            yield MetricPoint({"pid": str(row.pid), "node": node}, 1.0)


def engine_levels(snapshot: Snapshot) -> Iterator[MetricPoint]:
    """Yield the level of the directive of each inference node."""
    for row in snapshot.engines:
        yield from _states({"node": row.node}, _DIRECTIVE_LEVELS, row.level)


def platform_levels(snapshot: Snapshot) -> Iterator[MetricPoint]:
    """Yield the most severe level of all directives."""
    for row in platforms(snapshot):
        yield from _states({}, _DIRECTIVE_LEVELS, row.level)


def health_levels(snapshot: Snapshot) -> Iterator[MetricPoint]:
    """Yield the level of each status on /diagnostics."""
    for row in snapshot.health:
        yield from _states({"name": row.name}, _HEALTH_LEVELS, row.level)


def readings_of(quantity: Quantity) -> MetricSource:
    """Return the source of a metric of all sensors of a quantity."""

    def rows(snapshot: Snapshot) -> Iterator[ReadingRow]:
        for platform in platforms(snapshot):
            yield from (row for row in platform.readings if row.quantity == quantity.value)

    return each_row(rows, lambda row: {"sensor": row.name, "role": row.role}, lambda row: row.value)


def _quantiles(labels: dict[str, str], figures: Percentiles) -> Iterator[MetricPoint]:
    for quantile, name in _QUANTILES.items():
        yield MetricPoint({**labels, "quantile": quantile}, seconds(getattr(figures, name)))


def _states(labels: dict[str, str], known: tuple[str, ...], current: str) -> Iterator[MetricPoint]:
    """Yield 1 for the current level and 0 for the others; nothing where it is unknown."""
    if current:
        for state in dict.fromkeys((*known, current)):
            yield MetricPoint({**labels, "level": state}, float(state == current))
