"""``edge-inference optimize run``: runs a recipe and prints its decisions."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

if TYPE_CHECKING:
    from edge_inference.optimize.recipe.measured_point import MeasuredPoint
    from edge_inference.optimize.recipe.recipe_log import RecipeDecision
    from edge_inference.optimize.recipe.recipe_report import RecipePlan, RecipeReport

_EXAMPLES = """\
examples:
  edge-inference optimize run recipe.yaml --dry-run
  edge-inference optimize run recipe.yaml --output ./my_model

A recipe of five lines:
  model: {function: my_nets.py:make_net, weights: net.pt}
  data: {source: images/}
  input: {width: 64, height: 64, std: [255]}
  target: {speedup: 2, max_accuracy_loss: 0.01}
  output: my_model

Paths are relative to the recipe. Without a list of steps the least invasive come first: int8
after training, layers in mixed precision, quantization-aware training, pruning with fine-tuning,
distillation. It stops as soon as the target is met. A step that costs too much accuracy is rolled
back. Each finished step is kept in the work folder: a run that was interrupted goes on from there
and ends with the same model.

exit codes: 0 the target is met; 1 failed; 2 wrong usage; 3 the target is not met, the best model
that keeps the accuracy was written; 130 interrupted."""

_NOT_MET = 3
_PIPE_WIDTH = 140


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "run",
        _start,
        help="run a recipe: prune, quantize, distill, until a target is met",
        description="Run the steps of a recipe until its latency and accuracy are met.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="YAML file")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="the new model folder; default: that of the recipe",
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="FOLDER",
        help="folder of the finished steps; default: recipes in the cache folder",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only print the steps and what they cost"
    )
    parser.add_argument(
        "--clean", action="store_true", help="remove the finished steps of all recipes first"
    )
    given.add_bounds(parser, "recipe", timeout_s=24 * 3600)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.bounded_run import remove_with_child
    from edge_inference.cli.progress import show_progress
    from edge_inference.cli.signals import cancel_on_signal
    from edge_inference.optimize.recipe.recipe_file import load_recipe
    from edge_inference.optimize.recipe.recipe_run import (
        clean_work_folder,
        default_work_folder,
        plan_recipe,
        run_recipe,
    )

    recipe = load_recipe(options.recipe)
    work = options.work or default_work_folder()
    if options.clean:
        clean_work_folder(work)
    title = options.recipe.name
    with cancel_on_signal() as cancelled:
        if options.dry_run:
            with show_progress(title, sys.stdout, options.json) as progress:
                plan = plan_recipe(recipe, work, progress, cancelled)
            _print_plan(plan, options.json)
            return 0
        with show_progress(title, sys.stdout, options.json) as progress:
            report = run_recipe(
                recipe,
                work,
                options.output,
                progress,
                cancelled,
                started=lambda plan: _print_plan(plan, options.json),
                before_staging=remove_with_child,
            )
    _print_report(report, options.json)
    return 0 if report.is_met else _NOT_MET


def _print_plan(plan: RecipePlan, as_json: bool) -> None:
    if as_json:
        _write({"plan": plan.to_json()})
        return
    from edge_inference.cli.console_table import new_console, new_table, print_table

    console = new_console(sys.stdout, _PIPE_WIDTH)
    table = new_table("step", "estimated s")
    for cost in plan.costs:
        table.add_row(cost.title, f"{cost.seconds:.0f}")
    print_table(console, table)
    console.print(
        f"target: {plan.recipe.target.describe()}\nat most about {plan.seconds:.0f} s; steps that "
        f"an earlier run has finished cost nothing\nlog of decisions: {plan.log_folder}",
        soft_wrap=True,
    )


def _print_report(report: RecipeReport, as_json: bool) -> None:
    if as_json:
        for decision in report.decisions:
            _write({"decision": _as_json(decision)})
        _write({"summary": report.to_json()})
        return
    from edge_inference.cli.console_table import new_console, new_table, print_table

    console = new_console(sys.stdout, _PIPE_WIDTH)
    for decision in report.decisions:
        console.print(decision.describe(), soft_wrap=True)
    table = new_table("model", "accuracy", "of images", "ms", "p95 ms", "speed-up", "kB")
    for part, point in (("validation part", report.chosen), ("test part", report.tested)):
        table.add_row(*_cells(part, point))
    print_table(console, table)
    console.print(report.summary(), soft_wrap=True)
    console.print(f"sha256 of the folder: {report.sha256}", soft_wrap=True)


def _cells(part: str, point: MeasuredPoint) -> list[str]:
    return [
        f"{point.deployment.name}, {part}",
        f"{point.accuracy.share:.1%}",
        str(point.accuracy.total),
        f"{point.time.median_s * 1e3:.3g}",
        f"{point.time.p95_s * 1e3:.3g}",
        f"{point.speedup:.2f}",
        f"{point.bytes / 1e3:.0f}",
    ]


def _as_json(decision: RecipeDecision) -> dict[str, object]:
    return {
        "step": decision.step,
        "title": decision.title,
        "outcome": decision.outcome,
        "reason": decision.reason,
        "figures": dict(decision.figures),
        "was_stored": decision.was_stored,
    }


def _write(content: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")
    sys.stdout.flush()
