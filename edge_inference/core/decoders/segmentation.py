"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.activations import (
    PROBABILITY_TOLERANCE,
    activate_once,
    are_log_probabilities,
    are_probabilities,
    sigmoid,
    unknown_activation,
)
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.decoders.source_maps import nearest_to_source
from edge_inference.core.results import Segmentation
from edge_inference.core.settings import setting
from edge_inference.errors import TensorError

_IGNORED = -1


@dataclass(frozen=True)
class SegmentationSettings:
    """The layout of the output, and how it is converted to a mask."""

    threshold: float = setting(
        0.5,
        "minimum score of class 1 for a pixel of a one-channel mask",
        minimum=0.0,
        maximum=1.0,
    )
    activation: str = setting(
        "auto",
        "activation that converts the output to probabilities, unless they already are; auto: "
        "softmax for several classes, none for one channel",
        choices=("auto", "softmax", "sigmoid", "none"),
        read_only=True,
    )
    layout: str = setting(
        "auto",
        "layout of an output with four axes; auto: by the number of labels",
        choices=("auto", "nchw", "nhwc"),
        read_only=True,
    )
    ignore_label: int = setting(
        255,
        "class number of pixels of unknown class, if it is not that of a label",
        minimum=-1,
        maximum=65535,
        read_only=True,
    )
    mask_output: str = setting("", "output with the mask; empty: automatic", read_only=True)


@register("segmentation", SegmentationSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: SegmentationSettings
) -> Segmentation:
    """Decode class scores, class numbers, or a one-channel mask.

    Class scores are ``[1, C, h, w]`` or ``[1, h, w, C]``; class numbers are
    integers, booleans or whole floats ``[1, h, w]``, ``[1, 1, h, w]``, ``[1, h, w, 1]`` or
    ``[h, w]``; a mask has the same shape and contains the probability of class 1. ``h`` by ``w``
    covers the model's input at any resolution. Class numbers have no probability, so the
    score of their result is NaN. Floats of one channel are class numbers if there are more than
    two labels, or if they are whole and above 1.
    """
    output = checks.choose_output(
        outputs,
        settings.mask_output,
        setting="mask_output",
        expected="a mask [1, C, h, w]",
        fits=lambda array: array.ndim == 4 or (array.ndim == 3 and array.shape[0] == 1),
        keywords=("mask", "seg", "out"),
    )
    planes = _planes(output, context, settings)
    if _are_class_numbers(planes, context, settings):
        ids, score = _class_numbers(output, planes, context, settings), float("nan")
    elif len(planes) == 1:
        ids, score = _one_channel(output, planes[0], context, settings)
    else:
        ids, score = _class_scores(output, planes, context, settings)
    return _result(ids, score, context)


def _planes(
    output: checks.Output, context: DecodeContext, settings: SegmentationSettings
) -> NDArray[Any]:
    """Return ``(C, h, w)``."""
    array = output.array
    if array.ndim == 2:
        planes = array[None]
    elif array.ndim == 3:
        checks.expect_shape(output, (1, "h", "w"), "correct mask_output in model.yaml")
        planes = array
    else:
        checks.expect_shape(output, (1, "C", "h", "w"), "correct mask_output in model.yaml")
        planes = (
            array[0] if _layout(output, context, settings) == "nchw" else _channels_first(array[0])
        )
    if not planes.size:
        raise TensorError(
            f"output {output.name!r}: expected a mask, got the empty shape {list(array.shape)}; "
            "correct mask_output in model.yaml"
        )
    return planes


def _channels_first(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(array, -1, 0))


def _layout(output: checks.Output, context: DecodeContext, settings: SegmentationSettings) -> str:
    """Return the layout: the class axis has the length of the labels or 1, else it is shorter."""
    if settings.layout != "auto":
        return settings.layout
    _, first, _, last = output.array.shape
    if context.labels:
        channels = (len(context.labels), 1)
        if (first in channels) != (last in channels):
            return "nchw" if first in channels else "nhwc"
    return "nchw" if first <= last else "nhwc"


def _are_class_numbers(
    planes: NDArray[Any], context: DecodeContext, settings: SegmentationSettings
) -> bool:
    """Tell whether the output has class numbers: integers, or what only class numbers can be."""
    if planes.dtype.kind in "biu":
        return True
    if len(planes) != 1 or planes.dtype.kind != "f" or settings.activation != "auto":
        return False
    if len(context.labels) > 2:
        return True
    with np.errstate(over="ignore"):  # a half cannot be as large
        numbers = planes[planes != settings.ignore_label]
    is_mask = numbers.size == planes.size and numbers.max() <= 1
    if is_mask or (numbers < 0).any() or (numbers != np.round(numbers)).any():
        return False
    return not context.labels or bool((numbers < len(context.labels)).all())


