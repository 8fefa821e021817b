"""The weights of a model, by precision: shipped files, and how other precisions are derived."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_inference.core.checksum import sha256_of
from edge_inference.core.models.onnx_files import (
    combine_digests,
    external_digests,
    is_relative_inside,
    normalize_location,
)
from edge_inference.core.models.onnx_problems import explain_access, find_file_problem
from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section, path_inside
from edge_inference.errors import ModelError

PRECISIONS = ("fp32", "fp16", "int8")
#: The key of a second int8 file, see :attr:`Variant.tensorrt`.
TENSORRT = "tensorrt"
#: Maximum length of a list of a model's layers.
MAX_LAYERS = 100_000

EXTERNAL_DATA = "external_data"
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Maximum number of files named in an error, whose length is limited.
_MAX_NAMES = 6


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
        problem = find_file_problem(self.file) if actual != self.sha256 else None
        if problem is not None:
            raise ModelError(
                f"{problem} (wrong checksum: expected sha256 {self.sha256}, got {actual})"
            )
        _expect_checksum(self.file, self.sha256, actual)
        self._verify_external_data()

    def _verify_external_data(self) -> None:
        found = external_digests(self.file)
        missing = {name: digest for name, digest in found.items() if name not in self.external_data}
        if missing:
            raise ModelError(
                f"{self.file}: model.yaml does not list its external weights ({len(missing)} "
                f"file{'s' if len(missing) > 1 else ''}); add to variants.{self.precision}: "
                f"{external_data_line(missing)}"
            )
        for name, expected in self.external_data.items():
            if name not in found:
                raise ModelError(
                    f"{self.file}: it has no weights in {name!r:.200}, which model.yaml lists; "
                    f"remove it from variants.{self.precision}.external_data"
                )
            _expect_checksum(self.file.parent / name, expected, found[name])


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
class _VariantSettings:
    file: str = setting(description="file of weights, relative to the folder")
    sha256: str = setting(description="checksum of that file, 64 hexadecimal digits")
    note: str = setting("", "how this variant differs from others")

    def check(self) -> str | None:
        if not _SHA256.fullmatch(self.sha256):
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
        external_data=_external_data(section),
        tensorrt=(
            _variant(f"{precision}.{TENSORRT}", section.section(TENSORRT), folder)
            if TENSORRT in section
            else None
        ),
    )


def external_data_line(files: Mapping[str, str]) -> str:
    """Return the line for model.yaml that lists files of weights with their sha256.

    It names some of many files.
    """
    names = list(files)[:_MAX_NAMES]
    entries = ", ".join(f"{_quote_key(name)}: {files[name]}" for name in names)
    rest = f", and {len(files) - len(names)} more" if len(files) > len(names) else ""
    return f"{EXTERNAL_DATA}: {{{entries}{rest}}}"


def _external_data(section: Section) -> dict[str, str]:
    if EXTERNAL_DATA not in section:
        return {}
    listed = section.section(EXTERNAL_DATA)
    files = {}
    for name in listed:
        if not is_relative_inside(name):
            raise listed.error(name, "expected a file inside the folder of the ONNX file")
        digest = listed.get(name)
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise listed.error(
                name, f"expected a sha256 of 64 lower-case hexadecimal digits, got {digest!r}"
            )
        files[normalize_location(name)] = digest
    return files


def _expect_checksum(file: Path, expected: str, got: str) -> None:
    if got != expected:
        raise ModelError(
            f"{file}: wrong checksum: expected sha256 {expected}, got {got}; restore the file, or "
            "put the new sha256 into model.yaml if the change is intended"
        )


def _quote_key(name: str) -> str:
    """Quote a name that YAML could read as something else."""
    is_plain = re.fullmatch(r"[A-Za-z_][\w/-]*\.[\w./-]*", name, re.ASCII)
    return name if is_plain else json.dumps(name)
