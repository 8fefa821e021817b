"""The options of the profile of a pipeline, and the pipeline's arguments."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.perception.run_options import RunOptions, search_path
from edge_inference.cli.perception.source import SourceKind
from edge_inference.core.images.media import open_media
from edge_inference.core.models.model_search import find_model


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
    """Return the arguments. Files of images play in real time again and again, as a camera does.

    Raises UsageError for options that the pipeline does not have, and the errors of a model or
    source that cannot be used.
    """
    if options.pipeline == "voice":
        return _voice_arguments(options)
    assert options.source is not None
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
    run.check(find_model(run.model, search_path(run.model_path)))
    return {**run.pipeline_arguments(), **({"loop": "true"} if is_file else {})}


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
