"""What a pipeline does, as sections of a page: ends, stages, waits, drops, results, voice."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from edge_inference.cli.top.figure_text import UNKNOWN, count, counts, milliseconds, rate, relative
from edge_inference.cli.top.page_section import PageSection
from edge_inference.cli.top.stage_order import in_order, stage_names, time_shares
from edge_inference.cli.top.text_columns import TextColumn, make_columns
from edge_inference.cli.top.text_graphics import bar, sparkline
from edge_inference.cli.top.trends import Trends
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.monitor.snapshot import EndRow, Snapshot, StageRow

#: After this time without a frame the figures of a stage are old.
_SILENT_S = 2.0
_BAR_WIDTH, _TREND_WIDTH = 8, 20
_NAME_WIDTH, _REMARK_WIDTH = 10, 12


def end_section(snapshot: Snapshot, trends: Trends, width: int) -> list[PageSection]:
    """Return the times from capture to the end of each way."""
    ends = in_order(snapshot.ends)
    if not ends:
        return []
    rates = {(stage.stage, stage.node): stage.rate_hz for stage in snapshot.stages}
    late = "late" if snapshot.deadline_ms is None else f"over {snapshot.deadline_ms:g} ms"
    lines = [
        Text(sparkline(trends.latency.get(end.node, ()), _TREND_WIDTH, low=0.0), "cyan")
        for end in ends
    ]
    heading, rows = make_columns(
        [
            TextColumn("end to end, ms", stage_names(ends), is_number=False, min_width=14),
            TextColumn("/s", [rate(rates.get((end.stage, end.node))) for end in ends], 1),
            *_percentiles([end.recent for end in ends], snapshot.deadline_ms),
            TextColumn("max", [milliseconds(end.recent.max) for end in ends], 3),
            TextColumn(late, [_misses(end, snapshot.deadline_ms) for end in ends], 1),
            TextColumn("frames", [count(end.count) for end in ends], 4),
            TextColumn("p50, 100 s", lines, 2, is_number=False),
        ],
        width,
    )
    return [PageSection(heading, rows, rank=0)]


def stage_section(snapshot: Snapshot, width: int) -> list[PageSection]:
    """Return rates and times of the stages, and in which of them a frame spends its time."""
    stages = in_order(snapshot.stages)
    if not stages:
        return []
    shares = time_shares(stages, snapshot.ends)
    bars = [
        Text(UNKNOWN)
        if share is None
        else Text.assemble("[", (bar(share, _BAR_WIDTH), "cyan"), "]")
        for share in shares
    ]
    heading, rows = make_columns(
        [
            TextColumn("stage, ms", stage_names(stages), is_number=False, min_width=_NAME_WIDTH),
            TextColumn("/s", [_stage_rate(stage) for stage in stages]),
            *_percentiles([stage.process for stage in stages]),
            TextColumn("queue", [milliseconds(stage.queue.p50) for stage in stages], 1),
            TextColumn("share", bars, 3, is_number=False),
            TextColumn(
                "dropped",
                [_remark(stage) for stage in stages],
                2,
                is_number=False,
                min_width=_REMARK_WIDTH,
            ),
        ],
        width,
    )
    return [PageSection(heading, rows, rank=1, min_rows=6)]


def wait_section(snapshot: Snapshot, width: int) -> list[PageSection]:
    """Return how long frames were on the way to each stage, in its queue, and how old they are."""
    stages = in_order(snapshot.stages)
    if not stages:
        return []
    columns = [TextColumn("stage, ms", stage_names(stages), is_number=False, min_width=_NAME_WIDTH)]
    for rank, (name, figures) in enumerate(
        (
            ("way", [stage.transport for stage in stages]),
            ("queue", [stage.queue for stage in stages]),
            ("age", [stage.age for stage in stages]),
            ("device", [stage.device for stage in stages]),
        )
    ):
        columns += [
            TextColumn(f"{name} p50", [milliseconds(each.p50) for each in figures], rank),
            TextColumn("p99", [milliseconds(each.p99) for each in figures], rank + 1),
        ]
    columns += [
        TextColumn("max", [milliseconds(stage.process.max) for stage in stages], 5),
        TextColumn("frames", [count(stage.count) for stage in stages], 4),
        TextColumn("late", [count(stage.deadline_misses) for stage in stages], 6),
    ]
    heading, rows = make_columns(columns, width)
    return [PageSection(heading, rows, rank=11, is_filler=True)]


def drop_section(snapshot: Snapshot) -> list[PageSection]:
    """Return why frames were dropped, and what is wrong with their clocks, since the start."""
    rows = []
    stages = in_order(snapshot.stages)
    for name, stage in zip(stage_names(stages), stages, strict=True):
        if drops := counts(stage.drops):
            rows.append(Text.assemble(f"{name}: ", (drops, "yellow")))
        if faults := counts(stage.clock_faults):
            rows.append(Text.assemble(f"{name}: clock faults ", (faults, "yellow")))
    return [PageSection(Text("dropped since the start"), rows)] if rows else []


def result_section(snapshot: Snapshot) -> list[PageSection]:
    """Return the newest results, the findings of each in one line."""
    rows = [
        Text.assemble(
            (relative(result.topic, snapshot.namespace), "bold"),
            f" {'; '.join(result.lines) or 'nothing found'}",
        )
        for result in snapshot.results
    ]
    return [PageSection(Text("results"), rows, rank=10)] if rows else []


def voice_section(snapshot: Snapshot) -> list[PageSection]:
    """Return what was heard last, and what became of it."""
    voice = snapshot.voice
    heard = f'"{voice.transcript}"' if voice.transcript else ""
    rows = [
        Text.assemble((f"{name:<8}", "dim"), (text, style))
        for name, text, style in (
            ("heard" if voice.is_final else "hearing", heard, "bold"),
            ("intent", ", then ".join(voice.intents), ""),
            ("plan", ", then ".join(voice.plan), ""),
            ("state", voice.state, "cyan"),
            ("says", voice.said, ""),
            ("problem", voice.problem, "red"),
        )
        if text
    ]
    return [PageSection(Text("voice"), rows, rank=8)] if rows else []


def _percentiles(
    figures: Sequence[Percentiles], deadline_ms: float | None = None
) -> list[TextColumn]:
    return [
        TextColumn("p50", [_time(each.p50, deadline_ms) for each in figures]),
        TextColumn("p95", [_time(each.p95, deadline_ms) for each in figures], 1),
        TextColumn("p99", [_time(each.p99, deadline_ms) for each in figures]),
    ]


def _time(value: float | None, deadline_ms: float | None) -> Text:
    is_late = value is not None and deadline_ms is not None and value > deadline_ms
    return Text(milliseconds(value), "red" if is_late else "")


def _misses(end: EndRow, deadline_ms: float | None) -> Text:
    if deadline_ms is None:
        return Text(UNKNOWN)
    return Text(str(end.deadline_misses), "yellow" if end.deadline_misses else "")


def _stage_rate(stage: StageRow) -> Text:
    return Text(rate(stage.rate_hz), "dim" if stage.silent_s > _SILENT_S else "")


def _remark(stage: StageRow) -> Text:
    silent = f"silent for {stage.silent_s:.0f} s" if stage.silent_s > _SILENT_S else ""
    faults = sum(stage.clock_faults.values())
    clock = f"clock faults {faults}" if faults else ""
    return Text("; ".join(filter(None, (silent, counts(stage.drops), clock))), "yellow")
