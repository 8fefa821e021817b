"""Model folders: ``model.yaml``, weights, labels, golden images.

:func:`load_model` reads a folder into a :class:`ModelDescription`; ``model_search`` finds a model
by name. To add a model, add a folder; the shipped ones show the keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_inference.core import decoders
from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.declared_points import KEY as POINTS_KEY
from edge_inference.core.models.declared_points import DeclaredPoint, read_declared_points
from edge_inference.core.models.golden import Golden, SelfCheckThresholds, read_golden
from edge_inference.core.models.graph.extra_inputs import KEY, read_extra_inputs
from edge_inference.core.models.labels import read_labels
from edge_inference.core.models.variants import (
    Derivation,
    Variant,
    read_derivation,
    read_variants,
)
from edge_inference.core.results import RESULT_KINDS, Result, ResultKind
from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section, load_yaml, path_inside
from edge_inference.errors import ModelError, PluginError

DESCRIPTION_FILE = "model.yaml"


@dataclass(frozen=True)
class ModelDescription:
    """Everything about a model except its weights.

    ``labels`` is empty if the classes have no names. ``variants`` is keyed by precision;
    ``derive`` says how other precisions are derived. ``decoder_settings`` are the decoder's
    defaults with the values of ``model.yaml``. ``engine`` has the unchecked build options; the
    engine builder checks them. ``extra_inputs`` has the values of the graph's further inputs.
    ``operating_points`` are those that the model was found to have, most accurate first.
    """

    name: str
    folder: Path
    task: str
    description: str
    license: str
    source: str
    input: InputSpec
    decoder: str
    decoder_settings: Any
    labels: tuple[str, ...]
    variants: Mapping[str, Variant]
    golden: tuple[Golden, ...]
    derive: Derivation = field(default_factory=Derivation)
    self_check: SelfCheckThresholds = field(default_factory=SelfCheckThresholds)
    engine: Section | None = None
    extra_inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    operating_points: tuple[DeclaredPoint, ...] = ()

    @cached_property
    def kind(self) -> ResultKind[Any]:
        """Return the kind of the results, whose name is the task."""
        return RESULT_KINDS.get(self.task)

    @cached_property
    def _decode_function(self) -> decoders.Decoder:
        # Looked up once instead of for each frame.
        return decoders.find(self.decoder).function

    @property
    def calibration(self) -> Path | None:
        """Return the file of calibrated ranges, None if the model has none."""
        return self.folder / self.derive.calibration if self.derive.calibration else None

    def files(self) -> Iterator[Variant]:
        """Yield the variants, and those that a backend has instead."""
        for variant in self.variants.values():
            yield variant
            if variant.tensorrt is not None:
                yield variant.tensorrt

    def verify_files(self) -> None:
        """Raise ModelError for missing or altered weights, or a missing golden image."""
        for variant in self.files():
            variant.verify()
        for golden in self.golden:
            if not is_regular_file(golden.image):
                raise ModelError(f"{golden.image}: the golden image is missing; restore the file")

    def decode_context(self, geometry: Geometry) -> decoders.DecodeContext:
        """Return what a decoder needs besides the outputs of one image."""
        return decoders.DecodeContext(
            self.labels, geometry, self.input.width, self.input.height, self.name
        )

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], geometry: Geometry, settings: Any = None
    ) -> Result:
        """Decode the raw outputs of one image into a result in source pixels.

        ``settings`` replaces ``decoder_settings``. Raises TensorError for outputs that the
        decoder cannot read, ModelError for a decoder that does not fit the task.
        """
        context = self.decode_context(geometry)
        settings = self.decoder_settings if settings is None else settings
        result = self._decode_function(outputs, context, settings)
        if type(result) is not self.kind.result_type:
            raise ModelError(
                f"model {self.name}: the decoder {self.decoder} returns {type(result).__name__}, "
                f"expected {self.kind.result_type.__name__} for the task {self.task}; "
                f"{_task_hint(result)} in {DESCRIPTION_FILE}"
            )
        return result


@dataclass(frozen=True)
class _TopSettings:
    license: str = setting(description="license of the weights")
    task: str = setting("", "what the model does: the kind of its results")
    description: str = setting("", "what the model is")
    source: str = setting("", "where the weights come from")


def load_model(folder: Path) -> ModelDescription:
    """Read a model folder without opening the weights (see ``verify_files``).

    Raises ModelError for a missing folder, ConfigError with file, line and key for an error in
    ``model.yaml``.
    """
    folder = Path(folder)
    file = folder / DESCRIPTION_FILE
    if not is_regular_file(file):
        raise ModelError(f"{folder}: not a model folder; expected a {DESCRIPTION_FILE} in it")
    top = load_yaml(file)
    settings = top.read(
        _TopSettings,
        "input",
        "decoder",
        "labels",
        "variants",
        "golden",
        "derive",
        "engine",
        "self_check",
        KEY,
        POINTS_KEY,
    )
    model_input = top.section("input").read(InputSpec)
    kind = _result_kind(top, settings.task)
    decoder, decoder_settings = _decoder(top.section("decoder"))
    labels = read_labels(top, folder)
    return ModelDescription(
        name=folder.resolve().name,
        folder=folder,
        task=settings.task,
        description=settings.description,
        license=settings.license,
        source=settings.source,
        input=model_input,
        decoder=decoder,
        decoder_settings=decoder_settings,
        labels=labels,
        variants=read_variants(top, folder),
        golden=tuple(
            read_golden(entry, kind, labels, path_inside(folder, entry, "image"))
            for entry in (top.section_list("golden") if "golden" in top else ())
        ),
        derive=read_derivation(top, folder),
        self_check=(
            top.section("self_check").read(SelfCheckThresholds)
            if "self_check" in top
            else SelfCheckThresholds()
        ),
        engine=top.section("engine") if "engine" in top else None,
        extra_inputs=read_extra_inputs(top, model_input.name),
        operating_points=read_declared_points(top),
    )


def _task_hint(result: Result) -> str:
    kinds = RESULT_KINDS.rows().values()
    task = next((kind.name for kind in kinds if kind.result_type is type(result)), None)
    return "correct task or decoder" if task is None else f"set task to {task}, or correct decoder"


def _result_kind(top: Section, task: str) -> ResultKind[Any]:
    try:
        return RESULT_KINDS.get(task)
    except PluginError as error:
        raise top.error("task", str(error)) from error


def _decoder(section: Section) -> tuple[str, Any]:
    name = section.get("name")
    if not isinstance(name, str):
        raise section.error("name", f"expected the name of a decoder, got {name!r}")
    try:
        entry = decoders.find(name)
    except PluginError as error:
        raise section.error("name", str(error)) from error
    return name, section.read(entry.settings_class, "name")
