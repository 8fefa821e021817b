"""Finds out how an image enters a graph, and what its other inputs need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_inference.core.exports.exporter_metadata import ExporterMetadata
from edge_inference.core.exports.onnx_summary import GraphTensor, OnnxSummary
from edge_inference.core.exports.sidecars import Sidecars
from edge_inference.errors import ModelError

#: Channels of an image, and their color order in model.yaml.
_COLORS = {1: "GRAY", 3: "RGB", 4: "RGBA"}
_MAX_SIDE = 16384
#: Size in pixels where neither the graph nor the exporter says one.
_DETECTOR_SIDE, _CLASSIFIER_SIDE = 640, 224


@dataclass(frozen=True)
class ImageInput:
    """The input of a graph that takes the image. ``assumed`` is by key of model.yaml."""

    tensor: GraphTensor
    layout: str
    color: str
    width: int
    height: int
    batch: int
    assumed: Mapping[str, str]

    def keys(self) -> dict[str, Any]:
        """Return these keys of the section ``input``."""
        keys: dict[str, Any] = {
            "name": self.tensor.name,
            "layout": self.layout,
            "width": self.width,
            "height": self.height,
            "dtype": self.tensor.dtype,
            "color": self.color,
        }
        return keys if self.batch == 1 else {**keys, "batch": self.batch}


def find_image_input(
    summary: OnnxSummary, metadata: ExporterMetadata, sidecars: Sidecars
) -> ImageInput:
    """Return the first input that can take an image. Raises ModelError if none can."""
    for tensor in summary.inputs:
        layout = _layout(tensor)
        if layout is not None:
            return _describe(tensor, layout, summary, metadata, sidecars)
    listing = "; ".join(map(str, summary.inputs)) or "none"
    raise ModelError(
        "expected an input for an image, with axes for batch, height, width and 1, 3 or 4 "
        f"channels, got {listing}; this package runs models of images"
    )


def _layout(tensor: GraphTensor) -> str | None:
    """Return the order of the axes, None for an input that takes no image."""
    shape = tensor.shape
    if not tensor.dtype or shape is None or len(shape) not in (3, 4):
        return None
    first, last = shape[-3], shape[-1]
    batch = "N" if len(shape) == 4 else ""
    if first in _COLORS:
        return f"{batch}CHW"
    if last in _COLORS:
        return f"{batch}HWC"
    if (isinstance(first, int) and isinstance(last, int)) or not batch:
        return None
    return "NHWC" if tensor.dtype == "uint8" else "NCHW"


def _describe(
    tensor: GraphTensor,
    layout: str,
    summary: OnnxSummary,
    metadata: ExporterMetadata,
    sidecars: Sidecars,
) -> ImageInput:
    assert tensor.shape is not None
    axes = dict(zip(layout, tensor.shape, strict=True))
    channels, batch = axes["C"], axes.get("N", 1)
    assumed: dict[str, str] = {}
    width, height = axes["W"], axes["H"]
    if not isinstance(width, int) or not isinstance(height, int):
        known = metadata.size or _preprocessor_size(sidecars)
        side = _shortest_edge(sidecars)
        if side is None:
            side = _CLASSIFIER_SIDE if _is_flat(summary) else _DETECTOR_SIDE
        other_width, other_height = known or (side, side)
        width = width if isinstance(width, int) else other_width
        height = height if isinstance(height, int) else other_height
        if known is None:
            assumed["input.width"] = (
                f"the graph takes any size; assumed {width} x {height}; set the size that the "
                "model was trained with"
            )
    if max(width, height) > _MAX_SIDE:
        raise ModelError(
            f"input {tensor.name!r:.100}: expected an image of at most {_MAX_SIDE} pixels a side, "
            f"got {width} x {height}; this package runs models of images"
        )
    color = _COLORS.get(channels, "RGB") if isinstance(channels, int) else "RGB"
    return ImageInput(
        tensor, layout, color, width, height, batch if isinstance(batch, int) else 1, assumed
    )


def _is_flat(summary: OnnxSummary) -> bool:
    """Tell whether all outputs are vectors, as those of a classifier."""
    return all(tensor.shape is not None and len(tensor.shape) == 2 for tensor in summary.outputs)


def _preprocessor_size(sidecars: Sidecars) -> tuple[int, int] | None:
    """Return the width and height by preprocessor_config.json, None if it has none."""
    for key in ("crop_size", "size"):
        size = sidecars.preprocessor.get(key)
        values: list[Any] | None = [size, size] if isinstance(size, int) else None
        if isinstance(size, Mapping):
            values = [size.get("width"), size.get("height")]
        if values is not None and all(isinstance(v, int) and 0 < v <= _MAX_SIDE for v in values):
            return int(values[0]), int(values[1])
    return None


def _shortest_edge(sidecars: Sidecars) -> int | None:
    """Return that of the images in their own proportions that the model was trained with."""
    size = sidecars.preprocessor.get("size")
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else None
    return edge if type(edge) is int and 0 < edge <= _MAX_SIDE else None


def extra_values(
    summary: OnnxSummary, image: ImageInput, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a value for every other input: the given one, or the one that its name stands for.

    Raises ModelError for an input without a value, and for a value without an input.
    """
    others = {tensor.name: tensor for tensor in summary.inputs if tensor is not image.tensor}
    for name in given:
        if name not in others:
            raise ModelError(
                f"--extra-input {name!r:.100}: expected one of the graph's other inputs, "
                f"{', '.join(others) or 'of which there are none'}"
            )
    values: dict[str, Any] = {}
    missing: list[str] = []
    for name, tensor in others.items():
        value = given.get(name, _known_value(name.lower(), image))
        if value is None:
            missing.append(str(tensor))
        else:
            values[name] = _of_type(value, tensor.dtype)
    if missing:
        raise ModelError(
            f"expected one input, the image, got others, too, whose values are unknown: "
            f"{'; '.join(missing)}; give each with --extra-input 'NAME=VALUES'"
        )
    return values


def _known_value(name: str, image: ImageInput) -> Any:
    """Return the value that exporters mean by a name: RT-DETR, D-FINE and PaddleDetection."""
    if name == "im_shape":
        return [[image.height, image.width]]
    if name == "scale_factor":
        return [[1, 1]]
    if "target_size" in name or name in ("orig_size", "orig_sizes"):
        return [[image.width, image.height]]
    return None


def _of_type(value: Any, dtype: str) -> Any:
    """Write whole numbers for a floating-point input as 1.0."""
    if isinstance(value, list):
        return [_of_type(item, dtype) for item in value]
    return float(value) if dtype.startswith("float") and isinstance(value, int) else value
