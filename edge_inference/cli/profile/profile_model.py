"""``edge-inference profile --model``: measures the layers of a model in one engine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from edge_inference.cli.perception.run_options import check_int8_mode, search_path
from edge_inference.cli.profile.layer_format import print_layers, print_layers_as_json
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.precision.int8_mode import EXACT
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import prepare
from edge_inference.errors import CancelledError
from edge_inference.observe.profiling.layer_advice import ProfiledEngine, advise
from edge_inference.observe.profiling.layer_measurement import input_of, measure_layers
from edge_inference.observe.profiling.layer_trace import trace_profile, trace_runs
from edge_inference.observe.profiling.trace_file import check_trace_file, write_trace

_ON_CPU = ("ort", "null")


@dataclass(frozen=True)
class ModelProfileOptions:
    """Options of the command."""

    model: str
    model_path: str = ""
    backend: str = "auto"
    precision: str = "auto"
    int8_mode: str | None = None
    threads: int = 1
    gpu: int = 0
    runs: int = 20
    top: int = 10
    trace: str | None = None


def profile_model(options: ModelProfileOptions, as_json: bool) -> int:
    """Measure, print the table and the advice, write the trace; return the exit code."""
    check_int8_mode(options.int8_mode, options.precision)
    if options.trace is not None:
        check_trace_file(Path(options.trace), "--trace")
    model = find_model(options.model, search_path(options.model_path))
    request = EngineRequest(
        model,
        options.backend,
        options.precision,
        options.threads,
        options.gpu,
        int8_mode=options.int8_mode or EXACT,
    )
    stream = sys.stderr if as_json else sys.stdout
    title = f"profiling {model.name}"
    with cancel_on_signal() as cancelled, show_progress(title, stream) as progress:
        selection = prepare(request, progress=progress, cancelled=cancelled)
        assert selection.backend is not None
        if cancelled():
            raise CancelledError("the profile was cancelled")
        measured = measure_layers(
            selection.backend,
            input_of(model),
            options.runs,
            lambda fraction: progress("measuring", fraction),
            cancelled,
            None if selection.name in _ON_CPU else options.gpu,
        )
    engine = ProfiledEngine(model, selection.name, selection.precision)
    advice = advise(measured.profile, engine)
    if as_json:
        print_layers_as_json(engine, measured, advice, sys.stdout)
    else:
        print_layers(engine, measured, advice, options.top, sys.stdout)
    if options.trace is not None:
        if measured.recorded:
            events = trace_runs(measured.recorded, measured.engine)
        else:
            events = trace_profile(measured.profile, measured.engine)
        write_trace(events, Path(options.trace), "--trace")
    return 0