def _class_numbers(
    output: checks.Output,
    planes: NDArray[Any],
    context: DecodeContext,
    settings: SegmentationSettings,
) -> NDArray[np.int32]:
    """Return the class of each pixel, _IGNORED for the label that is ignored."""
    if len(planes) != 1:
        raise TensorError(
            f"output {output.name!r}: expected one plane of class numbers, got "
            f"{list(output.array.shape)} {planes.dtype}; correct layout in model.yaml"
        )
    plane = planes[0]
    if plane.dtype.kind == "f":
        plane = checks.to_floats(checks.Output(output.name, plane))
        if (plane != np.round(plane)).any():
            raise TensorError(
                f"output {output.name!r}: expected a channel for each of {len(context.labels)} "
                f"labels, or whole class numbers, got {list(output.array.shape)} with "
                f"{plane[plane != np.round(plane)][0]:.4g}; give two labels for a mask of one "
                "channel, or correct layout or mask_output in model.yaml"
            )
    last = len(context.labels) - 1 if context.labels else np.iinfo(np.uint16).max - 1
    is_ignored = plane == settings.ignore_label
    if 0 <= settings.ignore_label < len(context.labels):
        is_ignored = np.zeros_like(is_ignored)
    numbers = plane[~is_ignored]
    if numbers.size and not 0 <= numbers.min() <= numbers.max() <= last:
        low, high = int(numbers.min()), int(numbers.max())
        raise TensorError(
            f"output {output.name!r}: expected class numbers 0 to {last}, got {low} to {high}; "
            "correct labels, ignore_label or mask_output in model.yaml"
        )
    return np.where(is_ignored, np.int32(_IGNORED), plane.astype(np.int32))


def _one_channel(
    output: checks.Output,
    plane: NDArray[Any],
    context: DecodeContext,
    settings: SegmentationSettings,
) -> tuple[NDArray[np.int32], float]:
    checks.expect_classes(
        output, 2, context.labels, "give one label for below and one for above the threshold"
    )
    if settings.activation == "softmax":
        raise TensorError(
            f"output {output.name!r}: expected several classes for a softmax, got one channel "
            f"{list(output.array.shape)}; set activation to sigmoid or none in model.yaml"
        )
    activation = "none" if settings.activation == "auto" else settings.activation
    probability = activate_once(activation, checks.to_floats(checks.Output(output.name, plane)))
    probability = checks.to_probabilities(
        output.name, probability, "set activation to sigmoid in model.yaml if these are logits"
    )
    ids = probability >= settings.threshold
    score = np.where(ids, probability, 1 - probability).mean(dtype=np.float64)
    return ids.astype(np.int32), float(score)


def _class_scores(
    output: checks.Output,
    planes: NDArray[Any],
    context: DecodeContext,
    settings: SegmentationSettings,
) -> tuple[NDArray[np.int32], float]:
    checks.expect_classes(output, len(planes), context.labels, "set layout")
    scores = checks.to_floats(checks.Output(output.name, planes))
    best = scores.max(axis=0)
    if settings.activation == "none" or _are_activated(scores, best):
        probability = checks.to_probabilities(output.name, best)
    elif settings.activation == "sigmoid" and not are_log_probabilities(scores, axis=0):
        probability = sigmoid(best)
    elif settings.activation in ("auto", "softmax", "sigmoid"):
        probability = _best_of_softmax(scores, best)
    else:
        raise unknown_activation(settings.activation)
    return _best_classes(scores, best), float(probability.mean(dtype=np.float64))


def _are_activated(scores: NDArray[np.float32], best: NDArray[np.float32]) -> bool:
    """Tell whether scores ``(C, h, w)`` are probabilities, in most cases by the best ones alone."""
    if best.max() > 1 + PROBABILITY_TOLERANCE or not best.max() > 0:
        return False
    return are_probabilities(scores, axis=0)


def _best_of_softmax(scores: NDArray[np.float32], best: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax over the classes at the best scores, plane by plane: they fit a cache."""
    total, power = np.zeros_like(best), np.empty_like(best)
    for plane in scores:
        total += np.exp(np.subtract(plane, best, out=power), out=power)
    return np.reciprocal(total)


def _best_classes(scores: NDArray[np.float32], best: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the first class with the best score: argmax, but faster, in memory order."""
    ids = np.zeros(best.shape, dtype=np.int32)
    for class_id in range(len(scores) - 1, -1, -1):
        ids[scores[class_id] == best] = class_id
    return ids


def _result(ids: NDArray[np.int32], score: float, context: DecodeContext) -> Segmentation:
    highest = max(len(context.labels) - 1, int(ids.max()))
    kind: type[np.uint8] | type[np.uint16] = np.uint8 if highest < 255 else np.uint16
    unknown = int(np.iinfo(kind).max)
    # The conversion makes the largest number, which is unknown, of _IGNORED.
    mask: NDArray[np.unsignedinteger[Any]] = nearest_to_source(ids.astype(kind), context, unknown)
    return Segmentation(mask, context.labels, score, context.model, unknown_id=unknown)
