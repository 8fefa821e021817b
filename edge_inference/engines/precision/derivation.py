"""What a derived file depends on besides the model's weights: ranges, rules, packages."""

from __future__ import annotations

import functools
import hashlib
from importlib import metadata
from pathlib import Path

from edge_inference.core.checksum import sha256_of
from edge_inference.core.models.model import ModelDescription
from edge_inference.errors import BackendError


def calibration_digest(model: ModelDescription, precision: str) -> str | None:
    """Return the checksum of the ranges that a precision is made with, None for none."""
    file = model.calibration
    if precision != "int8" or file is None:
        return None
    try:
        return sha256_of(file)
    except OSError as error:
        raise BackendError(
            f"{file}: the calibration cannot be read ({error.strerror}); put it back, or "
            f"calibrate again with: edge-inference quantize {model.name}"
        ) from error


@functools.cache
def derivation_rules() -> str:
    """Return a checksum of the code that derives: what it makes is not what older code made."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def version_of(package: str) -> str | None:
    """Return the version of an installed package, None for one that is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
