"""What a derived model depends on besides the weights: calibration, code, packages."""

from __future__ import annotations

import functools
import hashlib
from importlib import metadata
from pathlib import Path

from edge_inference.core.checksum import sha256_of
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import command_argument
from edge_inference.errors import BackendError


def calibration_digest(model: ModelDescription, precision: str) -> str | None:
    """Return the checksum of the calibration for a precision, None where it needs none."""
    file = model.calibration
    if precision != "int8" or file is None:
        return None
    try:
        return sha256_of(file)
    except OSError as error:
        raise BackendError(
            f"{file}: the calibration cannot be read ({error.strerror}); restore it, or "
            f"calibrate again with: edge-inference quantize {command_argument(model)} "
            "--calibration IMAGES --output FOLDER"
        ) from error


@functools.cache
def derivation_rules() -> str:
    """Return a checksum of the deriving code: other code may give another model."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for folder in (here, here.parent / "quantized"):
        for file in sorted(folder.glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def version_of(package: str) -> str | None:
    """Return the version of a package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
