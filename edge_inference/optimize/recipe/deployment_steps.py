"""The steps of a recipe that deploy the network in another precision; the network stays."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from edge_inference.core.models.model import load_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.precision.ranges import METHODS
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.calibrate import DEFAULT_METHOD, calibrate
from edge_inference.optimize.export.golden_images import source_frame
from edge_inference.optimize.images.calibration_images import pick_evenly
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.placement.placement_request import (
    DEFAULT_MIN_AGREEMENT,
    DEFAULT_MIN_SQNR_DB,
    PlacementRequest,
)
from edge_inference.optimize.placement.precision_search import search_precisions
from edge_inference.optimize.quantization.quantization_aware import (
    QuantizedTraining,
    train_quantized,
)
from edge_inference.optimize.quantization.quantized_export import export_quantized
from edge_inference.optimize.quantized_folder import CALIBRATION_FILE, StagedFolder
from edge_inference.optimize.recipe.measured_point import for_graph
from edge_inference.optimize.recipe.step_kind import CostBasis, StepInput, StepKind, StepOutput

#: More images hardly change the ranges.
DEFAULT_CALIBRATION_IMAGES = 100
#: A calibration runs each image once with all inner tensors as outputs.
_CALIBRATION_FACTOR = 20.0
#: A training step that also rounds, relative to one that does not.
_ROUNDING_FACTOR = 2.5


@dataclass(frozen=True)
class PostTraining:
    """How to quantize after training: int8 with ranges measured on images of the training part.

    ``method`` estimates each range from a histogram, ``images`` is the number of images,
    ``keep_fp32`` names ONNX nodes that stay in fp32. Raises ConfigError.
    """

    method: str = DEFAULT_METHOD
    images: int = DEFAULT_CALIBRATION_IMAGES
    keep_fp32: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method: expected one of {', '.join(METHODS)}, got {self.method!r}")
        if self.images < 1:
            raise ConfigError(f"images: expected at least 1, got {self.images}")


def _quantize(
    given: StepInput, settings: PostTraining, progress: Progress, cancelled: Cancelled
) -> StepOutput:
    model = given.model
    if "int8" in model.variants:
        raise ModelError(
            f"model {model.name}: it has its own file for int8 "
            f"({model.variants['int8'].file.name}), which engines use instead; remove that variant "
            "from its model.yaml"
        )
    count = min(settings.images, len(given.split.train))
    calibration = calibrate(
        model.variants["fp32"].file,
        model.input.name,
        _calibration_batches(given, count),
        settings.method,
        lambda done: progress("measuring ranges", done / count),
        cancelled=cancelled,
        images=f"{count} images of the training part of {given.split.train.name}",
        model=model,
    )
    with StagedFolder(model.folder, given.destination) as staged:
        calibration.save(staged.folder / CALIBRATION_FILE)
        values: dict[str, Any] = {"calibration": CALIBRATION_FILE}
        if settings.keep_fp32:
            values["int8_keep_fp32"] = settings.keep_fp32
        staged.write_derivation(values)
        staged.keep()
    return StepOutput(precision="int8", summary=f"{settings.method} ranges of {count} images")


def _calibration_batches(given: StepInput, count: int) -> Iterator[NDArray[Any]]:
    for images, _ in given.split.train.batches(1, pick_evenly(len(given.split.train), count)):
        yield for_graph(images, given.model.input)


def _estimate_quantize(settings: PostTraining, basis: CostBasis) -> float:
    return min(settings.images, basis.train_images) * basis.inference_s * _CALIBRATION_FACTOR


QUANTIZE = StepKind("quantize", PostTraining(), False, _quantize, _estimate_quantize)


@dataclass(frozen=True)
class QuantizeAwareStep(QuantizedTraining):
    """A quantization-aware training whose numbers engines have. Raises ConfigError."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_deployable:
            raise ConfigError(
                f"weight_bits: expected numbers that engines have, 8-bit activations and weights "
                f"of 8 or 7 bits per channel, got {self.describe()}; less is for study with "
                "`edge-inference optimize quantize-aware`"
            )


def _quantize_aware(
    given: StepInput, settings: QuantizeAwareStep, progress: Progress, cancelled: Cancelled
) -> StepOutput:
    assert given.network is not None
    report = train_quantized(given.network, given.split, settings, progress, cancelled)
    export_quantized(report, given.split, given.destination, progress, cancelled)
    return StepOutput(
        precision="int8", summary=f"{settings.describe()}, {len(report.epochs)} epochs"
    )


def _estimate_quantize_aware(settings: QuantizeAwareStep, basis: CostBasis) -> float:
    calibration_s = settings.calibration_images * basis.inference_s * _CALIBRATION_FACTOR
    return _ROUNDING_FACTOR * basis.training_s(settings.training.epochs) + calibration_s


QUANTIZE_AWARE = StepKind(
    "quantize_aware", QuantizeAwareStep(), False, _quantize_aware, _estimate_quantize_aware
)


@dataclass(frozen=True)
class MixedPrecision:
    """How to search for the fastest precision of each region, on images of the validation part.

    ``min_agreement`` and ``min_sqnr_db`` are the floors against fp32 on ``images`` images. The
    search ends after about ``max_seconds``. ``calibration_images`` of the training part give the
    ranges for int8. Raises ConfigError.
    """

    min_agreement: float = DEFAULT_MIN_AGREEMENT
    min_sqnr_db: float = DEFAULT_MIN_SQNR_DB
    max_seconds: float = 60.0
    images: int = 64
    calibration_images: int = DEFAULT_CALIBRATION_IMAGES

    def __post_init__(self) -> None:
        for name in ("images", "calibration_images"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 <= self.min_agreement <= 1:
            raise ConfigError(f"min_agreement: expected 0 to 1, got {self.min_agreement}")
        if not (math.isfinite(self.max_seconds) and self.max_seconds > 0):
            raise ConfigError(f"max_seconds: expected more than 0, got {self.max_seconds}")


def _mix_precisions(
    given: StepInput, settings: MixedPrecision, progress: Progress, cancelled: Cancelled
) -> StepOutput:
    calibrated = given.destination.with_name("calibrated")
    ranges = PostTraining(images=settings.calibration_images)
    _quantize(replace(given, destination=calibrated), ranges, progress, cancelled)
    shown = given.split.validation
    chosen = pick_evenly(len(shown), settings.images)
    frames = [source_frame(shown, index) for index in chosen]
    request = PlacementRequest(
        load_model(calibrated),
        ImageSet([frame for frame in frames if frame is not None], shown.name),
        given.destination,
        min_agreement=settings.min_agreement,
        min_sqnr_db=settings.min_sqnr_db,
        max_seconds=settings.max_seconds,
    )

    def tell(phase: str, fraction: float | None) -> None:
        progress(phase.partition(", about ")[0], fraction)  # the recipe tells the time left

    try:
        report = search_precisions(request, ArtifactCache(given.work), tell, cancelled)
    finally:
        shutil.rmtree(calibrated, ignore_errors=True)
    return StepOutput(
        precision=report.chosen.candidate.precision, summary=report.chosen.candidate.name
    )


MIXED_PRECISION = StepKind(
    "mixed_precision",
    MixedPrecision(),
    False,
    _mix_precisions,
    lambda settings, basis: settings.max_seconds,
)
