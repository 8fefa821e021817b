"""Model folders: ``model.yaml``, weights, labels, golden images.

:func:`load_model` reads a folder into a :class:`ModelDescription`, :func:`find_model` finds a
model by name on a search path. To add a model, add a folder; the shipped ones show the keys.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from numpy.typing import NDArray

from edge_inference.core import decoders
from edge_inference.core.bounded_file import is_regular_file, read_text
from edge_inference.core.checksum import sha256_of
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.golden import Golden, SelfCheckThresholds, read_golden
from edge_inference.core.results import RESULT_KINDS, Result, ResultKind
from edge_inference.core.settings import setting, shorten, suggestion
from edge_inference.core.yaml_file import Section, load_yaml
from edge_inference.errors import ModelError, PluginError

DESCRIPTION_FILE = "model.yaml"
SEARCH_PATH_VARIABLE = "EDGE_INFERENCE_MODELS"
PRECISIONS = ("fp32", "fp16", "int8")
#: Maximum length of a list of a model's layers.
MAX_LAYERS = 100_000

_MAX_FOLDERS = 64
_SHARED_MODELS = Path("share", "edge_inference", "models")


@dataclass(frozen=True)
class Accuracy:
    """One measured accuracy figure of one variant."""

    dataset: str = setting(description="the data set")
    metric: str = setting(description="the metric, such as top-1")
    value: float = setting(description="the value, in the unit of the metric")
    samples: int = setting(description="number of images", minimum=1)
    note: str = setting("", "conditions needed to reproduce the value")


@dataclass(frozen=True)
class Variant:
    """One file of weights in one precision."""

    precision: str
    file: Path
    sha256: str
    accuracy: tuple[Accuracy, ...] = ()
    note: str = ""

    def verify(self) -> None:
        """Raise ModelError if the file is missing or has another checksum than described."""
        try:
            actual = sha256_of(self.file)
        except OSError as error:
            raise ModelError(
                f"{self.file}: cannot be read ({error.strerror}); copy the {self.precision} "
                f"weights there, or remove the variant from {DESCRIPTION_FILE}"
            ) from error
        if actual != self.sha256:
            raise ModelError(
                f"{self.file}: wrong checksum: expected sha256 {self.sha256}, got {actual}; "
                f"restore the file, or put the new sha256 into {DESCRIPTION_FILE} if the change is "
                "intended"
            )


@dataclass(frozen=True)
class Derivation:
    """How precisions without their own file are derived from the fp32 variant."""

    calibration: str = setting("", "file of calibrated ranges for int8, relative to the folder")
    fp16_keep_fp32: tuple[str, ...] = setting(
        (), "ONNX nodes that stay in fp32 in an fp16 model", max_length=MAX_LAYERS
    )
    int8_keep_fp32: tuple[str, ...] = setting(
        (), "ONNX nodes that stay in fp32 in an int8 model", max_length=MAX_LAYERS
    )

    def keep_fp32(self, precision: str) -> tuple[str, ...]:
        """Return the nodes that stay in fp32 in a precision."""
        return {"fp16": self.fp16_keep_fp32, "int8": self.int8_keep_fp32}.get(precision, ())


@dataclass(frozen=True)
class ModelDescription:
    """Everything about a model except its weights.

    ``labels`` is empty if the classes have no names. ``variants`` is keyed by precision;
    ``derive`` says how other precisions are derived. ``decoder_settings`` are the decoder's
    defaults with the values of ``model.yaml``. ``engine`` has the unchecked build options; the
    engine builder checks them.
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
    derive: Derivation = Derivation()
    self_check: SelfCheckThresholds = field(default_factory=SelfCheckThresholds)
    engine: Section | None = None

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

    def verify_files(self) -> None:
        """Raise ModelError for missing or altered weights, or a missing golden image."""
        for variant in self.variants.values():
            variant.verify()
        for golden in self.golden:
            if not is_regular_file(golden.image):
                raise ModelError(f"{golden.image}: the golden image is missing; restore the file")

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], geometry: Geometry, settings: Any = None
    ) -> Result:
        """Decode the raw outputs of one image into a result in source pixels.

        ``settings`` replaces ``decoder_settings``. Raises TensorError for outputs that the
        decoder cannot read, ModelError for a decoder that does not fit the task.
        """
        context = decoders.DecodeContext(
            self.labels, geometry, self.input.width, self.input.height, self.name
        )
        settings = self.decoder_settings if settings is None else settings
        result = self._decode_function(outputs, context, settings)
        if type(result) is not self.kind.result_type:
            raise ModelError(
                f"model {self.name}: the decoder {self.decoder} returns {type(result).__name__}, "
                f"expected {self.kind.result_type.__name__} for the task {self.task}; correct "
                f"task or decoder in {DESCRIPTION_FILE}"
            )
        return result


