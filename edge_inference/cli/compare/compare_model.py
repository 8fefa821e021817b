"""``edge-inference compare``: reads the options, runs the comparison, prints the report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_inference.cli.compare import comparison_plot
from edge_inference.cli.compare.comparison_format import (
    print_comparison,
    row_as_json,
    summary_as_json,
)
from edge_inference.cli.compare.streaming_comparison import (
    VideoRecording,
    compare_on_recording,
    open_recording,
)
from edge_inference.cli.compare.streaming_format import (
    print_streaming,
    streaming_row_as_json,
    streaming_summary_as_json,
)
from edge_inference.cli.exit_status import UsageError, print_error
from edge_inference.cli.models.image_choice import choose_images
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.models.model_search import find_model
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.engines.cache.environment import machine_facts
from edge_inference.engines.precision.int8_mode import INT8_MODES
from edge_inference.optimize.compare import (
    DEFAULT_RUNS,
    CompareRequest,
    comparable_backends,
    compare,
)


@dataclass(frozen=True)
class CompareOptions:
    """Options of ``compare``; None for an option that was not given."""

    model: str
    model_path: str = ""
    backends: tuple[str, ...] = field(default_factory=comparable_backends)
    precisions: tuple[str, ...] = PRECISIONS
    int8_modes: tuple[str, ...] = INT8_MODES
    images: str | None = None
    topic: str = ""
    labels: str | None = None
    limit: int | None = None
    runs: int = DEFAULT_RUNS
    threads: int = 1
    gpu: int = 0
    plot: str | None = None
    video: str | None = None
    rate: float | None = None


def compare_model(options: CompareOptions, as_json: bool) -> int:
    """Compare, print the report, draw the plot; return 1 if nothing passes or has a score, else 0.

    Raises UsageError for an unknown backend, precision or int8 mode.
    """
    _check_names("--backends", options.backends, comparable_backends())
    _check_names("--precisions", options.precisions, PRECISIONS)
    _check_names("--int8-modes", options.int8_modes, INT8_MODES)
    if options.plot is not None:
        comparison_plot.check_plot_file(Path(options.plot))
    recording = _open_recording(options)
    labels = options.labels if recording is None else None
    model = find_model(options.model, search_path(options.model_path))
    request = CompareRequest(
        model,
        choose_images(model, options.images, labels, options.topic, options.limit),
        options.backends,
        options.precisions,
        options.runs,
        options.threads,
        options.gpu,
        options.int8_modes,
    )
    stream = sys.stderr if as_json else sys.stdout
    with (
        cancel_on_signal() as cancelled,
        show_progress(f"comparing {model.name}", stream) as progress,
    ):
        comparison = compare(request, progress=progress, cancelled=cancelled)
        streaming = None
        if recording is not None:
            streaming = compare_on_recording(
                model, comparison.rows, recording, print_error, progress, cancelled
            )
    facts = machine_facts()
    if as_json:
        for problem in comparison.problems:
            print_error(problem)
        for row in comparison.rows:
            entry = row_as_json(comparison, row)
            if streaming is not None:
                entry["streaming"] = streaming_row_as_json(streaming, row.name)
            sys.stdout.write(json.dumps(entry) + "\n")
        summary = summary_as_json(comparison, facts)
        if streaming is not None:
            summary["streaming"] = streaming_summary_as_json(streaming)
        sys.stdout.write(json.dumps({"summary": summary}) + "\n")
    else:
        print_comparison(comparison, facts, sys.stdout)
        if streaming is not None:
            print_streaming(streaming, sys.stdout)
    if options.plot is not None:
        comparison_plot.draw_plot(comparison, Path(options.plot))
        if not as_json:
            sys.stdout.write(f"plot: {options.plot}\n")
    has_no_score = streaming is not None and all(row.score is None for row in streaming.rows)
    return 1 if comparison.fastest() is None or has_no_score else 0


def _open_recording(options: CompareOptions) -> VideoRecording | None:
    """Return the recording of ``--video``. Raises UsageError for options that do not fit it."""
    if options.video is None:
        if options.rate is not None:
            raise UsageError("--rate needs --video: the recording to play at this rate")
        return None
    for name, value, default in (
        ("--threads", options.threads, 1),
        ("--gpu", options.gpu, 0),
    ):
        if value != default:
            raise UsageError(
                f"{name} {value}: the pipeline that plays --video has {default}; leave one of both"
            )
    return open_recording(options.video, options.rate, options.labels)


def _check_names(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{flag}: {name!r} is unknown; expected some of {', '.join(known)}")
