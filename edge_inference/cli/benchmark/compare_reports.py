"""``edge-inference benchmark --compare``: compares two reports, for people and as a gate."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_inference.cli.benchmark.benchmark_format import format_change, print_comparisons
from edge_inference.cli.benchmark.benchmark_options import check_reports
from edge_inference.cli.exit_status import EXIT_FAILED, UsageError, print_error
from edge_inference.core.disk import describe_write_error
from edge_inference.errors import ConfigError
from edge_inference.observe.benchmark.benchmark_environment import find_differences
from edge_inference.observe.benchmark.benchmark_report import read_report
from edge_inference.observe.benchmark.report_comparison import ReportComparison, compare_reports

#: Exit code where the environments are not alike.
EXIT_UNLIKE = 3


def compare_files(
    base: str,
    other: str,
    *,
    allow_different: bool,
    fail_above: float | None,
    html: str | None,
    json_file: str | None,
) -> int:
    """Compare, print, and return 0, 1 for a regression, or 3 for unlike environments.

    Raises ConfigError for a file that is no report.
    """
    if html is not None:
        raise UsageError("--html is the report of a measurement; omit it with --compare")
    check_reports({"--json": json_file}, (base, other))
    reports = read_report(Path(base)), read_report(Path(other))
    if find_differences(*reports) and not allow_different:
        try:
            compare_reports(*reports, (base, other))
        except ConfigError as error:
            print_error(error)
        return EXIT_UNLIKE
    comparison = compare_reports(*reports, (base, other), allow_different=allow_different)
    print_comparisons([comparison], sys.stdout)
    if json_file is not None:
        _write(Path(json_file), comparison, fail_above)
    if fail_above is None:
        return 0
    if not any(change.low is not None for change in comparison.changes):
        print_error(
            "--fail-above: expected at least one latency with enough samples on both sides, got "
            "none, so that nothing was judged; measure longer with --seconds"
        )
        return EXIT_FAILED
    regressions = comparison.regressions(fail_above)
    for change in regressions:
        print_error(
            f"{change.candidate} {change.load}: {change.figure} is worse by more than "
            f"{fail_above:.1%}: {format_change(change)}"
        )
    return EXIT_FAILED if regressions else 0


def comparison_as_json(comparison: ReportComparison, fail_above: float | None) -> dict[str, Any]:
    """Return the comparison as plain values."""
    return {
        "kind": "edge_inference benchmark comparison",
        "version": 1,
        "base": comparison.base,
        "other": comparison.other,
        "method": comparison.method,
        "differences": list(comparison.differences),
        "notes": list(comparison.notes),
        "changes": [
            {
                **asdict(change),
                "change": change.change,
                "is_regression": None if fail_above is None else change.is_regression(fail_above),
            }
            for change in comparison.changes
        ],
    }


def _write(file: Path, comparison: ReportComparison, fail_above: float | None) -> None:
    text = json.dumps(comparison_as_json(comparison, fail_above), allow_nan=False, indent=2)
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {describe_write_error(error)}") from error
