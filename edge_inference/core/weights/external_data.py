"""The key ``external_data`` of descriptions: an ONNX file's files of weights, with their sha256."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from edge_inference.core.weights.onnx_files import (
    external_digests,
    is_relative_inside,
    normalize_location,
)
from edge_inference.core.yaml_file import Section
from edge_inference.errors import ModelError

EXTERNAL_DATA = "external_data"
SHA256 = re.compile(r"[0-9a-f]{64}")
#: Maximum number of files named in an error, whose length is limited.
_MAX_NAMES = 6


def _line_of(files: Mapping[str, str]) -> str:
    """Return the line for model.yaml that lists files of weights with their sha256.

    It names some of many files.
    """
    names = list(files)[:_MAX_NAMES]
    entries = ", ".join(f"{_quote_key(name)}: {files[name]}" for name in names)
    rest = f", and {len(files) - len(names)} more" if len(files) > len(names) else ""
    return f"{EXTERNAL_DATA}: {{{entries}{rest}}}"


def read_external_data(section: Section) -> dict[str, str]:
    """Read the files and their sha256; none without the key. Raises ConfigError."""
    if EXTERNAL_DATA not in section:
        return {}
    listed = section.section(EXTERNAL_DATA)
    files = {}
    for name in listed:
        if not is_relative_inside(name):
            raise listed.error(name, "expected a file inside the folder of the ONNX file")
        digest = listed.get(name)
        if not isinstance(digest, str) or not SHA256.fullmatch(digest):
            raise listed.error(
                name, f"expected a sha256 of 64 lower-case hexadecimal digits, got {digest!r}"
            )
        files[normalize_location(name)] = digest
    return files


def verify_external_data(
    file: Path, listed: Mapping[str, str], section: str, description: str
) -> None:
    """Compare the files of weights that an ONNX file references with those in its description.

    ``section`` of ``description`` lists them, such as variants.fp32 of model.yaml. Raises
    ModelError for a file that is missing, not listed, not referenced, or has another checksum.
    """
    found = external_digests(file)
    missing = {name: digest for name, digest in found.items() if name not in listed}
    if missing:
        raise ModelError(
            f"{file}: {description} does not list its external weights ({len(missing)} "
            f"file{'s' if len(missing) > 1 else ''}); add to {section}: {_line_of(missing)}"
        )
    for name, expected in listed.items():
        if name not in found:
            raise ModelError(
                f"{file}: it has no weights in {name!r:.200}, which {description} lists; remove it "
                f"from {section}.{EXTERNAL_DATA}"
            )
        expect_checksum(file.parent / name, expected, found[name], description)


def expect_checksum(file: Path, expected: str, got: str, description: str) -> None:
    """Raise ModelError where the checksum of a file in its description is another one."""
    if got != expected:
        raise ModelError(
            f"{file}: wrong checksum: expected sha256 {expected}, got {got}; restore the file, or "
            f"put the new sha256 into {description} if the change is intended"
        )


def _quote_key(name: str) -> str:
    """Quote a name that YAML could read as something else."""
    is_plain = re.fullmatch(r"[A-Za-z_][\w/-]*\.[\w./-]*", name, re.ASCII)
    return name if is_plain else json.dumps(name)
