"""A model is a folder: ``model.yaml``, weights, labels, golden images.

:func:`load_model` reads one, :func:`find_model` finds it by name on a search
path. Adding a model is adding a folder: the shipped ones show the keys, and
:class:`ModelDescription` is what they become.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from numpy.typing import NDArray

from edge_inference.core import decoders
from edge_inference.core.bounded_file import is_plain_file, read_text
from edge_inference.core.checksum import sha256_of
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.golden import Golden, SelfCheck, read_golden
from edge_inference.core.results import (
    Classification,
    DepthMap,
    Detections,
    Result,
    Segmentation,
)
from edge_inference.core.settings import setting, shortened, suggestion
from edge_inference.core.yaml_file import Section, load_yaml
from edge_inference.errors import ModelError, PluginError

DESCRIPTION_FILE = "model.yaml"
SEARCH_PATH_VARIABLE = "EDGE_INFERENCE_MODELS"
#: What the models of each task give.
RESULTS: dict[str, type[Result]] = {
    "detection": Detections,
    "classification": Classification,
    "segmentation": Segmentation,
    "depth": DepthMap,
}
TASKS = tuple(RESULTS)
PRECISIONS = ("fp32", "fp16", "int8")
#: So many layers of a model can be named in a list at the most.
MOST_LAYERS = 100_000

_MOST_FOLDERS = 64
_SHARE = Path("share", "edge_inference", "models")


@dataclass(frozen=True)
class Accuracy:
    """One measured figure of one variant."""

    dataset: str = setting(description="what it was measured on")
    metric: str = setting(description="what was measured, as in 'top-1'")
    value: float = setting(description="the figure; its unit belongs to the metric")
    samples: int = setting(description="number of images", minimum=1)
    note: str = setting("", "what a reader must know to reproduce or trust it")


@dataclass(frozen=True)
class Variant:
    """One file of weights, computing in one precision."""

    precision: str
    file: Path
    sha256: str
    accuracy: tuple[Accuracy, ...] = ()
    note: str = ""

    def verify(self) -> None:
        """Raise ModelError where the file is missing or not the one that was described."""
        try:
            found = sha256_of(self.file)
        except OSError as error:
            raise ModelError(
                f"{self.file}: cannot be read ({error.strerror}); copy the {self.precision} "
                f"weights there, or remove the variant from {DESCRIPTION_FILE}"
            ) from error
        if found != self.sha256:
            raise ModelError(
                f"{self.file}: the file is not the one described: expected sha256 {self.sha256}, "
                f"got {found}; restore the file, or put the new sha256 into {DESCRIPTION_FILE} "
                "if the change is meant"
            )


@dataclass(frozen=True)
class Derivation:
    """How a precision without a file of its own is derived from the fp32 variant."""

    calibration: str = setting("", "calibrated ranges for int8: a file relative to the folder")
    fp16_keep_fp32: tuple[str, ...] = setting(
        (), "ONNX nodes that stay fp32 in fp16", longest=MOST_LAYERS
    )
    int8_keep_fp32: tuple[str, ...] = setting(
        (), "ONNX nodes that stay fp32 in int8", longest=MOST_LAYERS
    )

    def keep_fp32(self, precision: str) -> tuple[str, ...]:
        """Return the nodes that stay fp32 in a precision."""
        return {"fp16": self.fp16_keep_fp32, "int8": self.int8_keep_fp32}.get(precision, ())


@dataclass(frozen=True)
class ModelDescription:
    """Everything about a model except its weights.

    ``labels`` is empty where the classes have no names. ``variants`` is keyed
    by precision; ``derive`` says how further precisions are made of them.
    ``decoder_settings`` are the decoder's defaults with the values of
    ``model.yaml``. ``engine`` holds build options as written: who builds
    engines knows and checks them.
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
    self_check: SelfCheck = field(default_factory=SelfCheck)
    engine: Section | None = None

    @property
    def calibration(self) -> Path | None:
        """File of calibrated ranges, None where the model has none."""
        return self.folder / self.derive.calibration if self.derive.calibration else None

    def verify_files(self) -> None:
        """Raise ModelError for the first weights or golden image missing or altered."""
        for variant in self.variants.values():
            variant.verify()
        for golden in self.golden:
            if not is_plain_file(golden.image):
                raise ModelError(f"{golden.image}: the golden image is missing; put it back")

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], geometry: Geometry, settings: Any = None
    ) -> Result:
        """Turn raw outputs of one image into a result in source pixels.

        ``settings`` replaces ``decoder_settings``. Raises TensorError where
        the outputs are not what the decoder takes, ModelError where the decoder
        does not fit the task.
        """
        context = decoders.DecodeContext(
            self.labels, geometry, self.input.width, self.input.height, self.name
        )
        chosen = self.decoder_settings if settings is None else settings
        result = decoders.find(self.decoder).function(outputs, context, chosen)
        if not isinstance(result, RESULTS[self.task]):
            raise ModelError(
                f"model {self.name}: the decoder {self.decoder} gives {type(result).__name__}, "
                f"expected {RESULTS[self.task].__name__} for the task {self.task}; correct task "
                f"or decoder in {DESCRIPTION_FILE}"
            )
        return result


@dataclass(frozen=True)
class _Head:
    task: str = setting(description="what the model does", choices=TASKS)
    license: str = setting(description="license of the weights")
    description: str = setting("", "what the model is")
    source: str = setting("", "where the weights come from")


