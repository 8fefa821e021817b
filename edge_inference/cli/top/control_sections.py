"""What is being done and why, as sections of a page: engines, targets, decisions, health."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from edge_inference.cli.top.figure_text import UNKNOWN, clock_time, count, quantity, rate, relative
from edge_inference.cli.top.page_section import PageSection
from edge_inference.cli.top.text_columns import TextColumn, make_columns
from edge_inference.cli.top.text_graphics import bar
from edge_inference.observe.monitor.snapshot import EngineRow, Snapshot, TargetRow

_BAR_WIDTH = 10
_NAME_WIDTH = 10
_LEVEL_STYLES = {"full": "green", "reduced": "yellow", "minimum": "red", "failsafe": "bold red"}
#: The light and the color of each verdict, the worst first.
_LIGHTS = {
    "FAIL": ("●", "bold red"),
    "INCONCLUSIVE": ("●", "yellow"),
    "NOT MEASURED": ("○", "dim"),
    "PASS": ("●", "green"),
}
_HEALTH_STYLES = {"ok": "green", "warn": "yellow", "error": "red", "stale": "dim"}


def level_style(level: str) -> str:
    """Return the color of the level of a directive."""
    return _LEVEL_STYLES.get(level, "")


def engine_section(snapshot: Snapshot, width: int) -> list[PageSection]:
    """Return what each node runs, and below it what it prepares and why it is limited."""
    engines = snapshot.engines
    if not engines:
        return []
    heading, lines = make_columns(
        [
            TextColumn(
                "engine",
                [relative(each.node, snapshot.namespace) for each in engines],
                0,
                False,
                _NAME_WIDTH,
            ),
            TextColumn("model", [each.model or UNKNOWN for each in engines], 2, False, _NAME_WIDTH),
            TextColumn("precision", [each.precision or UNKNOWN for each in engines], 0, False),
            TextColumn("backend", [each.backend or UNKNOWN for each in engines], 1, False),
            TextColumn("batch", [count(each.batch) for each in engines], 3),
            TextColumn("/s", [rate(each.rate_hz) for each in engines], 2),
            TextColumn("wanted", [rate(each.demand_hz) for each in engines], 4),
            TextColumn(
                "level",
                [Text(each.level or UNKNOWN, level_style(each.level)) for each in engines],
                1,
                False,
            ),
        ],
        width,
    )
    rows = [
        row
        for line, engine in zip(lines, engines, strict=True)
        for row in (line, *_engine_remarks(engine))
    ]
    return [PageSection(heading, rows, rank=2, min_rows=3)]


def target_section(snapshot: Snapshot, width: int) -> list[PageSection]:
    """Return a light for each target, with its verdict in words; those that fail come first."""
    targets = sorted(snapshot.targets, key=_urgency)
    if not targets:
        return []
    numbers = Counter(target.verdict for target in targets)
    summary = ", ".join(f"{numbers[verdict]} {verdict}" for verdict in _LIGHTS if numbers[verdict])
    _, rows = make_columns(
        [
            TextColumn("", [_light(target) for target in targets], 0, False),
            TextColumn("", [_label(target) for target in targets], 0, False, 20),
            TextColumn("", [target.message for target in targets], 1, False, _NAME_WIDTH),
            TextColumn("", [target.scenario for target in targets], 2, False),
        ],
        width,
    )
    return [PageSection(Text(f"targets: {summary}"), rows, rank=4)]


def decision_section(snapshot: Snapshot, *, is_complete: bool) -> list[PageSection]:
    """Return what the robot, or its user, has changed, the newest first.

    Unless it ``is_complete``, changes of health are left out: they come often.
    """
    decisions = sorted(snapshot.decisions, key=lambda each: each.at_s, reverse=True)
    decisions = [each for each in decisions if is_complete or each.kind != "health"]
    rows = [
        Text.assemble(
            (clock_time(each.at_s, snapshot.at_s), "dim"),
            f" {each.kind:<9} ",
            (relative(each.subject, snapshot.namespace), "bold"),
            f": {each.text}",
        )
        for each in decisions
    ]
    return [PageSection(Text("decisions"), rows, rank=5)] if rows else []


def health_section(snapshot: Snapshot, width: int, *, is_complete: bool) -> list[PageSection]:
    """Return the health of the nodes; unless it ``is_complete``, only what is not well."""
    found = [each for each in snapshot.health if is_complete or each.level != "ok"]
    if not found:
        return []
    _, rows = make_columns(
        [
            TextColumn(
                "",
                [Text(each.level.upper(), _HEALTH_STYLES.get(each.level, "")) for each in found],
                0,
                False,
            ),
            TextColumn(
                "",
                [relative(each.name, snapshot.namespace) for each in found],
                0,
                False,
                _NAME_WIDTH,
            ),
            TextColumn("", [each.message for each in found], 1, False, _NAME_WIDTH),
        ],
        width,
    )
    return [PageSection(Text("health"), rows, rank=6)]


def message_section(messages: Sequence[tuple[float, str]], now_s: float) -> list[PageSection]:
    """Return what this command itself had to say, with its time, the newest first."""
    rows = [
        Text.assemble((clock_time(at_s, now_s), "dim"), f" {text}")
        for at_s, text in reversed(messages)
    ]
    return [PageSection(Text("messages"), rows, rank=9)] if rows else []


def _engine_remarks(engine: EngineRow) -> list[Text]:
    rows = []
    if engine.preparing:
        row = Text(f"  preparing {engine.preparing} ")
        if engine.progress is not None:
            row.append(f"{engine.progress:.0%} [").append(bar(engine.progress, _BAR_WIDTH), "cyan")
            row.append("]")
        rows.append(row)
    limits = []
    if engine.max_rate_hz is not None:
        limits.append(f"at most {quantity(engine.max_rate_hz, '/s')}")
    if engine.precision_ceiling:
        limits.append(f"at most {engine.precision_ceiling}")
    if limits or engine.reason:
        text = ": ".join(filter(None, (", ".join(limits), engine.reason)))
        rows.append(Text.assemble("  ", (text, level_style(engine.level))))
    if engine.problem:
        rows.append(Text.assemble("  ", (engine.problem, "red")))
    return rows


def _urgency(target: TargetRow) -> int:
    """Return the place of a verdict; one that is not known is as urgent as a failure."""
    return list(_LIGHTS).index(target.verdict) if target.verdict in _LIGHTS else 0


def _light(target: TargetRow) -> Text:
    light, style = _LIGHTS.get(target.verdict, ("●", "bold red"))
    return Text(f"{light} {target.verdict}", style)


def _label(target: TargetRow) -> str:
    return target.label if target.required else f"{target.label} (optional)"
