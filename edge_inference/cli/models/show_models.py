"""``edge-inference models``: lists the models."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from edge_inference.cli.exit_status import print_error
from edge_inference.cli.models.cost_format import cost_as_json, cost_as_text
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.sizes import format_megabytes
from edge_inference.core.measured_costs import Cost, Measurement
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.model_search import available_models
from edge_inference.core.models.variants import Accuracy, Variant
from edge_inference.engines.cache.artifacts import default_cache, precisions
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.serving.cost_recording import current_costs
from edge_inference.errors import EdgeInferenceError

_PIPE_WIDTH = 140

Costs = Sequence[tuple[Cost, Measurement]]


def list_models(model_path: str, as_json: bool) -> int:
    """Print every model on the search path; return 1 if one cannot be read."""
    models, failed = [], 0
    for name, folder in sorted(available_models(search_path(model_path)).items()):
        try:
            models.append(load_model(folder))
        except EdgeInferenceError as error:
            failed += 1
            print_error(f"{name}: {error}")
    cache = default_cache()
    known = CostCache(cache.folder).read(print_error)
    listed = [(model, current_costs(model, known, cache)) for model in models]
    if as_json:
        for model, costs in listed:
            sys.stdout.write(json.dumps(_as_json(model, costs)) + "\n")
    else:
        _print(listed)
    return 1 if failed else 0


def _as_json(model: ModelDescription, costs: Costs) -> dict[str, Any]:
    return {
        "name": model.name,
        "task": model.task,
        "description": model.description,
        "license": model.license,
        "folder": str(model.folder),
        "input": [model.input.width, model.input.height],
        "classes": len(model.labels),
        "variants": {
            name: {
                "file": variant.file.name,
                "bytes": _size(variant),
                "accuracy": [vars(accuracy) for accuracy in variant.accuracy],
            }
            for name, variant in model.variants.items()
        },
        "derivable": _derivable(model),
        "measured_costs": [cost_as_json(*each) for each in costs],
    }


def _print(listed: Sequence[tuple[ModelDescription, Costs]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import JustifyMethod
    from rich.table import Table
    from rich.text import Text

    from edge_inference.cli.console_table import new_console

    console = new_console(sys.stdout, _PIPE_WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    names = ("model", "task", "input", "precision", "size", "time here", "measured accuracy")
    for name in (*names, "license"):
        justify: JustifyMethod = "right" if name == "size" else "left"
        table.add_column(name, justify=justify, no_wrap=name == "time here")
    for model, costs in listed:
        for index, (precision, variant) in enumerate(model.variants.items()):
            head = (model.name, model.task, f"{model.input.width}x{model.input.height}")
            table.add_row(
                *(head if index == 0 else ("", "", "")),
                precision,
                format_megabytes(_size(variant)),
                _times(costs, precision),
                # As Text: brackets in a description are not markup.
                Text("\n".join(_accuracy(one) for one in variant.accuracy) or "none stated"),
                Text(model.license if index == 0 else ""),
            )
        for precision in _derivable(model):
            table.add_row("", "", "", precision, "derived", _times(costs, precision), "", "")
    console.print(table)


def _times(costs: Costs, precision: str) -> str:
    """Return the costs of one precision, a line for each backend and execution."""
    known = (cost for cost, _ in costs if cost.configuration.precision == precision)
    return "\n".join(cost_as_text(cost) for cost in known)


def _derivable(model: ModelDescription) -> list[str]:
    """Return the precisions without a file, which are derived on demand."""
    return [name for name in precisions(model) if name not in model.variants]


def _accuracy(accuracy: Accuracy) -> str:
    return f"{accuracy.value:g} {accuracy.metric} ({accuracy.dataset}, {accuracy.samples} images)"


def _size(variant: Variant) -> int | None:
    files = (variant.file, *(variant.file.parent / name for name in variant.external_data))
    try:
        return sum(file.stat().st_size for file in files)
    except OSError:
        return None
