"""The report of ``quantize``: a table for people, or JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from edge_inference.core.models.self_check import SelfCheckReport
from edge_inference.engines.precision.int8_mode import describe_int8_mode
from edge_inference.optimize.derived_model_check import DerivedModelCheck
from edge_inference.optimize.quantization.ptq_report import PtqReport
from edge_inference.optimize.quantize import QuantizeReport

_PIPE_WIDTH = 120


def print_report(report: QuantizeReport, as_json: bool) -> None:
    """Print the steps, the figures, and the folder where it was kept."""
    if as_json:
        sys.stdout.write(json.dumps({"summary": _report_as_json(report)}) + "\n")
        return
    for step in report.steps:
        sys.stdout.write(f"{step}\n")
    _print_table(report.check)
    sys.stdout.write(f"{report.check.golden_summary}\n")
    if report.folder is not None:
        sys.stdout.write(f"model folder: {report.folder}\n")


def _print_table(check: DerivedModelCheck) -> None:
    from edge_inference.cli.console_table import new_console, new_table

    console = new_console(sys.stdout, _PIPE_WIDTH)
    table = new_table(
        f"{check.precision} against fp32",
        "agreement",
        "cosine",
        "SQNR dB",
        "fp32 ms",
        f"{check.precision} ms",
        "faster",
    )
    for row in check.rows:
        table.add_row(
            f"{row.images}, {row.report.images}",
            *_closeness(row.report),
            f"{row.fp32_ms:.1f}",
            f"{row.derived_ms:.1f}",
            f"{row.fp32_ms / row.derived_ms:.2f} x",
        )
    thresholds = check.thresholds
    table.add_section()
    table.add_row(
        "needed",
        f"{thresholds.agreement:.1%}",
        f"{thresholds.cosine:.3f}",
        f"{thresholds.sqnr_db:.1f}",
    )
    console.print(table)


def print_ptq_report(report: PtqReport, as_json: bool) -> None:
    """Print fp32 and each form of int8, or one JSON object."""
    if as_json:
        sys.stdout.write(json.dumps({"summary": report.to_json()}) + "\n")
        return
    from edge_inference.cli.console_table import new_console, new_table, print_table

    sys.stdout.write(
        f"{report.model.name}: ranges from {report.calibration_images} images, compared on "
        f"{report.compared_images} others; ONNX Runtime, one thread, {report.instruction_set}\n"
    )
    console = new_console(sys.stdout, _PIPE_WIDTH)
    table = new_table("form", "agreement", "SQNR dB", "top-1", "file", "CPU ms", "speed")
    for row in report.rows:
        sqnr = "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
        table.add_row(
            row.name,
            "" if row.agreement is None else f"{row.agreement:.1%}",
            "equal" if sqnr == "inf" else sqnr,
            "" if row.accuracy is None else f"{row.accuracy.share:.1%} ({row.accuracy.correct})",
            f"{row.bytes / 1e6:.1f} MB",
            f"{row.time.median_s * 1e3:.2f}",
            f"x{report.speedup(row):.2f}",
        )
    print_table(console, table)
    modes = {row.form: row.mode for row in report.rows if row.mode is not None}
    for form, mode in modes.items():
        sys.stdout.write(f"{form}: {describe_int8_mode(mode)}\n")
    sys.stdout.write(f"{report.summary()}\n")


def _closeness(report: SelfCheckReport) -> tuple[str, str, str]:
    figures = report.figures()
    if report.outputs is None or "cosine" not in figures:  # the rows may depend on the data
        closeness = ("", "")
    else:
        closeness = (f"{figures['cosine']:.4f}", f"{report.outputs.sqnr_db:.1f}")
    agreement = f"{figures['agreement']:.1%}" if "agreement" in figures else ""
    return agreement, *closeness


def _report_as_json(report: QuantizeReport) -> dict[str, Any]:
    check = report.check
    return {
        "precision": check.precision,
        "passed": check.passed,
        "reasons": list(check.reasons),
        "folder": None if report.folder is None else str(report.folder),
        "checks": [
            {
                "images": row.images,
                "count": row.report.images,
                **row.report.figures(),
                "fp32_ms": round(row.fp32_ms, 3),
                f"{check.precision}_ms": round(row.derived_ms, 3),
            }
            for row in check.rows
        ],
        "golden_check": check.golden_summary,
        "steps": list(report.steps),
    }
