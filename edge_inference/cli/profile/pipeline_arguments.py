"""The arguments of a pipeline that is profiled in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.perception.run_options import RunOptions, search_path
from edge_inference.cli.perception.source import SourceKind
from edge_inference.core.images.media import open_media
from edge_inference.core.models.model_search import find_model

if TYPE_CHECKING:
    from edge_inference.cli.profile.profile_pipeline import PipelineProfileOptions


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
