"""``optimize tradeoff`` and ``optimize recommend``: measure, print, and write the files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge_inference.cli.benchmark.run_benchmark import make_sense
from edge_inference.cli.compare.comparison_plot import check_matplotlib, check_plot_file
from edge_inference.cli.exit_status import EXIT_FAILED, UsageError
from edge_inference.cli.models.image_choice import choose_images
from edge_inference.cli.optimize.tradeoff_format import print_recommendation, print_tradeoff
from edge_inference.cli.optimize.tradeoff_plot import draw_page, draw_tradeoff
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.disk import check_output_file
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.engines.precision.int8_mode import INT8_MODES
from edge_inference.engines.precision.onnx_file import write_atomically
from edge_inference.observe.benchmark.resource_meter import POWER, ResourceMeter
from edge_inference.optimize.compare import comparable_backends
from edge_inference.optimize.engine_timing import EnergyMeter
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.tradeoff.measure_tradeoff import (
    TradeoffRequest,
    dataset_images,
    measure_tradeoff,
    tradeoff_machine,
)
from edge_inference.optimize.tradeoff.pareto import AXES, pareto_front
from edge_inference.optimize.tradeoff.recommend import recommend
from edge_inference.optimize.tradeoff.tradeoff_document import load_tradeoff, save_tradeoff
from edge_inference.optimize.tradeoff.tradeoff_point import Tradeoff, point_as_json
from edge_inference.optimize.tradeoff.write_points import servable_front, write_operating_points
from edge_inference.optimize.training.dataset_sources import open_dataset
from edge_inference.optimize.training.labeled_dataset import split_dataset


def run_tradeoff(options: argparse.Namespace) -> int:
    """Measure, print and write; return 1 if no point can be used, else 0.

    Raises UsageError for options that could not be obeyed later, before anything is measured.
    """
    _check_names("--over", options.over, tuple(AXES))
    if options.plot is not None:
        check_plot_file(Path(options.plot))
    for flag, name in (("--html", options.html), ("--save", options.save)):
        if name is not None:
            check_output_file(Path(name), flag)
    if options.html is not None:
        check_matplotlib("--html")
    models = _find_models(options)
    measured = _measure(options, models)
    front = pareto_front(measured.points, options.over)
    if options.json:
        chosen = {point.name for point in front.points}
        for point in measured.points:
            is_on_front = point.name in chosen
            _print_json({"name": point.name, "on_front": is_on_front, **point_as_json(point)})
        content = measured.to_json()
        _print_json({"summary": {key: content[key] for key in content if key != "points"}})
    else:
        print_tradeoff(measured, front, sys.stdout)
    written = []
    if options.plot is not None:
        draw_tradeoff(measured, front, Path(options.plot))
        written.append(f"plot: {options.plot}")
    if options.html is not None:
        write_atomically(Path(options.html), draw_page(measured, front).encode())
        written.append(f"page: {options.html}")
    if options.save is not None:
        save_tradeoff(measured, Path(options.save))
        written.append(f"saved: {options.save}")
    if options.write:
        entries = write_operating_points(models[0].folder, servable_front(measured, models[0]))
        written.append(f"{models[0].folder}/model.yaml: operating points {', '.join(entries)}")
    if not options.json:
        sys.stdout.writelines(f"{line}\n" for line in written)
    return 0 if measured.usable() else EXIT_FAILED


def run_recommend(options: argparse.Namespace) -> int:
    """Read or measure a trade-off and print the recommendation; return 1 if there is none."""
    files = [Path(text) for text in options.models if Path(text).is_file()]
    if files and len(options.models) > 1:
        raise UsageError(
            f"{files[0]}: expected one saved trade-off alone, or names of models; measure the "
            "models together with: edge-inference optimize tradeoff"
        )
    if files:
        machine = None if options.any_machine else tradeoff_machine()
        measured = load_tradeoff(files[0], machine)
    elif options.models[0].endswith(".json"):
        raise UsageError(f"{options.models[0]}: no such file")
    else:
        measured = _measure(options, _find_models(options))
    found = recommend(
        measured,
        options.min_accuracy,
        options.max_latency_ms,
        confidence=options.confidence,
        margin=options.margin,
    )
    if options.json:
        _print_json(found.to_json())
    else:
        print_recommendation(found, sys.stdout)
    return EXIT_FAILED if found.point is None else 0


def _find_models(options: argparse.Namespace) -> list[ModelDescription]:
    return [find_model(name, search_path(options.model_path)) for name in options.models]


def _measure(options: argparse.Namespace, models: Sequence[ModelDescription]) -> Tradeoff:
    backends = options.backends or comparable_backends()
    precisions = options.precisions or PRECISIONS
    int8_modes = options.int8_modes or INT8_MODES
    _check_names("--backends", backends, comparable_backends())
    _check_names("--precisions", precisions, PRECISIONS)
    _check_names("--int8-modes", int8_modes, INT8_MODES)
    request = TradeoffRequest(
        models,
        [_images(options, model) for model in models],
        backends,
        precisions,
        int8_modes,
        options.size,
        options.batch,
        options.runs,
        options.threads,
        options.gpu,
    )
    stream = sys.stderr if options.json else sys.stdout
    title = f"measuring {models[0].name}" + (f" and {len(models) - 1} more" if models[1:] else "")
    with (
        cancel_on_signal() as cancelled,
        _open_energy_meter() as energy_meter,
        show_progress(title, stream) as progress,
    ):
        return measure_tradeoff(
            request,
            progress=progress,
            cancelled=cancelled,
            energy_meter=energy_meter,
        )


def _images(options: argparse.Namespace, model: ModelDescription) -> ImageSet:
    if options.data is None:
        if options.seed is not None:
            raise UsageError("--seed is for --data: it chooses the images that were held out")
        return choose_images(model, options.images, options.labels, options.topic, options.limit)
    if options.images is not None or options.labels is not None:
        raise UsageError("--data replaces --images and --labels; give one of them")
    dataset = open_dataset(options.data, model.input, limit=options.limit)
    if options.seed is not None:
        dataset = split_dataset(dataset, options.seed).test
    return dataset_images(dataset, model)


@contextmanager
def _open_energy_meter() -> Iterator[EnergyMeter | None]:
    """Yield a meter of the machine's energy; None where no sensor shows its power."""
    with ExitStack() as stack:
        sense = make_sense(stack)
        if sense is None or POWER not in sense():
            yield None
            return
        meter = ResourceMeter(sense)

        def measure(work: Callable[[], None]) -> float | None:
            meter.start()
            try:
                work()
            finally:
                use = meter.stop()
            return use.energy_j

        yield measure


def _print_json(content: object) -> None:
    sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")


def _check_names(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{flag}: {name!r} is unknown; expected some of {', '.join(known)}")
