"""The verdicts as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from edge_inference.cli.perception.summary_table import new_table
from edge_inference.observe.targets.target_report import format_ends
from edge_inference.observe.targets.verdict import Judgment, Verdict

_PIPE_WIDTH = 160
_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_MEASURED: "yellow",
}


def print_verdicts(judgments: Sequence[Judgment], stream: TextIO) -> None:
    """Print a row for each target, under the name of its scenario, and the counts."""
    is_terminal = stream.isatty()
    console = Console(
        file=stream,
        width=None if is_terminal else _PIPE_WIDTH,
        color_system="auto" if is_terminal else None,
        highlight=False,
    )
    table = new_table("target", "value", "interval", "samples", "margin")
    table.add_column("verdict", overflow="fold")
    scenario = None
    for each in judgments:
        if each.scenario != scenario:
            scenario = each.scenario
            table.add_row(Text(scenario, style="bold"))
        table.add_row(*map(_as_text, _cells(each)))
    console.print(table)
    console.print(Text(summarize(judgments)), soft_wrap=True)


def summarize(judgments: Sequence[Judgment]) -> str:
    """Return the counts of the verdicts as text."""
    counts = Counter(each.verdict for each in judgments)
    shown = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    optional = sum(not each.target.required for each in judgments)
    note = f"; {optional} of them not required" if optional else ""
    return f"{len(judgments)} targets: {shown}{note}"


def _as_text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _cells(judgment: Judgment) -> list[str | Text]:
    interval = judgment.interval
    verdict = Text(judgment.verdict.value, style=_STYLES[judgment.verdict])
    if not judgment.target.required:
        verdict.append(" (not required)")
    if judgment.reason:
        verdict.append(f": {judgment.reason}")
    if interval is None:
        return [f"  {judgment.target.label}", "", "", "", "", verdict]
    margin = judgment.margin
    return [
        f"  {judgment.target.label}",
        f"{interval.value:.4g}",
        format_ends(judgment),
        str(interval.samples),
        "" if margin is None else f"{margin:+.3g}",
        verdict,
    ]
