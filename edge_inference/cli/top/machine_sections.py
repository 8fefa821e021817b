"""The machine as sections of a page: load, heat and power, sensors, processes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from edge_inference.cli.top.control_sections import level_style
from edge_inference.cli.top.figure_text import (
    UNKNOWN,
    count,
    mebibytes,
    percent,
    quantity,
    rate,
    relative,
)
from edge_inference.cli.top.page_section import PageSection
from edge_inference.cli.top.text_columns import TextColumn, make_columns
from edge_inference.cli.top.text_graphics import bar, share_style, sparkline
from edge_inference.cli.top.trends import Trends
from edge_inference.observe.monitor.snapshot import PlatformRow, Snapshot

#: Cells of a meter: its name, its value, and the least that it needs.
_NAME, _VALUE, _MIN_METER = 6, 5, 36
_TREND_WIDTH = 12
_NAME_WIDTH = 10
#: A temperature that changes by less is drawn as a flat line.
_MIN_SPAN_C = 10.0


def machine_section(snapshot: Snapshot, trends: Trends, width: int) -> list[PageSection]:
    """Return load, temperature and power of the machine, and what limits it."""
    platform = snapshot.platform
    if platform is None:
        return []
    count_beside = max(1, min(3, width // _MIN_METER))
    gap = "  "
    each_width = (width - len(gap) * (count_beside - 1)) // count_beside
    meters = [
        _share_meter("CPU", platform.cpu_share, trends.cpu, each_width),
        _share_meter("GPU", platform.gpu_share, trends.gpu, each_width),
        _share_meter("memory", platform.memory_share, trends.memory, each_width),
        _value_meter("temp", _temperature(platform), _scaled(trends.temperature), each_width),
        _value_meter(
            "power", quantity(platform.power_w, "W"), _from_zero(trends.power), each_width
        ),
        _level_meter(platform),
    ]
    rows = [
        Text(gap).join(meters[place : place + count_beside])
        for place in range(0, len(meters), count_beside)
    ]
    rows += _machine_remarks(platform)
    heading = Text("machine")
    if platform.source:
        heading.append(f" ({platform.source})")
    return [PageSection(heading, rows, rank=3, min_rows=len(rows))]


def sensor_section(snapshot: Snapshot, width: int) -> list[PageSection]:
    """Return every sensor with its value, or the reason why there is none."""
    readings = () if snapshot.platform is None else snapshot.platform.readings
    if not readings:
        return []
    texts = [each.text or quantity(each.value, each.unit) for each in readings]
    styles = ["" if each.status == "ok" else "yellow" for each in readings]
    heading, rows = make_columns(
        [
            TextColumn("sensor", [each.name for each in readings], 0, False, 20),
            TextColumn(
                "reading",
                [Text(text, style) for text, style in zip(texts, styles, strict=True)],
                0,
                is_number=False,
                min_width=10,
            ),
            TextColumn("limit", [_limit(each.limit) for each in readings], 2),
            TextColumn("status", [Text(each.status, "dim") for each in readings], 1, False),
            TextColumn("role", [_role(each.role) for each in readings], 3, False),
        ],
        width,
    )
    return [PageSection(heading, rows, rank=12, is_filler=True)]


def process_section(snapshot: Snapshot, width: int) -> list[PageSection]:
    """Return CPU time and memory of each process, the busiest first."""
    processes = sorted(snapshot.processes, key=lambda each: each.cpu_share, reverse=True)
    if not processes:
        return []
    nodes = [
        ", ".join(relative(node, snapshot.namespace) for node in each.nodes) for each in processes
    ]
    heading, rows = make_columns(
        [
            TextColumn("process", [count(each.pid) for each in processes]),
            TextColumn("of a core", [percent(each.cpu_share) for each in processes]),
            TextColumn("memory", [mebibytes(each.memory_mib) for each in processes], 1),
            TextColumn("lock ms/s", [rate(each.lock_ms_per_s) for each in processes], 3),
            TextColumn("waits ms/s", [rate(each.run_queue_ms_per_s) for each in processes], 2),
            TextColumn("nodes", nodes, 1, False, 12),
        ],
        width,
    )
    return [PageSection(heading, rows, rank=7)]


def _share_meter(name: str, share: float | None, trend: Sequence[float], width: int) -> Text:
    bar_width = max(4, width - _NAME - _VALUE - _TREND_WIDTH - 4)
    return Text.assemble(
        f"{name:<{_NAME}} [",
        (bar(share, bar_width), share_style(share)),
        f"]{percent(share):>{_VALUE}} ",
        (sparkline(trend, _TREND_WIDTH, 0.0, 1.0), "cyan"),
    )


def _value_meter(name: str, value: str, trend: str, width: int) -> Text:
    meter = Text(f"{name:<{_NAME}} {value}")
    meter.truncate(max(1, width - _TREND_WIDTH - 1), overflow="ellipsis", pad=True)
    return meter.append(" ").append(trend, "cyan")


def _level_meter(platform: PlatformRow) -> Text:
    meter = Text(f"{'level':<{_NAME}} ")
    meter.append(platform.level or UNKNOWN, level_style(platform.level))
    if platform.headroom is not None:
        # 1 is the limit, by the forecast of the platform manager.
        style = share_style(platform.headroom)
        meter.append("  forecast ").append(percent(platform.headroom), style).append(" of limit")
    return meter


def _temperature(platform: PlatformRow) -> str:
    name = f" {platform.hottest_name}" if platform.hottest_c is not None else ""
    limits = [
        each.limit
        for each in platform.readings
        if each.name == platform.hottest_name and each.limit is not None
    ]
    limit = f" of {limits[0]:g}" if limits else ""
    return f"{quantity(platform.hottest_c, '°C')}{limit}{name}"


def _scaled(temperatures: Sequence[float]) -> str:
    known = [each for each in temperatures[-_TREND_WIDTH:] if each == each]
    if not known:
        return " " * _TREND_WIDTH
    middle = (min(known) + max(known)) / 2
    low = min(min(known), middle - _MIN_SPAN_C / 2)
    return sparkline(temperatures, _TREND_WIDTH, low, max(max(known), low + _MIN_SPAN_C))


def _from_zero(values: Sequence[float]) -> str:
    return sparkline(values, _TREND_WIDTH, low=0.0)


def _machine_remarks(platform: PlatformRow) -> list[Text]:
    rows = []
    if platform.reason:
        rows.append(Text(platform.reason, level_style(platform.level)))
    if platform.throttling:
        rows.append(Text(f"THROTTLED by {', '.join(platform.throttling)}", "bold red"))
    if platform.problem:
        rows.append(Text(platform.problem, "red"))
    return rows


def _limit(limit: float | None) -> str:
    return "" if limit is None else f"{limit:g}"


def _role(role: str) -> str:
    return "" if role == "none" else role.replace("_", " ")