@dataclass(frozen=True)
class _TopSettings:
    license: str = setting(description="license of the weights")
    task: str = setting("", "what the model does: the kind of its results")
    description: str = setting("", "what the model is")
    source: str = setting("", "where the weights come from")


@dataclass(frozen=True)
class _VariantSettings:
    file: str = setting(description="file of weights, relative to the folder")
    sha256: str = setting(description="checksum of that file, 64 hexadecimal digits")
    note: str = setting("", "how this variant differs from others")

    def check(self) -> str | None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            return f"sha256: expected 64 lower-case hexadecimal digits, got {self.sha256!r}"
        return None


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
    )
    kind = _result_kind(top, settings.task)
    decoder, decoder_settings = _decoder(top.section("decoder"))
    labels = _labels(top, folder)
    return ModelDescription(
        name=folder.resolve().name,
        folder=folder,
        task=settings.task,
        description=settings.description,
        license=settings.license,
        source=settings.source,
        input=top.section("input").read(InputSpec),
        decoder=decoder,
        decoder_settings=decoder_settings,
        labels=labels,
        variants=_variants(top, folder),
        golden=tuple(
            read_golden(entry, kind, labels, path_inside(folder, entry, "image"))
            for entry in (top.section_list("golden") if "golden" in top else ())
        ),
        derive=_derivation(top, folder),
        self_check=(
            top.section("self_check").read(SelfCheckThresholds)
            if "self_check" in top
            else SelfCheckThresholds()
        ),
        engine=top.section("engine") if "engine" in top else None,
    )


def find_model(name_or_path: str, search_path: Sequence[Path] | None = None) -> ModelDescription:
    """Load a model by the name of its folder, or by the path to it.

    A text with a slash, or with a dot or tilde at the start, is a path. A name is searched in
    the folders of ``search_path`` (by default ``default_search_path()``), in order. Raises
    ModelError with the available models.
    """
    if {"/", os.sep} & {*name_or_path} or name_or_path.startswith((".", "~")):
        return load_model(_expand_user(name_or_path))
    parents = default_search_path() if search_path is None else tuple(search_path)
    folders = available_models(parents)
    if name_or_path in folders:
        return load_model(folders[name_or_path])
    listing = "; ".join(
        f"{parent}: {', '.join(_model_names(parent)) or 'none'}" for parent in parents
    )
    hint = suggestion(name_or_path, folders) if folders else ""
    raise ModelError(
        f"unknown model {shorten(name_or_path)}{hint}; searched in "
        f"{listing or 'no folder'}; add folders with {SEARCH_PATH_VARIABLE}, or give a path"
    )


def available_models(search_path: Sequence[Path]) -> dict[str, Path]:
    """Return the folder of every model on a search path by name; earlier folders win."""
    folders: dict[str, Path] = {}
    for parent in search_path:
        for name in _model_names(parent):
            folders.setdefault(name, parent / name)
    return folders


