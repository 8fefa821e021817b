"""What ``run perception`` was asked for, and the pipeline arguments that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_inference.cli.perception.source import SourceKind, kind_of
from edge_inference.cli.usage import UsageError
from edge_inference.composition.parameter_format import format_value, parse_value
from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.models.model import (
    ModelDescription,
    default_search_path,
    parse_search_path,
)
from edge_inference.core.yaml_file import load_yaml

_COMPRESSED = "/compressed"


@dataclass(frozen=True)
class RunOptions:
    """The options of ``run perception``; None is "not given"."""

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
    image_topic: str | None = None
    image_transport: str | None = None
    params_file: str = ""
    save_overlay: str | None = None
    json: bool = False
    verbose: bool = False

    @property
    def kind(self) -> SourceKind:
        """Return what the source is."""
        return kind_of(self.source)

    @property
    def is_lossless(self) -> bool:
        """Tell whether every image is processed, however long that takes."""
        return self.kind is SourceKind.FILES and not self.real_time

    @property
    def topic(self) -> str | None:
        """Return the topic that the images come on, None for the pipeline's own."""
        if self.kind is not SourceKind.TOPIC:
            return self.image_topic
        return self.source.removesuffix(_COMPRESSED)

    @property
    def names_an_engine(self) -> bool:
        """Tell whether backend or precision are asked for, so that nothing may stand in for it."""
        return (self.backend, self.precision) != ("auto", "auto")

    def check(self, model: ModelDescription) -> None:
        """Raise UsageError for options that do not go together or would have no effect."""
        if self.kind is SourceKind.TOPIC:
            for name, given in (
                ("--rate", self.rate is not None),
                ("--real-time", self.real_time),
                ("--image-topic", self.image_topic is not None),
            ):
                if given:
                    raise UsageError(f"{name} is for files; {self.source} is a topic")
        elif self.image_transport is not None:
            raise UsageError(f"--image-transport is for topics; {self.source} is none")
        check_int8_mode(self.int8_mode, self.precision)
        if self.confidence is not None and not hasattr(model.decoder_settings, "confidence"):
            raise UsageError(
                f"--confidence: the decoder {model.decoder} of model {model.name} has no such "
                "setting"
            )
        if self.params_file and not is_regular_file(Path(self.params_file)):
            raise UsageError(f"--params-file {self.params_file}: no such file")
        if self.params_file:
            load_yaml(Path(self.params_file))  # says in one sentence what each node would say

    def pipeline_arguments(self) -> dict[str, str]:
        """Return the pipeline's arguments.

        The model and the pace are always the command line's. What else was not
        given is left to the parameter file and the pipeline.
        """
        values: dict[str, str | int | float] = {
            "model": self.model,
            "model_path": self.model_path,
            "backend": "" if self.backend == "auto" else self.backend,
            "precision": "" if self.precision == "auto" else self.precision,
            "int8_mode": self.int8_mode or "",
            "when_full": "wait" if self.is_lossless else "drop_oldest",
        }
        if self.names_an_engine:
            values["fallback"] = False
        if self.topic is not None:
            values["image_topic"] = self.topic
        if self.confidence is not None:
            values["confidence"] = self.confidence
        if self.kind is SourceKind.TOPIC:
            sent_compressed = self.source.endswith(_COMPRESSED)
            values["image_transport"] = self.image_transport or (
                "compressed" if sent_compressed else "raw"
            )
        else:
            values["source"] = self.source
            free = self.is_lossless and self.rate is None
            values["pace"] = "as_fast_as_possible" if free else "real_time"
        if self.rate is not None:
            values["rate"] = self.rate
        if self.frames is not None and self.is_lossless:
            values["limit"] = self.frames
        return {name: _argument(value) for name, value in values.items() if value != ""}


def check_int8_mode(int8_mode: str | None, precision: str) -> None:
    """Raise UsageError for a mode that would have no effect."""
    if int8_mode is not None and precision != "int8":
        raise UsageError(f"--int8-mode {int8_mode} is for --precision int8, got {precision}")


def _argument(value: str | int | float) -> str:
    """Write a value so that nobody reads a file or model called "yes" as true."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    is_misread = isinstance(value, str) and parse_value(text) != text
    return format_value(text) if is_misread else text


def search_path(model_path: str) -> tuple[Path, ...]:
    """Return the folders to look for models in: the given ones, then the usual ones."""
    return (*parse_search_path(model_path), *default_search_path())
