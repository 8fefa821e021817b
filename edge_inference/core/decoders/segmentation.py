"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.activations import activate, unknown_activation
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.decoders.source_maps import nearest_to_source
from edge_inference.core.results import Segmentation
from edge_inference.core.settings import setting
from edge_inference.errors import TensorError


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
        "activation that converts the output to probabilities; auto: softmax for several "
        "classes, none for one channel",
        choices=("auto", "softmax", "sigmoid", "none"),
        read_only=True,
    )
    layout: str = setting(
        "auto",
        "layout of an output with four axes; auto: by the number of labels",
        choices=("auto", "nchw", "nhwc"),
        read_only=True,
    )
    mask_output: str = setting("", "output with the mask; empty: automatic", read_only=True)


@register("segmentation", SegmentationSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: SegmentationSettings
) -> Segmentation:
    """Decode class scores, class numbers, or a one-channel mask.

    Class scores are ``[1, C, h, w]`` or ``[1, h, w, C]``; class numbers are
    integers (or booleans) ``[1, h, w]``, ``[1, 1, h, w]`` or ``[1, h, w, 1]``; a mask has
    the same shape and contains the probability of class 1. ``h`` by ``w`` covers the
    model's input at any resolution. Class numbers have no probability, so the
    score of their result is NaN.
    """
    output = checks.choose_output(
        outputs,
        settings.mask_output,
        setting="mask_output",
        expected="a mask [1, C, h, w]",
        fits=lambda array: array.ndim == 4,
        keywords=("mask", "seg", "out"),
    )
    planes = _planes(output, context, settings)
    if planes.dtype.kind in "biu":
        ids, score = _class_numbers(output, planes, context), float("nan")
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
    if array.ndim == 3:
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


def _class_numbers(
    output: checks.Output, planes: NDArray[Any], context: DecodeContext
) -> NDArray[np.int32]:
    if len(planes) != 1:
        raise TensorError(
            f"output {output.name!r}: expected one plane of class numbers, got "
            f"{list(output.array.shape)} {planes.dtype}; correct layout in model.yaml"
        )
    low, high = int(planes.min()), int(planes.max())
    last = len(context.labels) - 1 if context.labels else np.iinfo(np.uint16).max - 1
    if low < 0 or high > last:
        raise TensorError(
            f"output {output.name!r}: expected class numbers 0 to {last}, got {low} to {high}; "
            "correct labels or mask_output in model.yaml"
        )
    return np.asarray(planes[0], dtype=np.int32)


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
    probability = activate(activation, checks.to_floats(checks.Output(output.name, plane)))
    probability = checks.to_probabilities(output.name, probability)
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
    if settings.activation == "sigmoid":
        probability = activate("sigmoid", best)
    elif settings.activation == "none":
        probability = checks.to_probabilities(output.name, best)
    elif settings.activation in ("auto", "softmax"):
        probability = 1 / np.exp(scores - best).sum(axis=0)
    else:
        raise unknown_activation(settings.activation)
    return _best_classes(scores, best), float(probability.mean(dtype=np.float64))


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
    mask: NDArray[np.unsignedinteger[Any]] = nearest_to_source(ids.astype(kind), context, unknown)
    return Segmentation(mask, context.labels, score, context.model, unknown_id=unknown)