def default_search_path(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the parent folders of models, most specific first.

    The folders of ``$EDGE_INFERENCE_MODELS`` come first (they need not exist), then those of the
    source tree, of every colcon prefix, and of the virtual environment.
    """
    environ = os.environ if environ is None else environ
    named = parse_search_path(environ.get(SEARCH_PATH_VARIABLE, ""))
    tree = Path(__file__).parents[3]
    shipped = [tree / "models"] if (tree / "package.xml").is_file() else []
    prefixes = environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    shipped += [Path(text) / _SHARED_MODELS for text in prefixes if text]
    shipped.append(Path(sys.prefix) / _SHARED_MODELS)
    folders = named + [folder for folder in shipped if folder.is_dir()]
    return tuple(dict.fromkeys(folders))


def parse_search_path(text: str) -> list[Path]:
    """Return the folders of a colon-separated list.

    Raises ModelError for an unknown ~user, and for more than 64 folders.
    """
    entries = [entry for entry in text.split(os.pathsep) if entry]
    if len(entries) > _MAX_FOLDERS:
        raise ModelError(
            f"model path: expected at most {_MAX_FOLDERS} folders, got {len(entries)}: "
            f"{shorten(text)}; put the models into fewer folders"
        )
    return [_expand_user(entry) for entry in entries]


def path_inside(folder: Path, section: Section, key: str) -> Path:
    """Return the file that ``key`` names, which must be inside the folder.

    Links are not resolved: a colcon symlink install consists of links to the source tree.
    """
    text = section.get(key)
    if not isinstance(text, str) or not text:
        raise section.error(key, f"expected a file name relative to the folder, got {text!r}")
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive
    if absolute or ".." in PurePosixPath(text.replace("\\", "/")).parts:
        raise section.error(key, f"expected a file inside the model folder, got {text!r}")
    if "\0" in text:
        raise section.error(key, f"expected a file name without a NUL, got {text!r}")
    return folder / text


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


def _labels(top: Section, folder: Path) -> tuple[str, ...]:
    value = top.get("labels", [])
    if isinstance(value, list):
        for label in value:
            if not isinstance(label, str):
                raise top.error("labels", f"expected texts, got {label!r}; put it in quotes")
        return tuple(value)
    file = path_inside(folder, top, "labels")
    try:
        lines = read_text(file).splitlines()
    except OSError as error:
        raise top.error("labels", f"{file} cannot be read: {error.strerror}") from error
    labels = tuple(line.strip() for line in lines)
    if not labels or "" in labels:
        raise top.error("labels", f"{file} has an empty line; expected one label a line")
    return labels


def _derivation(top: Section, folder: Path) -> Derivation:
    if "derive" not in top:
        return Derivation()
    section = top.section("derive")
    if "calibration" in section:
        path_inside(folder, section, "calibration")
    return section.read(Derivation)


def _variants(top: Section, folder: Path) -> dict[str, Variant]:
    sections = top.sections("variants")
    if not sections:
        raise top.error("variants", f"expected at least one of {', '.join(PRECISIONS)}, got none")
    top.section("variants").require_known(*PRECISIONS)
    return {name: _variant(name, section, folder) for name, section in sections.items()}


def _variant(precision: str, section: Section, folder: Path) -> Variant:
    values = section.read(_VariantSettings, "accuracy")
    measured = section.section_list("accuracy") if "accuracy" in section else ()
    return Variant(
        precision=precision,
        file=path_inside(folder, section, "file"),
        sha256=values.sha256,
        accuracy=tuple(entry.read(Accuracy) for entry in measured),
        note=values.note,
    )


def _model_names(parent: Path) -> list[str]:
    try:
        return sorted(entry.parent.name for entry in parent.glob(f"*/{DESCRIPTION_FILE}"))
    except OSError as error:
        raise ModelError(f"{parent}: cannot be listed: {error.strerror}") from error


def _expand_user(text: str) -> Path:
    if "\0" in text:
        raise ModelError(f"{shorten(text)}: not a valid path; remove the NUL character")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ModelError(
            f"{text}: no such user on this machine; write the path without ~"
        ) from error
