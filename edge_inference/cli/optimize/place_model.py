"""``optimize mixed-precision``: checks the options, searches, prints the report."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edge_inference.cli.bounded_run import remove_with_child
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.models.image_choice import choose_images
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.models.model_search import find_model
from edge_inference.optimize.placement.placement_report import PlacementReport, SearchCost
from edge_inference.optimize.placement.placement_request import PlacementRequest
from edge_inference.optimize.placement.precision_candidate import CandidateResult
from edge_inference.optimize.placement.precision_search import search_precisions
from edge_inference.optimize.quantized_folder import find_output_problem

_PIPE_WIDTH = 120


def place_model(options: argparse.Namespace) -> int:
    """Search, print the report, and return the exit code.

    Raises UsageError for an output that cannot be used, EdgeInferenceError if the search fails.
    """
    model = find_model(options.model, search_path(options.model_path))
    output = Path(options.output).expanduser()
    problem = find_output_problem(output, model)
    if problem is not None:
        raise UsageError(f"--output {options.output}: {problem}")
    request = PlacementRequest(
        model,
        choose_images(model, options.images, None, options.topic, options.limit),
        output,
        options.backend,
        options.min_agreement,
        options.min_sqnr_db,
        options.max_seconds,
        options.calibration,
    )

    def tell_cost(cost: SearchCost) -> None:
        if not options.json:
            sys.stdout.write(f"cost: {cost.summary()}\n")
            sys.stdout.flush()

    with cancel_on_signal() as cancelled:
        with show_progress(f"searching {model.name}", sys.stdout, options.json) as progress:
            report = search_precisions(
                request,
                None,
                progress,
                cancelled,
                before_search=tell_cost,
                before_staging=remove_with_child,
            )
        _print_report(report, options.json)
    return 0


def _print_report(report: PlacementReport, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"summary": report.to_json()}) + "\n")
        return
    from edge_inference.cli.console_table import new_console, new_table

    console = new_console(sys.stdout, _PIPE_WIDTH)
    table = new_table(
        f"{report.model} on {report.backend}", "times fp32", "ms", "agreement", "SQNR dB", "floors"
    )
    shown = {result.candidate.key: result for result in (*report.singles, report.chosen)}
    for result in shown.values():
        is_chosen = result.candidate.key == report.chosen.candidate.key
        table.add_row(f"{result.candidate.name}{' (chosen)' if is_chosen else ''}", *_cells(result))
    console.print(table)
    for note in report.notes:
        sys.stdout.write(f"{note}\n")
    sys.stdout.write(f"{report.summary()}\n")


def _cells(result: CandidateResult) -> list[str]:
    floors = "kept" if result.keeps_floors else "missed" if not result.is_failed else "failed"
    return [
        "-" if result.relative_time is None else f"{1 / result.relative_time:.2f} x",
        "-" if result.seconds is None else f"{result.seconds.median_s * 1e3:.2f}",
        "-" if result.agreement is None else f"{result.agreement:.1%}",
        "-" if result.sqnr_db is None else f"{result.sqnr_db:.1f}",
        floors,
    ]
