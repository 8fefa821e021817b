"""Calibration: runs images through the network and records the range of each tensor."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.onnx_format.onnx_files import onnx_digest
from edge_inference.engines.cache.artifacts import Cancelled
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.exclude import softmax_inputs
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.ranges import METHODS, Histogram, estimate
from edge_inference.engines.quantized.variant_choice import require_unquantized
from edge_inference.errors import (
    CancelledError,
    ConfigError,
    ModelError,
    SourceError,
    TensorError,
)
from edge_inference.optimize.intermediate_tensors import IntermediateTensors

DEFAULT_METHOD = "mse"

#: Values that only mask are this many times as large as the others: without a softmax the ratio
#: is that of a step of int8 to a range that is lost.
_SOFTMAX_MASK_RATIO, _MASK_RATIO = 4, 64

#: Called with the number of images that are done.
ImageCountCallback = Callable[[int], None]


def calibrate(
    onnx_file: Path,
    input_name: str,
    batches: Iterable[NDArray[Any]],
    method: str = DEFAULT_METHOD,
    progress: ImageCountCallback | None = None,
    *,
    cancelled: Cancelled = lambda: False,
    images: str = "",
    input_settings: dict[str, Any] | None = None,
    model: ModelDescription | None = None,
) -> Calibration:
    """Run batches of input tensors through the network and record the range of every tensor.

    Memory holds one batch with its inner tensors, and 64 KiB for each tensor. ``images``
    describes the batches, ``model`` how a batch becomes the graph's inputs. Raises ConfigError
    for an unknown method, ModelError and BackendError for a file that cannot be used, TensorError
    for a batch that does not fit or leads to values that are NaN, SourceError without a batch,
    CancelledError soon after ``cancelled`` returns True.
    """
    by_method = calibrate_with_methods(
        onnx_file,
        input_name,
        batches,
        (method,),
        progress,
        cancelled=cancelled,
        images=images,
        input_settings=input_settings,
        model=model,
    )
    return by_method[method]


def calibrate_with_methods(
    onnx_file: Path,
    input_name: str,
    batches: Iterable[NDArray[Any]],
    methods: Sequence[str] = METHODS,
    progress: ImageCountCallback | None = None,
    *,
    cancelled: Cancelled = lambda: False,
    images: str = "",
    input_settings: dict[str, Any] | None = None,
    model: ModelDescription | None = None,
) -> dict[str, Calibration]:
    """Return the calibration by each method, from one pass over the images; as ``calibrate``."""
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    network = fold(onnx_file)
    activations = IntermediateTensors(network, input_name, model)
    histograms: dict[str, Histogram] = {}
    digest = hashlib.sha256()
    count = 0
    for batch in batches:
        if cancelled():
            raise CancelledError(f"{onnx_file}: the calibration was cancelled")
        digest.update(np.ascontiguousarray(batch).tobytes())
        _add_to_histograms(activations, batch, histograms)
        count += len(batch)
        if progress is not None:
            progress(count)
    if not count:
        raise SourceError("calibration: expected at least one image, got none")
    before_softmax = softmax_inputs(network)
    masked = tuple(
        name
        for name, histogram in histograms.items()
        if histogram.is_masked(_SOFTMAX_MASK_RATIO if name in before_softmax else _MASK_RATIO)
    )
    known = {name: each for name, each in histograms.items() if name not in masked}
    return {
        method: Calibration(
            ranges={name: estimate(histogram, method) for name, histogram in known.items()},
            masked=masked,
            method=method,
            images=images,
            image_count=count,
            images_sha256=digest.hexdigest(),
            onnx_sha256=onnx_digest(onnx_file),
            input=input_settings or {},
        )
        for method in methods
    }


def calibrate_model(
    model: ModelDescription,
    images: Iterable[Frame | CompressedFrame],
    description: str,
    method: str = DEFAULT_METHOD,
    progress: ImageCountCallback | None = None,
    *,
    cancelled: Cancelled = lambda: False,
) -> Calibration:
    """Calibrate a model's fp32 variant on images, preprocessed as ``model.input`` describes.

    ``description`` describes the images. Raises what ``calibrate`` raises, ImageError for an
    image that cannot be read, and ModelError for a model without an fp32 variant.
    """
    if "fp32" not in model.variants:
        raise ModelError(
            f"model {model.name}: calibration needs an fp32 variant, got none; "
            "add one to its model.yaml"
        )
    variant = model.variants["fp32"]
    variant.verify()
    require_unquantized(variant.file, "int8")
    return calibrate(
        variant.file,
        model.input.name,
        preprocess_images(images, model.input),
        method,
        progress,
        cancelled=cancelled,
        images=description,
        input_settings=dataclasses.asdict(model.input),
        model=model,
    )


def preprocess_images(
    images: Iterable[Frame | CompressedFrame], spec: InputSpec
) -> Iterator[NDArray[Any]]:
    """Yield the input tensor of each image. Raises ImageError for one that cannot be read."""
    preprocess = Preprocessor(spec)
    for image in images:
        tensor, _ = preprocess(image)
        yield tensor


def _add_to_histograms(
    activations: IntermediateTensors, batch: NDArray[Any], histograms: dict[str, Histogram]
) -> None:
    for name, values in activations.run(batch):
        try:
            histograms.setdefault(name, Histogram()).add(values)
        except TensorError as error:
            raise TensorError(f"tensor {name!r}: {error}") from error
