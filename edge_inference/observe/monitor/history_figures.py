"""Which figures of a snapshot are kept in the history: tables of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from edge_inference.observe.monitor.snapshot import (
    EndRow,
    EngineRow,
    PlatformRow,
    ProcessRow,
    ReadingRow,
    Snapshot,
    StageRow,
)


class Figure(NamedTuple):
    """A figure at one moment; ``value`` None is unknown. ``unit`` is in UCUM notation."""

    name: str
    unit: str
    value: float | None


class _Of(NamedTuple):
    """A figure of a platform, a stage and so on; the reader takes its row."""

    name: str
    unit: str
    read: Callable[..., float | None]


_OF_PLATFORM: tuple[_Of, ...] = (
    _Of("cpu_share", "", lambda row: row.cpu_share),
    _Of("gpu_share", "", lambda row: row.gpu_share),
    _Of("memory_share", "", lambda row: row.memory_share),
    _Of("power_w", "W", lambda row: row.power_w),
    _Of("hottest_c", "Cel", lambda row: row.hottest_c),
    _Of("headroom", "", lambda row: row.headroom),
)
_OF_END: tuple[_Of, ...] = (
    _Of("end_p50_ms", "ms", lambda row: row.recent.p50),
    _Of("end_p95_ms", "ms", lambda row: row.recent.p95),
    _Of("end_p99_ms", "ms", lambda row: row.recent.p99),
)
_OF_STAGE: tuple[_Of, ...] = (
    _Of("rate_hz", "Hz", lambda row: row.rate_hz),
    _Of("process_p50_ms", "ms", lambda row: row.process.p50),
    _Of("process_p95_ms", "ms", lambda row: row.process.p95),
    _Of("process_p99_ms", "ms", lambda row: row.process.p99),
    _Of("queue_p99_ms", "ms", lambda row: row.queue.p99),
    _Of("drops", "", lambda row: float(sum(row.drops.values()))),
)
_OF_PROCESS: tuple[_Of, ...] = (
    _Of("process_cpu_share", "", lambda row: row.cpu_share),
    _Of("process_memory_mib", "MiBy", lambda row: row.memory_mib),
    _Of("process_lock_ms_per_s", "ms/s", lambda row: row.lock_ms_per_s),
)
_OF_ENGINE: tuple[_Of, ...] = (
    _Of("engine_rate_hz", "Hz", lambda row: row.rate_hz),
    _Of("engine_max_rate_hz", "Hz", lambda row: row.max_rate_hz),
)
#: Quantities of sensors that are kept, each with the name of its figures.
_OF_QUANTITY = {"temperature": "temperature_c", "power": "sensor_power_w"}


def find_figures(snapshot: Snapshot) -> Iterator[Figure]:
    """Yield the figures of a snapshot: ``power_w``, or ``process_p50_ms:/ai/inference``.

    After the colon is the node of a stage, of an end or of an engine, the first node of a process,
    or the name of a sensor.
    """
    if snapshot.platform is not None:
        yield from _find_of_platform(snapshot.platform)
    for end in snapshot.ends:
        yield from _read(_OF_END, end, end.node)
    for stage in snapshot.stages:
        yield from _read(_OF_STAGE, stage, stage.node)
    for process in snapshot.processes:
        # Its number changes with every start, its nodes do not.
        yield from _read(_OF_PROCESS, process, min(process.nodes, default=str(process.pid)))
    for engine in snapshot.engines:
        yield from _read(_OF_ENGINE, engine, engine.node)


def _find_of_platform(platform: PlatformRow) -> Iterator[Figure]:
    yield from _read(_OF_PLATFORM, platform, "")
    for reading in platform.readings:
        name = _OF_QUANTITY.get(reading.quantity)
        if name is not None:
            yield Figure(f"{name}:{reading.name}", reading.unit, reading.value)


_Row = PlatformRow | EndRow | StageRow | ProcessRow | EngineRow | ReadingRow


def _read(figures: tuple[_Of, ...], row: _Row, subject: str) -> Iterator[Figure]:
    for figure in figures:
        name = f"{figure.name}:{subject}" if subject else figure.name
        yield Figure(name, figure.unit, figure.read(row))
