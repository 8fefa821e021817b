"""The weights of a model, by precision: shipped files, and how other precisions are derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_inference.core.checksum import sha256_of
from edge_inference.core.onnx_format.external_data import (
    EXTERNAL_DATA,
    SHA256,
    expect_checksum,
    read_external_data,
    verify_external_data,
)
from edge_inference.core.onnx_format.onnx_files import combine_digests
from edge_inference.core.onnx_format.onnx_problems import explain_access, find_file_problem
from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section, path_inside
from edge_inference.errors import ModelError

PRECISIONS = ("fp32", "fp16", "int8")
#: The key of a second int8 file, see :attr:`Variant.tensorrt`.
TENSORRT = "tensorrt"
#: What the nodes of an int8 model that do not compute in int8 may compute in.
REST_PRECISIONS = ("fp32", "fp16")
#: Maximum length of a list of a model's layers.
MAX_LAYERS = 100_000


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
    """The weights in one precision: a file, and the files of weights that it references.

    ``external_data`` maps these files, relative to the folder of ``file``, to their sha256.
    """

    precision: str
    file: Path
    sha256: str
    accuracy: tuple[Accuracy, ...] = ()
    note: str = ""
    external_data: Mapping[str, str] = field(default_factory=dict, hash=False)
    #: For int8, the file that TensorRT takes instead.
    tensorrt: Variant | None = None

    @property
    def digest(self) -> str:
        """The checksum of the ONNX model as described, see ``onnx_files.onnx_digest``."""
        return combine_digests(self.sha256, self.external_data)

    def verify(self) -> None:
        """Raise ModelError if a file is missing, not described, or has another checksum."""
        try:
            actual = sha256_of(self.file)
        except OSError as error:
            raise ModelError(
                f"{explain_access(self.file, error)}, or remove variants.{self.precision} from "
                "model.yaml"
            ) from error
        # A failed download or half a copy needs other advice than a change.
        problem = find_file_problem(self.file, takes_ort=True) if actual != self.sha256 else None
        if problem is not None:
            raise ModelError(
                f"{problem} (wrong checksum: expected sha256 {self.sha256}, got {actual})"
            )
        expect_checksum(self.file, self.sha256, actual, "model.yaml")
        verify_external_data(
            self.file, self.external_data, f"variants.{self.precision}", "model.yaml"
        )


@dataclass(frozen=True)
class Derivation:
    """How precisions without their own file are derived from the fp32 variant."""

    calibration: str = setting("", "file of calibrated ranges for int8, relative to the folder")
    fp16_keep_fp32: tuple[str, ...] = setting(
        (),
        "ONNX nodes that stay in fp32 in an fp16 model: names, operators or patterns",
        max_length=MAX_LAYERS,
    )
    int8_keep_fp32: tuple[str, ...] = setting(
        (),
        "ONNX nodes that stay in fp32 in an int8 model: names, operators or patterns",
        max_length=MAX_LAYERS,
    )
    int8_reduce_range: tuple[str, ...] = setting(
        (),
        "ONNX nodes whose int8 weights have 7 bits: names, operators or patterns",
        max_length=MAX_LAYERS,
    )
    int8_rest: str = setting(
        "fp32",
        "precision of what does not compute in int8, in TensorRT; fp16 but for fp16_keep_fp32",
        choices=REST_PRECISIONS,
    )

    def keep_fp32(self, precision: str) -> tuple[str, ...]:
        """Return the nodes that stay in fp32 in a precision."""
        return {"fp16": self.fp16_keep_fp32, "int8": self.int8_keep_fp32}.get(precision, ())


@dataclass(frozen=True)
class _VariantSettings:
    file: str = setting(description="file of weights, relative to the folder")
    sha256: str = setting(
        description="checksum of that file as sha256sum prints it: 64 digits and lower-case letters"
    )
    note: str = setting("", "how this variant differs from others")

    def check(self) -> str | None:
        if not SHA256.fullmatch(self.sha256):
            return f"sha256: expected 64 lower-case hexadecimal digits, got {self.sha256!r}"
        return None


def read_derivation(top: Section, folder: Path) -> Derivation:
    """Read the section ``derive``, if there is one. Raises ConfigError."""
    if "derive" not in top:
        return Derivation()
    section = top.section("derive")
    if "calibration" in section:
        path_inside(folder, section, "calibration")
    return section.read(Derivation)


def read_variants(top: Section, folder: Path) -> dict[str, Variant]:
    """Read the section ``variants``. Raises ConfigError."""
    sections = top.sections("variants")
    if not sections:
        raise top.error("variants", f"expected at least one of {', '.join(PRECISIONS)}, got none")
    top.section("variants").require_known(*PRECISIONS)
    return {name: _variant(name, section, folder) for name, section in sections.items()}


def _variant(precision: str, section: Section, folder: Path) -> Variant:
    other_file = (TENSORRT,) if precision == "int8" else ()
    values = section.read(_VariantSettings, "accuracy", EXTERNAL_DATA, *other_file)
    measured = section.section_list("accuracy") if "accuracy" in section else ()
    return Variant(
        precision=precision,
        file=path_inside(folder, section, "file"),
        sha256=values.sha256,
        accuracy=tuple(entry.read(Accuracy) for entry in measured),
        note=values.note,
        external_data=read_external_data(section),
        tensorrt=(
            _variant(f"{precision}.{TENSORRT}", section.section(TENSORRT), folder)
            if TENSORRT in section
            else None
        ),
    )
