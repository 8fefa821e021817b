"""Detections of models that include non-maximum suppression: lists of boxes, scores and classes.

For example those of TensorRT's EfficientNMS, of TensorFlow's postprocessing, of torchvision, and
of RT-DETR and D-FINE after their postprocessor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.box_formats import (
    BOX_ORDER_TEXT,
    BOX_ORDERS,
    to_corners,
    to_pixels,
)
from edge_inference.core.decoders.detection import (
    Candidates,
    SelectionSettings,
    select_best,
    to_detections,
)
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting, with_default
from edge_inference.errors import TensorError

_SCORE_WORDS = ("score", "conf", "prob", "postprocess:2")
_CLASS_WORDS = ("class", "label", "postprocess:1")


@dataclass(frozen=True)
class DetectionListsSettings(SelectionSettings):
    """Lists of boxes, scores and classes of any model that includes non-maximum suppression."""

    box_order: str = setting("xyxy", BOX_ORDER_TEXT, choices=BOX_ORDERS, read_only=True)
    normalized: bool = setting(
        False, "true: boxes from 0 to 1; false: boxes in input pixels", read_only=True
    )
    background: bool = setting(
        False, "class 0 of the model is the background, which has no label", read_only=True
    )
    boxes_output: str = setting("", "output with the boxes; empty: automatic", read_only=True)
    scores_output: str = setting("", "output with the scores; empty: automatic", read_only=True)
    classes_output: str = setting(
        "", "output with class numbers [1, N], if any; empty: automatic", read_only=True
    )
    count_output: str = setting(
        "", "output with the number of boxes, if any; empty: automatic", read_only=True
    )


@dataclass(frozen=True)
class EfficientNmsSettings(DetectionListsSettings):
    """TensorRT's EfficientNMS: YOLOv6 and YOLOv7 with --end2end, RT-DETR, D-FINE."""


@dataclass(frozen=True)
class TorchvisionSettings(DetectionListsSettings):
    """The detectors of torchvision, whose class 0 is the background."""

    background: bool = with_default(DetectionListsSettings, "background", True)


@dataclass(frozen=True)
class TfliteDetectionSettings(DetectionListsSettings):
    """TFLite_Detection_PostProcess, whose class 0 is the first label."""

    box_order: str = with_default(DetectionListsSettings, "box_order", "yxyx")
    normalized: bool = with_default(DetectionListsSettings, "normalized", True)


@register("detection_lists", DetectionListsSettings)
@register("efficient_nms", EfficientNmsSettings)
@register("torchvision", TorchvisionSettings)
@register("tflite_detection", TfliteDetectionSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: DetectionListsSettings
) -> Detections:
    """Decode boxes ``[1, N, 4]``, scores ``[1, N]``, classes ``[1, N]`` and an optional count.

    The batch axis may be missing; N may be another one for each image, also 0. Boxes are in
    pixels of the input or normalized, class numbers are integers or whole floats. A count
    ``[1]`` or ``[1, 1]`` tells how many boxes are valid. No suppression is repeated.
    """
    boxes = choose_boxes(outputs, settings.boxes_output)
    found = read_lists(outputs, boxes, context, settings)
    return to_detections(select_best(found, context, settings), context)


def choose_boxes(outputs: Mapping[str, NDArray[Any]], named: str) -> checks.Output:
    """Return the output of the boxes, as ``(N, 4)``.

    Accepts ``[1, N, 4]``, ``[1, N, 1, 4]``, ``[1, 1, N, 4]`` and ``[N, 4]``. The boxes of
    TensorFlow before its postprocessing (``raw_…``) are passed over.
    """
    with_batch_axis = any(_is_boxes(array) and array.ndim > 2 for array in outputs.values())
    output = checks.choose_output(
        outputs,
        named,
        setting="boxes_output",
        expected="boxes [1, N, 4]",
        fits=lambda array: _is_boxes(array) and (array.ndim > 2 or not with_batch_axis),
        keywords=("box", "loc"),
        excluded=[name for name in outputs if name.startswith("raw_")],
    )
    table = to_table(output.array)
    if table is None or table.shape[1] != 4:
        raise TensorError(
            f"output {output.name!r}: expected boxes [1, N, 4] or [N, 4], got "
            f"{list(output.array.shape)}; name the boxes with boxes_output in model.yaml"
        )
    return checks.Output(output.name, table)


