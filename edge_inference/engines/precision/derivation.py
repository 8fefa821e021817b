"""What a derived model depends on besides the weights: calibration, code, packages."""

from __future__ import annotations

import functools
import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_inference.core.checksum import sha256_of
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import command_argument
from edge_inference.core.models.variants import TENSORRT
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


def int8_parts(model: ModelDescription, precision: str, target: str) -> dict[str, Any]:
    """Return what only int8 models depend on besides; nothing where it has no effect."""
    derive = model.derive
    parts: dict[str, Any] = {}
    if precision == "int8" and derive.int8_reduce_range:
        parts["reduce_range"] = list(derive.int8_reduce_range)
    if precision == "int8" and target == TENSORRT and derive.int8_rest != "fp32":
        parts["rest"] = derive.int8_rest
        parts["rest_keep_fp32"] = list(derive.fp16_keep_fp32)
    return parts


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
