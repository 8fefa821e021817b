"""Models that only the shapes and values of their outputs describe."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.exports.proposal import (
    CHECK_IT,
    IMAGENET,
    RAW,
    UNIT,
    Evidence,
    Proposal,
    are_within_unit,
    count_cells,
    is_softmax,
    pixels,
    read_numbers,
)
from edge_inference.core.exports.transformers import (
    by_preprocessor,
    preprocessor_crop,
    preprocessor_scale,
)

_RGB = f"assumed RGB; {CHECK_IT}"
_IMAGENET = f"assumed ImageNet's mean and std; {CHECK_IT}"
#: Fraction of the image that torchvision's and timm's preprocessing keeps.
_CROP = 0.875
#: Maximum number of rows of a detector that includes non-maximum suppression.
_MAX_ROWS = 3000
#: Maps of so many sizes are a detector's heads without its last layers, not one segmentation.
_MIN_LEVELS = 3


def propose_classifier(evidence: Evidence) -> Proposal | None:
    """Propose for one output ``[1, C]``, or the one of several that is called logits or similar."""
    name = _only(evidence, _is_vector, "logit", "prob", "score", "class")
    if name is None or any(map(_are_boxes, evidence.outputs.values())):
        return None
    scores = evidence.outputs[name].reshape(1, -1)
    activation = "softmax"
    if is_softmax(scores) or evidence.summary.output_operators.get(name) == "Sigmoid":
        activation = "none"
    settings: dict[str, Any] = {"activation": activation}
    if len(evidence.outputs) > 1:
        settings["scores_output"] = name
    timm = evidence.sidecars.transformers.get("pretrained_cfg")
    crop: dict[str, Any] = {"resize": "center_crop", "crop_fraction": _CROP}
    labels = evidence.sidecars.labels
    if isinstance(timm, dict):
        return Proposal(
            "timm", "classification", "classification", settings, _timm(evidence, timm), labels
        ).assuming({"input.color": _RGB})
    if evidence.sidecars.preprocessor:
        resize = preprocessor_crop(evidence.sidecars.preprocessor)
        image = by_preprocessor(evidence, IMAGENET, resize)
        return Proposal(
            "Transformers", "classification", "classification", settings, image, labels
        ).assuming({"input.color": _RGB})
    if evidence.image.shape and evidence.image.shape[-1] == 3:
        scale = {"mean": [127.5], "std": [127.5]}
        text = f"assumed pixels from -1 to 1, as MobileNet of Keras uses; {CHECK_IT}"
        family = "classifier of TensorFlow"
    else:
        scale, text, family = IMAGENET, _IMAGENET, "classifier"
    return Proposal(
        family,
        "classification",
        "classification",
        settings,
        pixels(evidence, scale, **crop),
        labels,
    ).assuming(
        {
            "input.color": _RGB,
            "input.mean": text,
            "input.crop_fraction": f"assumed {_CROP}, as torchvision evaluates its models",
        }
    )


def _timm(evidence: Evidence, config: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of ``input`` by timm's pretrained_cfg."""
    scale: Any = IMAGENET
    mean, std = read_numbers(config.get("mean")), read_numbers(config.get("std"))
    if mean is not None and std is not None:
        scale = {
            "mean": [round(value * 255, 4) for value in mean],
            "std": [round(value * 255, 4) for value in std],
        }
    crop = config.get("crop_pct", _CROP)
    more = {"resize": "center_crop", "crop_fraction": crop if isinstance(crop, float) else 1.0}
    if config.get("interpolation") == "bicubic":
        more["interpolation"] = "cubic"
    return pixels(evidence, scale, **more)