def to_table(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return ``(N, K)`` of ``[N, K]``, or with axes of length 1 around N; None if there is none."""
    if array.ndim == 2:
        return array
    if array.ndim == 3 and array.shape[0] == 1:
        return np.asarray(array[0])
    if array.ndim == 4 and array.shape[:2] == (1, 1):
        return np.asarray(array[0, 0])
    if array.ndim == 4 and array.shape[0] == array.shape[2] == 1:
        return np.asarray(array[0, :, 0])
    return None


def lists_of(
    outputs: Mapping[str, NDArray[Any]], length: int, excluded: Collection[str]
) -> list[str]:
    """Return the names of the outputs that hold one value for each of ``length`` boxes."""
    return [
        name
        for name, array in outputs.items()
        if name not in excluded and _is_list(array, length) and "num" not in name.lower()
    ]


def read_lists(
    outputs: Mapping[str, NDArray[Any]],
    boxes: checks.Output,
    context: DecodeContext,
    settings: DetectionListsSettings,
) -> Candidates:
    """Return the candidates above the confidence; ``boxes`` is that of :func:`choose_boxes`."""
    length = len(boxes.array)
    scores = _choose_list(
        outputs,
        settings.scores_output,
        "scores_output",
        length,
        _SCORE_WORDS,
        (boxes.name, settings.classes_output, settings.count_output),
        floating=True,
    )
    classes = choose_classes(
        outputs, settings.classes_output, length, (boxes.name, scores.name, settings.count_output)
    )
    count = read_count(outputs, length, settings.count_output, (boxes.name, scores.name))
    values = filled_scores(checks.Output(scores.name, scores.array[:count]))
    class_ids = checks.expect_listed_classes(
        classes, classes.array[:count], values, context.labels, background=settings.background
    )
    above = np.flatnonzero((values >= settings.confidence) & (class_ids >= 0))
    corners = to_corners(checks.to_floats(boxes)[above], settings.box_order, boxes.name)
    corners = to_pixels(corners, context, settings.normalized, boxes.name)
    return Candidates(corners, values[above], class_ids[above], boxes.name)


def filled_scores(scores: checks.Output) -> NDArray[np.float32]:
    """Return the scores ``(N,)``, with 0 for -1, with which some models fill their lists."""
    values = checks.to_floats(scores)
    return checks.to_probabilities(
        scores.name,
        np.where(values == -1, np.float32(0), values),
        "correct the settings of the outputs in model.yaml, or export the model with its sigmoid",
    )


def choose_classes(
    outputs: Mapping[str, NDArray[Any]], named: str, length: int, excluded: Collection[str]
) -> checks.Output:
    """Return the output of the class numbers, as ``(N,)``."""
    return _choose_list(outputs, named, "classes_output", length, _CLASS_WORDS, excluded)


def _choose_list(
    outputs: Mapping[str, NDArray[Any]],
    named: str,
    setting_name: str,
    length: int,
    keywords: Collection[str],
    excluded: Collection[str],
    *,
    floating: bool = False,
) -> checks.Output:
    what = "scores" if floating else "class numbers"
    fitting = [
        outputs[name]
        for name in lists_of(outputs, length, excluded)
        if not floating or np.issubdtype(outputs[name].dtype, np.floating)
    ]
    output = checks.choose_output(
        outputs,
        named,
        setting=setting_name,
        expected=f"{what} [1, {length}]",
        fits=lambda array: any(array is fit for fit in fitting),
        keywords=tuple(keywords),
        excluded=excluded,
    )
    if not _is_list(output.array, length):
        raise TensorError(
            f"output {output.name!r}: expected {what} [1, {length}], one for each box, got "
            f"{list(output.array.shape)}; correct {setting_name} in model.yaml"
        )
    return checks.Output(output.name, output.array.reshape(-1))


def read_count(
    outputs: Mapping[str, NDArray[Any]], length: int, named: str, excluded: Collection[str]
) -> int:
    """Return the number of valid boxes: all of them where the model has no count."""
    if named:
        count = checks.output_by_name(outputs, named, "count_output")
    else:
        single = [
            name
            for name, array in outputs.items()
            if name not in excluded
            and array.shape in ((1,), (1, 1))
            and ("num" in name.lower() or length != 1)
        ]
        if len(single) != 1:
            return length
        count = checks.Output(single[0], outputs[single[0]])
    if count.array.size != 1 or not 0 <= count.array.item() <= length:
        raise TensorError(
            f"output {count.name!r}: expected one number from 0 to {length}, got "
            f"{count.array.ravel()[:5].tolist()}; correct count_output in model.yaml"
        )
    return int(count.array.item())


def _is_boxes(array: NDArray[Any]) -> bool:
    table = to_table(array)
    return table is not None and table.shape[1] == 4


def _is_list(array: NDArray[Any], length: int) -> bool:
    return array.shape in ((1, length), (length,), (1, length, 1), (1, 1, length))
