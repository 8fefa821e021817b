"""The options of ``diagnose``."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.cli.exit_status import UsageError

PIPELINES = ("perception", "voice")


@dataclass(frozen=True)
class DiagnoseOptions:
    """The options; ``pipeline`` is empty for one that runs already."""

    namespace: str = ""
    seconds: float = 10.0
    pipeline: str = ""
    source: str = ""
    model: str = ""
    model_path: str = ""
    params_file: str = ""
    json: bool = False
    verbose: bool = False

    def check(self) -> None:
        """Raise UsageError for options that exclude each other or have no effect."""
        if self.pipeline:
            if not self.source:
                raise UsageError(
                    f"--pipeline {self.pipeline}: expected --source as well, what it processes; "
                    "without --pipeline the running pipeline is diagnosed"
                )
            if self.namespace:
                raise UsageError(
                    "--namespace is for a running pipeline; one that --pipeline starts has its own"
                )
            return
        for name, given in (
            ("--source", self.source),
            ("--model", self.model),
            ("--model-path", self.model_path),
            ("--params-file", self.params_file),
        ):
            if given:
                raise UsageError(f"{name} is for a pipeline that --pipeline starts in this process")

    def pipeline_arguments(self) -> dict[str, str]:
        """Return the arguments of the pipeline; raises EdgeInferenceError for a bad source."""
        if self.pipeline == "voice":
            return self._voice_arguments()
        return self._perception_arguments()

    def _perception_arguments(self) -> dict[str, str]:
        from edge_inference.cli.perception.run_options import RunOptions, search_path
        from edge_inference.cli.perception.source import SourceKind, source_kind
        from edge_inference.core.images.media import open_media
        from edge_inference.core.models.model_search import find_model

        is_files = source_kind(self.source) is SourceKind.FILES
        options = RunOptions(
            source=self.source,
            model=self.model or "nanodet",
            model_path=self.model_path,
            real_time=is_files,
        )
        options.check(find_model(options.model, search_path(self.model_path)))
        arguments = options.pipeline_arguments()
        if is_files:
            open_media(self.source).close()
            arguments["loop"] = "true"
        return arguments

    def _voice_arguments(self) -> dict[str, str]:
        from edge_inference.cli.voice.run import VoiceOptions

        options = VoiceOptions(self.source, self.model, self.model_path)
        options.check()
        arguments = options.pipeline_arguments()
        return arguments if options.is_device else {**arguments, "loop": "true"}