def propose_heads(evidence: Evidence) -> Proposal | None:
    """Propose for YOLOv5 or YOLOv7 without its last layer: ``[1, 3, h, w, 5 + C]`` per stride."""
    shapes = [array.shape for array in evidence.outputs.values()]
    sizes = {(evidence.height // stride, evidence.width // stride) for stride in (8, 16, 32)}
    if len(shapes) != 3 or {shape[2:4] for shape in shapes} != sizes:
        return None
    if any(len(shape) != 5 or shape[:2] != (1, 3) for shape in shapes):
        return None
    letterbox = pixels(evidence, UNIT, resize="letterbox")
    return Proposal("YOLOv5, raw", "detection", "yolov5_heads", {}, letterbox).assuming(
        {
            "input.color": f"assumed RGB, as YOLO exporters use; {CHECK_IT}",
            "input.mean": "assumed pixels from 0 to 1, as YOLO exporters use",
            "decoder.name": "assumed the anchors of YOLOv5; those of YOLOv7 are in yolov7_heads",
        }
    )


def propose_detector(evidence: Evidence) -> Proposal | None:
    """Propose for one output of three axes: YOLOX, YOLOv5, YOLOv8, NanoDet, or end to end."""
    if len(evidence.outputs) != 1:
        return None
    (array,) = evidence.outputs.values()
    if array.ndim != 3 or array.dtype.kind != "f" or not array.size:
        return None
    _, first, last = array.shape
    cells = count_cells(evidence.width, evidence.height)
    classes = len(evidence.labels)
    if first == cells and last >= 6:
        if _looks_like_nanodet(array[0], classes):
            return _nanodet(evidence)
        return _yolox(evidence, array)
    letterbox = pixels(evidence, UNIT, resize="letterbox")
    texts = {
        "input.color": f"assumed RGB, as YOLO exporters use; {CHECK_IT}",
        "input.mean": "assumed pixels from 0 to 1, as YOLO exporters use",
    }
    if first == 3 * cells and last >= 6:
        return Proposal("YOLOv5 or YOLOv7", "detection", "yolov5", {}, letterbox).assuming(texts)
    if last == cells and 5 <= first < last:
        settings = {"layout": "channels_first"}
        return Proposal("YOLOv8", "detection", "yolov8", settings, letterbox).assuming(texts)
    if last == 6 and first <= _MAX_ROWS and _has_class_numbers(array):
        settings = {"layout": "end_to_end"}
        return Proposal("YOLO, end to end", "detection", "yolov8", settings, letterbox).assuming(
            {
                "decoder.layout": "columns assumed to be x1, y1, x2, y2, score, class with classes "
                "from 0; for those of effdet, from 1, use --decoder effdet",
                **texts,
            }
        )
    return None


def _has_class_numbers(array: NDArray[Any]) -> bool:
    """Tell whether the last two columns are scores and class numbers."""
    scores, numbers = array[..., 4], array[..., 5]
    return are_within_unit(scores) and bool((numbers == np.round(numbers)).all())


def _looks_like_nanodet(rows: NDArray[Any], classes: int) -> bool:
    """Tell whether a row is class scores and four distributions, instead of a box and scores."""
    width = rows.shape[1]
    if classes:
        return width != 5 + classes and (width - classes) % 4 == 0 and width - classes >= 8
    return bool(width > 32 and are_within_unit(rows[:, :-32]) and rows[:, -32:].min() < 0)


def _nanodet(evidence: Evidence) -> Proposal:
    scale = {"mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]}
    settings = {"sigmoid_scores": True, "cell_offset": 0.0}
    image = pixels(evidence, scale, resize="letterbox") | {"color": "BGR"}
    return Proposal("NanoDet", "detection", "nanodet", settings, image).assuming(
        {
            "input.color": f"assumed BGR, as NanoDet uses; {CHECK_IT}",
            "decoder.cell_offset": "assumed 0 for NanoDet-Plus; NanoDet has 0.5",
        }
    )


def _yolox(evidence: Evidence, array: NDArray[Any]) -> Proposal:
    # Decoded centres lie all over the image; offsets from the cells stay within a few cells.
    spread = max(np.ptp(array[..., 0]), np.ptp(array[..., 1]))
    is_decoded = bool(spread > max(evidence.width, evidence.height) / 2)
    image = pixels(evidence, RAW, resize="letterbox", letterbox_align="top_left")
    return Proposal(
        "YOLOX", "detection", "yolox", {"decoded": is_decoded}, image | {"color": "BGR"}
    ).assuming(
        {
            "input.color": f"assumed BGR, as YOLOX uses; {CHECK_IT}",
            "input.mean": "assumed pixels from 0 to 255, as YOLOX uses since its version 0.1.1",
        }
    )


def propose_map(evidence: Evidence) -> Proposal | None:
    """Propose for an output that covers the image: class scores, class numbers, a mask, a depth."""
    name = _only(evidence, _is_map, "out", "mask", "seg", "depth", "disp")
    if name is None:
        return None
    array = evidence.outputs[name]
    several = len(evidence.outputs) > 1
    operator = evidence.summary.output_operators.get(name, "")
    image = pixels(evidence, preprocessor_scale(evidence, IMAGENET), resize="stretch")
    texts = {"input.color": _RGB, "input.mean": _IMAGENET}
    is_scores = array.ndim == 4 and 1 not in (array.shape[1], array.shape[3])
    sizes = {each.shape[2:] for each in evidence.outputs.values() if each.ndim == 4}
    if is_scores and len(sizes) >= _MIN_LEVELS:
        return None
    is_depth = any(word in f"{name} {evidence.stem}".lower() for word in ("depth", "disp", "midas"))
    is_mask = array.dtype.kind in "biu" or (operator == "Sigmoid" and not is_depth)
    if is_scores or is_mask:
        settings: dict[str, Any] = {"mask_output": name} if several else {}
        if is_scores and operator == "Softmax":
            settings["activation"] = "none"
        return Proposal(
            "segmentation",
            "segmentation",
            "segmentation",
            settings,
            image,
            evidence.sidecars.labels,
        ).assuming(texts)
    settings = {"unit": "inverse"} | ({"depth_output": name} if several else {})
    return Proposal("depth", "depth", "depth", settings, image).assuming(
        {
            "decoder.unit": "assumed inverse: larger values are nearer, as of MiDaS and Depth "
            "Anything; set it to m for metres, or to relative",
            **texts,
        }
    )


def _only(evidence: Evidence, fits: Any, *words: str) -> str | None:
    """Return the output that fits; of several, the first with one of the words in its name."""
    found = [name for name, array in evidence.outputs.items() if fits(array)]
    named = [name for name in found if any(word in name.lower() for word in words)]
    return next(iter(named or found), None)


def _are_boxes(array: NDArray[Any]) -> bool:
    """Tell whether an output has four coordinates for each of several objects."""
    return array.ndim in (2, 3) and array.shape[-1] == 4 and array.shape[-2] > 1


def _is_vector(array: NDArray[Any]) -> bool:
    is_row = array.ndim == 2 and array.shape[0] == 1 and array.shape[1] >= 2
    is_pooled = array.ndim == 4 and array.size == max(array.shape) >= 2
    return array.dtype.kind == "f" and (is_row or is_pooled)


def _is_map(array: NDArray[Any]) -> bool:
    """Tell whether the last axes are a height and a width, at least a few pixels of each."""
    if array.ndim == 3:
        return array.size > 0 and min(array.shape[1:]) >= 8
    if array.ndim != 4 or not array.size:
        return False
    is_first = array.shape[1] <= min(array.shape[2:])
    return min(array.shape[2:] if is_first else array.shape[1:3]) >= 8
