"""The options of ``run perception``, and the pipeline arguments that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.perception.source import SourceKind, source_kind
from edge_inference.cli.sessions.run_recording import check_recording
from edge_inference.composition.parameter_format import format_argument
from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import default_search_path, parse_search_path
from edge_inference.core.yaml_file import load_yaml

_COMPRESSED = "/compressed"


@dataclass(frozen=True)
class RunOptions:
    """The options of ``run perception``; None means "not given"."""

    source: str
    model: str = "nanodet"
    model_path: str = ""
    backend: str = "auto"
    precision: str = "auto"
    int8_mode: str | None = None
    confidence: float | None = None
    frames: int | None = None
    rate: float | None = None
    real_time: bool = False
    deadline_ms: float | None = None
    image_topic: str | None = None
    image_transport: str | None = None
    params_file: str = ""
    save_overlay: str | None = None
    mcap: str | None = None
    mcap_images: bool = False
    json: bool = False
    verbose: bool = False

    @property
    def kind(self) -> SourceKind:
        """Return the kind of source."""
        return source_kind(self.source)

    @property
    def is_lossless(self) -> bool:
        """Tell whether every image is processed, regardless of the time."""
        return self.kind is SourceKind.FILES and not self.real_time

    @property
    def topic(self) -> str | None:
        """Return the topic of the images, None for that of the pipeline's own source."""
        if self.kind is not SourceKind.TOPIC:
            return self.image_topic
        return self.source.removesuffix(_COMPRESSED)

    @property
    def selects_engine(self) -> bool:
        """Tell whether a backend or precision is requested, so that no fallback is allowed."""
        return (self.backend, self.precision) != ("auto", "auto")

    def check(self, model: ModelDescription) -> None:
        """Raise UsageError for options that exclude each other or have no effect.

        Raises ConfigError for a recording that cannot be written.
        """
        check_recording(self.mcap, self.mcap_images)
        if self.kind is SourceKind.TOPIC:
            for name, given in (
                ("--rate", self.rate is not None),
                ("--real-time", self.real_time),
                ("--image-topic", self.image_topic is not None),
            ):
                if given:
                    raise UsageError(f"{name} is for files; {self.source} is a topic")
        elif self.image_transport is not None:
            raise UsageError(f"--image-transport is for topics; {self.source} is not a topic")
        check_int8_mode(self.int8_mode, self.precision)
        if self.confidence is not None and not hasattr(model.decoder_settings, "confidence"):
            raise UsageError(
                f"--confidence: the decoder {model.decoder} of model {model.name} has no such "
                "setting"
            )
        if self.save_overlay is not None and model.kind.draw is None:
            raise UsageError(
                f"--save-overlay: results of the kind {model.kind.name} have no drawing"
            )
        if self.params_file and not is_regular_file(Path(self.params_file)):
            raise UsageError(f"--params-file {self.params_file}: no such file")
        if self.params_file:
            load_yaml(Path(self.params_file))  # one error here instead of one from each node

    def pipeline_arguments(self) -> dict[str, str]:
        """Return the pipeline's arguments.

        The command line always sets the model and the pace. For other options that were
        not given, the parameter file and the pipeline decide.
        """
        values: dict[str, str | int | float] = {
            "model": self.model,
            "model_path": self.model_path,
            "backend": "" if self.backend == "auto" else self.backend,
            "precision": "" if self.precision == "auto" else self.precision,
            "int8_mode": self.int8_mode or "",
            "when_full": "wait" if self.is_lossless else "drop_oldest",
        }
        if self.selects_engine:
            values["fallback"] = False
        if self.topic is not None:
            values["image_topic"] = self.topic
        if self.confidence is not None:
            values["confidence"] = self.confidence
        if self.kind is SourceKind.TOPIC:
            is_compressed = self.source.endswith(_COMPRESSED)
            values["image_transport"] = self.image_transport or (
                "compressed" if is_compressed else "raw"
            )
        else:
            values["source"] = self.source
            is_unpaced = self.is_lossless and self.rate is None
            values["pace"] = "as_fast_as_possible" if is_unpaced else "real_time"
        if self.deadline_ms is not None:
            values["deadline_ms"] = self.deadline_ms
        if self.rate is not None:
            values["rate"] = self.rate
        if self.frames is not None and self.is_lossless:
            values["limit"] = self.frames
        return {name: format_argument(value) for name, value in values.items() if value != ""}


def check_int8_mode(int8_mode: str | None, precision: str) -> None:
    """Raise UsageError for a mode without effect."""
    if int8_mode is not None and precision != "int8":
        raise UsageError(f"--int8-mode {int8_mode} is for --precision int8, got {precision}")


def search_path(model_path: str) -> tuple[Path, ...]:
    """Return the folders to search for models: the given ones, then the default ones."""
    return (*parse_search_path(model_path), *default_search_path())
