"""What to search for: a model, the images to check it on, and the floors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.models.model import ModelDescription
from edge_inference.core.settings import suggestion
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.quantized.variant_choice import require_unquantized
from edge_inference.errors import ConfigError, ModelError, SourceError
from edge_inference.optimize.calibrate import calibrate_model
from edge_inference.optimize.images.calibration_images import calibration_images
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.quantized_folder import (
    CALIBRATION_FILE,
    StagedFolder,
    find_output_problem,
)

DEFAULT_MIN_AGREEMENT, DEFAULT_MIN_SQNR_DB = 0.95, 14.0
DEFAULT_MAX_SECONDS = 120.0
DEFAULT_CALIBRATION_IMAGES = 128
_BACKENDS = ("ort", "trt")


@dataclass(frozen=True)
class PlacementRequest:
    """What to search for.

    ``images`` are those to compare with fp32 on, best at least 50 that the calibration does not
    have. ``output`` is the new model folder; it must not exist. ``backend`` is "ort" (ONNX
    Runtime on the CPU, one thread) or "trt" (TensorRT). A candidate needs ``min_agreement`` of
    the results (0 to 1) and ``min_sqnr_db`` in each output. The search ends after about
    ``max_seconds``, but never before the single precisions are measured. ``calibration`` is a
    source of images as ``calibration_images`` takes it, for a model without ranges for int8.
    Raises ConfigError.
    """

    model: ModelDescription
    images: ImageSet
    output: Path
    backend: str = "ort"
    min_agreement: float = DEFAULT_MIN_AGREEMENT
    min_sqnr_db: float = DEFAULT_MIN_SQNR_DB
    max_seconds: float = DEFAULT_MAX_SECONDS
    calibration: str | None = None
    max_calibration_images: int = DEFAULT_CALIBRATION_IMAGES

    def __post_init__(self) -> None:
        if self.backend not in _BACKENDS:
            raise ConfigError(
                f"backend: {self.backend!r} cannot be searched for"
                f"{suggestion(self.backend, _BACKENDS)}"
            )
        if not 0 <= self.min_agreement <= 1:
            raise ConfigError(f"min_agreement: expected 0 to 1, got {self.min_agreement}")
        for name in ("min_sqnr_db", "max_seconds"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"{name}: expected a number, got {getattr(self, name)}")
        if self.max_seconds <= 0:
            raise ConfigError(f"max_seconds: expected more than 0, got {self.max_seconds}")
        if self.max_calibration_images < 1:
            raise ConfigError(
                f"max_calibration_images: expected at least 1, got {self.max_calibration_images}"
            )


def check_request(request: PlacementRequest) -> None:
    """Refuse what cannot be searched before any step that takes long.

    Raises ConfigError, ModelError, SourceError.
    """
    model = request.model
    problem = find_output_problem(request.output, model)
    if problem is not None:
        raise ConfigError(f"output {request.output}: {problem}")
    if not len(request.images):
        raise SourceError("images: expected at least one image to compare with fp32 on, got none")
    if "fp32" not in model.variants:
        raise ModelError(
            f"model {model.name}: expected an fp32 variant to derive the others from, got none; "
            "add one to its model.yaml"
        )
    if "int8" in model.variants:
        raise ModelError(
            f"model {model.name}: it has its own file for int8 "
            f"({model.variants['int8'].file.name}), which engines use instead of a derived one; "
            "remove that variant from its model.yaml"
        )
    if model.calibration is None and request.calibration is None:
        raise ModelError(
            f"model {model.name}: int8 needs a calibration, and it has none; give images as the "
            "model will see them with --calibration"
        )
    model.variants["fp32"].verify()
    require_unquantized(model.variants["fp32"].file, "int8")


def calibrated_model(
    request: PlacementRequest, staged: StagedFolder, progress: Progress, cancelled: Cancelled
) -> ModelDescription:
    """Return the model, calibrated in the staged folder if the request has images for that.

    Raises what ``calibrate_model`` and ``calibration_images`` raise.
    """
    source, limit = request.calibration, request.max_calibration_images
    if source is None:
        return request.model
    calibration = calibrate_model(
        request.model,
        calibration_images(source, limit=limit),
        Path(source).name,
        progress=lambda count: progress(f"calibrating, {count} images", None),
        cancelled=cancelled,
    )
    calibration.save(staged.folder / CALIBRATION_FILE)
    return staged.write_derivation({"calibration": CALIBRATION_FILE})
