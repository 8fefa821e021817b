"""The profile of a pipeline: tables for people, or JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from edge_inference.backends.gpu import GpuMemory
from edge_inference.cli.console_table import (
    format_milliseconds,
    new_console,
    new_table,
    print_table,
)
from edge_inference.cli.perception.summary_table import format_counts
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.profiling.pipeline_record import ProcessSummary, StageSummary
from edge_inference.observe.profiling.thread_meter import ThreadTime

_PIPE_WIDTH = 120
_THREADS_SHOWN = 12


@dataclass(frozen=True)
class PipelineReport:
    """The figures of ``seconds`` of a pipeline; ``gpu_reason`` says why memory is unknown."""

    name: str
    seconds: float
    stages: Sequence[StageSummary]
    threads: Sequence[ThreadTime]
    processes: Sequence[ProcessSummary]
    gpu_memory: GpuMemory | None
    gpu_reason: str
    not_kept: int


def print_stages(report: PipelineReport, stream: TextIO, as_json: bool) -> None:
    """Print the stages, threads and processes."""
    if as_json:
        for row in _json_lines(report):
            stream.write(json.dumps(row) + "\n")
        return
    console = new_console(stream, _PIPE_WIDTH)
    console.print(Text(f"{report.name}: {report.seconds:.1f} s"), soft_wrap=True)
    print_table(console, _stage_table(report))
    if report.threads:
        print_table(console, _thread_table(report))
    for line in _footnotes(report):
        console.print(Text(line), soft_wrap=True)


def _stage_table(report: PipelineReport) -> Table:
    table = new_table(
        "stage", "frames", "rate /s", "queue p50", "ms p50", "p95", "p99", "publish p50", "CPU ms",
        "device ms", "busy",
    )  # fmt: skip
    for stage in report.stages:
        table.add_row(
            Text(stage.stage),
            str(stage.frames),
            f"{stage.frames / report.seconds:.1f}",
            format_milliseconds(stage.queue.p50),
            format_milliseconds(stage.process.p50),
            format_milliseconds(stage.process.p95),
            format_milliseconds(stage.process.p99),
            format_milliseconds(stage.publish.p50),
            format_milliseconds(stage.cpu_ms),
            format_milliseconds(stage.device_ms),
            "" if stage.busy is None else f"{stage.busy:.0%}",
        )
    return table


def _thread_table(report: PipelineReport) -> Table:
    table = new_table("thread", "process", "CPU ms", "cores", "waited for a core, ms")
    for thread in report.threads[:_THREADS_SHOWN]:
        table.add_row(
            Text(thread.name),
            str(thread.pid),
            f"{thread.cpu_ms:.0f}",
            f"{thread.cpu_ms / 1e3 / report.seconds:.2f}",
            f"{thread.run_queue_ms:.0f}",
        )
    return table


def _footnotes(report: PipelineReport) -> Iterator[str]:
    busiest = max(report.stages, key=lambda stage: stage.busy or 0.0, default=None)
    if busiest is not None and busiest.busy:
        yield f"busiest stage: {busiest.stage}, {busiest.busy:.0%} of the time"
    for stage in report.stages:
        if stage.drops:
            yield f"{stage.stage} dropped: {format_counts(stage.drops)}"
    for process in report.processes:
        held = f", held up {process.holds} times for {process.held_ms:.0f} ms"
        yield (
            f"process {process.pid}: {process.cores:.2f} cores, {process.memory_mib:.0f} MiB"
            f"{held if process.holds else ''} ({', '.join(process.nodes)})"
        )
    if not report.processes:
        yield "processes: not measured (no node publishes process_statistics)"
    if not report.threads:
        yield (
            "threads: not measured (their processes are not visible here, or told their numbers "
            "too late: measure longer with --seconds)"
        )
    memory = report.gpu_memory
    if memory is None:
        yield f"GPU: not measured ({report.gpu_reason})"
    else:
        yield f"GPU memory: {memory.used_mib:.0f} of {memory.total_mib:.0f} MiB, by all processes"
    if report.not_kept:
        yield (
            f"{report.not_kept} timings or statistics were too many to keep; measure fewer "
            "--seconds, or look with `ros2 topic info -v` for who publishes them"
        )


def _json_lines(report: PipelineReport) -> Iterator[dict[str, Any]]:
    for stage in report.stages:
        yield {
            "stage": stage.stage,
            "node": stage.node,
            "frames": stage.frames,
            "rate_hz": stage.frames / report.seconds,
            "drops": stage.drops,
            "queue_ms": _figures(stage.queue),
            "process_ms": _figures(stage.process),
            "publish_ms": _figures(stage.publish),
            "cpu_ms": stage.cpu_ms,
            "device_ms": stage.device_ms,
            "busy": stage.busy,
        }
    for thread in report.threads:
        yield {"thread": thread.name, **dataclasses.asdict(thread)}
    for process in report.processes:
        yield {"process": process.pid, **dataclasses.asdict(process)}
    memory = report.gpu_memory
    yield {
        "summary": {
            "pipeline": report.name,
            "seconds": report.seconds,
            "frames": max((stage.frames for stage in report.stages), default=0),
            "gpu_memory_mib": None if memory is None else memory.used_mib,
            "gpu_reason": report.gpu_reason or None,
            "timings_not_kept": report.not_kept,
        }
    }


def _figures(percentiles: Percentiles) -> dict[str, float | None] | None:
    return None if percentiles.p50 is None else dataclasses.asdict(percentiles)