@dataclass(frozen=True)
class _VariantSettings:
    file: str = setting(description="file of weights, relative to the folder")
    sha256: str = setting(description="checksum of that file, 64 hexadecimal digits")
    note: str = setting("", "what sets this variant apart")

    def check(self) -> str | None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            return f"sha256: expected 64 lower-case hexadecimal digits, got {self.sha256!r}"
        return None


def load_model(folder: Path) -> ModelDescription:
    """Read a model folder; weights are not opened (see ``verify_files``).

    Raises ModelError for a missing folder, ConfigError with file, line and key
    for anything wrong in ``model.yaml``.
    """
    folder = Path(folder)
    file = folder / DESCRIPTION_FILE
    if not is_plain_file(file):
        raise ModelError(f"{folder}: no model folder; expected a {DESCRIPTION_FILE} in it")
    top = load_yaml(file)
    head = top.read(
        _Head,
        "input",
        "decoder",
        "labels",
        "variants",
        "golden",
        "derive",
        "engine",
        "self_check",
    )
    decoder, decoder_settings = _decoder(top.section("decoder"))
    labels = _labels(top, folder)
    return ModelDescription(
        name=folder.resolve().name,
        folder=folder,
        task=head.task,
        description=head.description,
        license=head.license,
        source=head.source,
        input=top.section("input").read(InputSpec),
        decoder=decoder,
        decoder_settings=decoder_settings,
        labels=labels,
        variants=_variants(top, folder),
        golden=tuple(
            read_golden(entry, head.task, labels, inside(folder, entry, "image"))
            for entry in (top.section_list("golden") if "golden" in top else ())
        ),
        derive=_derivation(top, folder),
        self_check=(
            top.section("self_check").read(SelfCheck) if "self_check" in top else SelfCheck()
        ),
        engine=top.section("engine") if "engine" in top else None,
    )


def find_model(name_or_path: str, search_path: Sequence[Path] | None = None) -> ModelDescription:
    """Load a model by the name of its folder, or by a path to it.

    Anything with a slash, or that starts with a dot or a tilde, is a path. A
    name is looked up in ``search_path`` (by default ``default_search_path()``);
    the first folder that has it wins. Raises ModelError with what there is.
    """
    if _is_path(name_or_path):
        return load_model(_expanded(name_or_path))
    places = default_search_path() if search_path is None else tuple(search_path)
    found = available_models(places)
    if name_or_path in found:
        return load_model(found[name_or_path])
    listing = "; ".join(f"{place}: {', '.join(_models_in(place)) or 'none'}" for place in places)
    hint = suggestion(name_or_path, found) if found else ""
    raise ModelError(
        f"unknown model {shortened(name_or_path)}{hint}; looked in "
        f"{listing or 'no folder at all'}; add folders with {SEARCH_PATH_VARIABLE}, or give a path"
    )


def available_models(search_path: Sequence[Path]) -> dict[str, Path]:
    """Return the folder of every model on a search path, by name; the first one wins."""
    found: dict[str, Path] = {}
    for place in search_path:
        for name in _models_in(place):
            found.setdefault(name, place / name)
    return found


def default_search_path(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the folders that hold model folders, most specific first.

    Those of ``$EDGE_INFERENCE_MODELS`` come first (they need not exist), then
    the shipped ones: of the source tree, of every colcon prefix, of the venv.
    """
    environ = os.environ if environ is None else environ
    named = search_folders(environ.get(SEARCH_PATH_VARIABLE, ""))
    tree = Path(__file__).parents[2]
    shipped = [tree / "models"] if (tree / "package.xml").is_file() else []
    prefixes = environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    shipped += [Path(text) / _SHARE for text in prefixes if text]
    shipped.append(Path(sys.prefix) / _SHARE)
    places = named + [place for place in shipped if place.is_dir()]
    return tuple(dict.fromkeys(places))


def search_folders(text: str) -> list[Path]:
    """Return the folders of a colon-separated list.

    Raises ModelError for an unknown ~user, and for more folders than anybody has.
    """
    entries = [entry for entry in text.split(os.pathsep) if entry]
    if len(entries) > _MOST_FOLDERS:
        raise ModelError(
            f"model path: expected at most {_MOST_FOLDERS} folders, got {len(entries)}: "
            f"{shortened(text)}; put the models into fewer folders"
        )
    return [_expanded(entry) for entry in entries]


def inside(folder: Path, section: Section, key: str) -> Path:
    """Return the file that ``key`` names, which must be inside the folder.

    The path's text decides, not where links lead: a colcon symlink install
    is made of links to the source tree.
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
    file = inside(folder, top, "labels")
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
        inside(folder, section, "calibration")
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
        file=inside(folder, section, "file"),
        sha256=values.sha256,
        accuracy=tuple(entry.read(Accuracy) for entry in measured),
        note=values.note,
    )


def _is_path(text: str) -> bool:
    return "/" in text or os.sep in text or text.startswith((".", "~"))


def _models_in(place: Path) -> list[str]:
    try:
        return sorted(entry.parent.name for entry in place.glob(f"*/{DESCRIPTION_FILE}"))
    except OSError as error:
        raise ModelError(f"{place}: cannot be listed: {error.strerror}") from error


def _expanded(text: str) -> Path:
    if "\0" in text:
        raise ModelError(f"{shortened(text)}: no name of a folder; leave the NUL out")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ModelError(f"{text}: no such user is known here; write the folder out") from error
