"""The options of the profile of a pipeline, and the pipeline's arguments."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.perception.run_options import RunOptions, search_path
from edge_inference.cli.perception.source import SourceKind
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.core.images.media import open_media
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifacts import default_cache
from edge_inference.engines.precision.int8_mode import EXACT
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.preparation import prepare_in_child
from edge_inference.engines.serving.selection import select_backend

#: Begin of the names of arguments for images, in a pipeline that has sound as well.
_IMAGE = "image_"
#: Arguments that only make the profile more like a robot's run.
_OPTIONAL = ("when_full", "pace", "loop")


@dataclass(frozen=True)
class PipelineProfileOptions:
    """Options of the command; None for an option that was not given."""

    pipeline: str | None = None
    live: bool = False
    namespace: str = ""
    source: str | None = None
    model: str | None = None
    model_path: str = ""
    backend: str = "auto"
    precision: str = "auto"
    int8_mode: str | None = None
    rate: float | None = None
    seconds: float = 10.0
    trace: str | None = None
    stacks: str | None = None
    nvtx: bool = False
    verbose: bool = False


def pipeline_arguments(options: PipelineProfileOptions) -> dict[str, str]:
    """Return the arguments of the pipeline; make the files of a requested engine first.

    Files of images play in real time again and again, as a camera does. Raises UsageError for
    options that the pipeline does not have, and the errors of a model or source that cannot be
    used.
    """
    assert options.pipeline is not None and options.source is not None
    if options.pipeline == "voice":
        return _voice_arguments(options)
    known = {argument.name for argument in load_pipeline(options.pipeline).arguments}
    run = RunOptions(
        source=options.source,
        model=options.model or "nanodet",
        model_path=options.model_path,
        backend=options.backend,
        precision=options.precision,
        int8_mode=options.int8_mode,
        rate=options.rate,
    )
    is_file = run.kind is SourceKind.FILES
    if is_file:
        run = RunOptions(**{**vars(run), "real_time": True})
        open_media(run.source).close()
    model = find_model(run.model, search_path(run.model_path))
    run.check(model)
    values = {**run.pipeline_arguments(), **({"loop": "true"} if is_file else {})}
    if options.model is None and "model" not in known:
        del values["model"]
    # A pipeline that includes another one may have renamed its arguments.
    renamed = {name: name if name in known else f"{_IMAGE}{name}" for name in values}
    for name, new in renamed.items():
        if new not in known and name not in _OPTIONAL:
            raise UsageError(
                f"--{name.replace('_', '-')}: the pipeline {options.pipeline} has no argument "
                f"{name}; it has {', '.join(sorted(known)) or 'none'}"
            )
    if run.selects_engine:
        _prepare_engine(run, model)
    return {new: values[name] for name, new in renamed.items() if new in known}


def _prepare_engine(run: RunOptions, model: ModelDescription) -> None:
    """Make the files of the engine: the time of the measurement is for frames."""
    request = EngineRequest(model, run.backend, run.precision, int8_mode=run.int8_mode or EXACT)
    cache = default_cache()
    selection = select_backend(request, cache)
    if selection.backend is not None:
        return
    title = f"preparing {model.name} for {selection.name} in {selection.precision}"
    with cancel_on_signal() as cancelled, show_progress(title, sys.stderr) as progress:
        prepare_in_child(request, cache, progress, cancelled)


def _voice_arguments(options: PipelineProfileOptions) -> dict[str, str]:
    from edge_inference.cli.voice.run import VoiceOptions

    for name in ("rate", "int8_mode"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')}: the pipeline voice has no such option")
    for name in ("backend", "precision"):
        if getattr(options, name) != "auto":
            raise UsageError(f"--{name}: the pipeline voice has no such option")
    assert options.source is not None
    voice = VoiceOptions(
        source=options.source, model=options.model or "", model_path=options.model_path
    )
    voice.check()
    return voice.pipeline_arguments()
