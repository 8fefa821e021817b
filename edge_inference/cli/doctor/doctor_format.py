"""The report of ``doctor``: text for people, JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rich.text import Text

from edge_inference.cli.console_table import new_console
from edge_inference.observe.doctor.finding import Finding, FindingLevel, worst_level

_PIPE_WIDTH = 100
_STYLES = {
    FindingLevel.OK: "green",
    FindingLevel.NOTE: "cyan",
    FindingLevel.WARNING: "yellow",
    FindingLevel.PROBLEM: "bold red",
    FindingLevel.UNKNOWN: "dim",
}
_LEVEL_WIDTH = max(len(level.value) for level in FindingLevel)


def finding_as_json(finding: Finding) -> dict[str, Any]:
    """Return one finding."""
    return {
        "area": finding.area,
        "name": finding.name,
        "level": finding.level.value,
        "value": finding.value,
        "reason": finding.reason or None,
        "advice": finding.advice or None,
        "command": finding.command or None,
    }


def summary_as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the number of findings by level, and the worst level."""
    counts = Counter(finding.level for finding in findings)
    return {
        "worst": worst_level(findings).value,
        "counts": {level.value: counts[level] for level in FindingLevel},
    }


def print_findings(findings: Sequence[Finding], stream: TextIO) -> None:
    """Print every finding, with reason and advice below it, and last the counts."""
    console = new_console(stream, _PIPE_WIDTH)
    width = max((len(_label(finding)) for finding in findings), default=0)
    for finding in findings:
        line = Text.assemble(
            (f"{finding.level.value:<{_LEVEL_WIDTH}}", _STYLES[finding.level]),
            f"  {_label(finding):<{width}}  {finding.value}",
        )
        console.print(line, soft_wrap=True)
        for text in _details(finding):
            console.print(Text(f"{'':{_LEVEL_WIDTH}}    {text}"), soft_wrap=True)
    console.print(Text(describe_counts(findings)), soft_wrap=True)


def describe_counts(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each level, in one line."""
    counts = Counter(finding.level for finding in findings)
    order = (
        (FindingLevel.PROBLEM, "problem"),
        (FindingLevel.WARNING, "warning"),
        (FindingLevel.NOTE, "note"),
    )
    texts = [f"{counts[level]} {word}{'' if counts[level] == 1 else 's'}" for level, word in order]
    return ", ".join([*texts, f"{counts[FindingLevel.UNKNOWN]} unknown"])


def _label(finding: Finding) -> str:
    return f"{finding.area}: {finding.name}"


def _details(finding: Finding) -> Iterator[str]:
    if finding.reason:
        yield finding.reason
    if finding.advice:
        yield f"→ {finding.advice}"
    if finding.command:
        yield f"  $ {finding.command}"
