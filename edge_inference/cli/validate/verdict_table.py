"""The verdicts as a table."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from rich.text import Text

from edge_inference.cli.console_table import new_console, new_table, print_table
from edge_inference.observe.targets.target_report import format_ends, format_figure
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
    console = new_console(stream, _PIPE_WIDTH)
    table = new_table("target", "value", "interval", "samples", "margin")
    table.add_column("verdict", overflow="fold")
    for name, group in itertools.groupby(judgments, key=lambda each: each.scenario):
        own = list(group)
        reasons = {each.reason for each in own}
        # What has kept a whole scenario from being measured is said once.
        common = reasons.pop() if len(own) > 1 and len(reasons) == 1 else ""
        table.add_row(Text(name, style="bold"), "", "", "", "", Text(common))
        for each in own:
            table.add_row(*_cells(each, each.reason != common))
    print_table(console, table)
    console.print(Text(summarize(judgments)), soft_wrap=True)


def summarize(judgments: Sequence[Judgment]) -> str:
    """Return the counts of the verdicts as text."""
    counts = Counter(each.verdict for each in judgments)
    shown = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    optional = sum(not each.target.required for each in judgments)
    note = f"; {optional} of {len(judgments)} not required" if optional else ""
    return f"{shown}{note}"


def _cells(judgment: Judgment, has_own_reason: bool) -> list[Text]:
    interval = judgment.interval
    verdict = Text(judgment.verdict.value, style=_STYLES[judgment.verdict])
    if not judgment.target.required:
        verdict.append(" (not required)")
    if has_own_reason:
        verdict.append(f": {judgment.reason}")
    if interval is None:
        return [Text(f"  {judgment.target.label}"), *[Text()] * 4, verdict]
    margin = judgment.margin or 0.0
    figures = (
        f"  {judgment.target.label}",
        format_figure(interval.value),
        format_ends(judgment),
        str(interval.samples),
        f"{'+' if margin >= 0 else ''}{format_figure(margin)}",
    )
    return [*map(Text, figures), verdict]
