"""Detectors whose exporters give the outputs names that say what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_inference.core.exports.proposal import (
    CHECK_IT,
    IMAGENET,
    UNIT,
    Evidence,
    Proposal,
    are_within_unit,
    is_softmax,
    pixels,
    read_numbers,
)

_CENTERED = {"mean": [127.5], "std": [127.5]}
_TENSORFLOW = f"assumed RGB, as TensorFlow uses; {CHECK_IT}"
_RGB = f"assumed RGB; {CHECK_IT}"


def propose_tensorflow(evidence: Evidence) -> Proposal | None:
    """Propose for the TensorFlow Object Detection API, EfficientDet and DeepLab of TensorFlow."""
    boxes = evidence.first("detection_boxes", axes=3)
    scores = evidence.first("detection_scores", axes=2)
    classes = evidence.first("detection_classes", axes=2)
    if boxes and scores and classes:
        settings: dict[str, Any] = {"box_order": "yxyx", "normalized": True, "background": True}
        settings |= {"boxes_output": boxes, "scores_output": scores, "classes_output": classes}
        count = next(evidence.named("num_detections"), None)
        if count is not None:
            settings["count_output"] = count
        stretch = pixels(evidence, _CENTERED, resize="stretch")
        family = "TensorFlow Object Detection API"
        return Proposal(family, "detection", "detection_lists", settings, stretch).assuming(
            {
                "input.color": _TENSORFLOW,
                "decoder.background": "assumed classes from 1, as in TensorFlow's label maps; set "
                "it to false for classes from 0",
            }
        )
    rows = evidence.first("detections", axes=3)
    if rows and evidence.outputs[rows].shape[2] == 7:
        settings = {"rows_output": rows} if len(evidence.outputs) > 1 else {}
        image = pixels(evidence, IMAGENET, resize="letterbox", letterbox_align="top_left")
        family = "EfficientDet (google/automl)"
        return Proposal(family, "detection", "efficientdet", settings, image).assuming(
            {
                "input.color": f"assumed RGB, as EfficientDet uses; {CHECK_IT}",
                "decoder.name": "assumed columns image, ymin, xmin, ymax, xmax, score, class with "
                "classes from 1, as google/automl exports them",
            }
        )
    mask = next(evidence.named("semanticpredictions"), None)
    if mask:
        settings = {"mask_output": mask} if len(evidence.outputs) > 1 else {}
        stretch = pixels(evidence, _CENTERED, resize="stretch")
        family = "DeepLab (TensorFlow)"
        return Proposal(family, "segmentation", "segmentation", settings, stretch).assuming(
            {"input.color": _TENSORFLOW}
        )
    return None


def propose_deployed_detr(evidence: Evidence) -> Proposal | None:
    """Propose for RT-DETR and D-FINE with their postprocessor, which takes the size as input."""
    sizes = [tensor.name for tensor in evidence.extra if "size" in tensor.name.lower()]
    outputs = {name.lower(): name for name in evidence.outputs}
    if not sizes or not {"labels", "boxes", "scores"} <= outputs.keys():
        return None
    settings = {
        "box_order": "xyxy",
        "normalized": False,
        "background": False,
        "boxes_output": outputs["boxes"],
        "scores_output": outputs["scores"],
        "classes_output": outputs["labels"],
    }
    stretch = pixels(evidence, UNIT, resize="stretch")
    family = "RT-DETR or D-FINE with its postprocessor"
    return Proposal(family, "detection", "detection_lists", settings, stretch).assuming(
        {
            "input.color": f"assumed RGB, as RT-DETR and D-FINE use; {CHECK_IT}",
            "input.mean": "assumed pixels from 0 to 1, as RT-DETR and D-FINE use",
            "extra_inputs": f"{sizes[0]} assumed to be width, height of the input, so that boxes "
            "are in its pixels",
        }
    )


def propose_paddle(evidence: Evidence) -> Proposal | None:
    """Propose for PaddleDetection: rows of class, score and box, and their number."""
    inputs = {tensor.name for tensor in evidence.extra}
    if not evidence.sidecars.paddle and not inputs & {"scale_factor", "im_shape"}:
        return None
    rows = [
        name
        for name, array in evidence.outputs.items()
        if array.ndim == 2 and array.shape[1] == 6 and array.dtype.kind == "f"
    ]
    if not rows:
        return None
    settings = {"rows_output": rows[0]} if len(evidence.outputs) > 1 else {}
    image = _paddle_input(evidence)
    labels = evidence.sidecars.labels
    proposal = Proposal(
        "PaddleDetection", "detection", "paddle_detection", settings, image, labels
    ).assuming(
        {
            "input.color": f"assumed RGB, as PaddleDetection uses; {CHECK_IT}",
            "extra_inputs": "assumed that boxes are to be in pixels of the input",
        }
    )
    if evidence.sidecars.paddle:
        return proposal
    text = "assumed pixels from 0 to 1; no infer_cfg.yml beside the file says more"
    return proposal.assuming({"input.mean": text})


def _paddle_input(evidence: Evidence) -> dict[str, Any]:
    """Return the keys of ``input`` by the steps of infer_cfg.yml."""
    steps = evidence.sidecars.paddle.get("Preprocess")
    listed = steps if isinstance(steps, list) else []
    by_type = {str(step.get("type")): step for step in listed if isinstance(step, Mapping)}
    resize, scale = by_type.get("Resize", {}), by_type.get("NormalizeImage", {})
    mean, std = read_numbers(scale.get("mean")), read_numbers(scale.get("std"))
    values: dict[str, Any] = dict(UNIT)
    if mean is not None and std is not None and scale.get("norm_type") != "none":
        factor = 255.0 if scale.get("is_scale", True) else 1.0
        values = {
            "mean": [round(value * factor, 4) for value in mean],
            "std": [round(value * factor, 4) for value in std],
        }
    keeps_ratio = bool(resize.get("keep_ratio"))
    align = {"letterbox_align": "top_left", "pad_value": 0} if keeps_ratio else {}
    return pixels(evidence, values, resize="letterbox" if keeps_ratio else "stretch", **align)


def propose_mmdeploy(evidence: Evidence) -> Proposal | None:
    """Propose for detectors of MMDeploy: ``dets`` with five columns, and ``labels``."""
    rows = evidence.first("dets", axes=3)
    if not rows or evidence.outputs[rows].shape[2] != 5 or "labels" not in evidence.outputs:
        return None
    scale = {"mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]}
    image = pixels(evidence, scale, resize="letterbox", letterbox_align="top_left")
    settings = {"rows_output": rows, "classes_output": "labels"}
    return Proposal("MMDeploy", "detection", "rtmdet", settings, image | {"color": "BGR"}).assuming(
        {
            "input.color": f"assumed BGR, as RTMDet uses; {CHECK_IT}",
            "input.mean": "assumed the mean and std of RTMDet; see the pipeline.json of MMDeploy",
        }
    )


def propose_suppressed(evidence: Evidence) -> Proposal | None:
    """Propose for models that end in non-maximum suppression: TensorRT, YOLOv7, torchvision."""
    letterbox = pixels(evidence, UNIT, resize="letterbox")
    texts = {
        "input.color": f"assumed RGB, as YOLO exporters use; {CHECK_IT}",
        "input.mean": "assumed pixels from 0 to 1, as YOLO exporters use",
    }
    outputs = {name.lower(): name for name in evidence.outputs}
    if {"det_boxes", "det_scores", "det_classes"} <= outputs.keys():
        family = "YOLOv6 or YOLOv7, end to end"
        return Proposal(family, "detection", "efficient_nms", {}, letterbox).assuming(texts)
    rows = [array for array in evidence.outputs.values() if array.ndim == 2]
    has_suppression = "NonMaxSuppression" in evidence.summary.operators
    if len(evidence.outputs) == 1 and rows and rows[0].shape[1] == 7 and has_suppression:
        family = "YOLOv7, end to end"
        texts["decoder.name"] = (
            "assumed columns batch, x1, y1, x2, y2, class, score, as YOLOv7 exports them"
        )
        return Proposal(family, "detection", "yolov7_end_to_end", {}, letterbox).assuming(texts)
    return _torchvision(evidence)


def _torchvision(evidence: Evidence) -> Proposal | None:
    """Propose for boxes ``[N, 4]``, class numbers ``[N]`` and scores ``[N]``.

    Masks and keypoints beside them are not decoded. torchvision's list of images becomes an
    input without a batch axis; the outputs of such a graph got theirs from this package.
    """
    has_batch_axis = len(evidence.image.shape or ()) == 4
    found: dict[str, list[str]] = {}
    for name, array in evidence.outputs.items():
        shape = array.shape if has_batch_axis else array.shape[1:]
        if len(shape) == 2 and shape[1] == 4 and array.dtype.kind == "f":
            found.setdefault("boxes_output", []).append(name)
        elif len(shape) == 1 and array.dtype.kind in "fi":
            kind = "scores_output" if array.dtype.kind == "f" else "classes_output"
            found.setdefault(kind, []).append(name)
    if len(found) != 3 or any(len(names) != 1 for names in found.values()):
        return None
    settings: dict[str, Any] = {key: name for key, (name,) in found.items()}
    background = "assumed classes from 1, as torchvision numbers them"
    if (evidence.outputs[settings["classes_output"]] == 0).any():
        settings["background"] = False
        background = "assumed classes from 0, since the model found one in the image"
    stretch = pixels(evidence, UNIT, resize="stretch")
    family = "torchvision detector"
    return Proposal(family, "detection", "torchvision", settings, stretch).assuming(
        {
            "input.color": f"assumed RGB, as torchvision uses; {CHECK_IT}",
            "input.mean": "assumed pixels from 0 to 1: torchvision's graphs normalize them",
            "decoder.background": background,
        }
    )


def propose_yolov4(evidence: Evidence) -> Proposal | None:
    """Propose for YOLOv4 with boxes ``[1, N, 1, 4]`` and scores ``[1, N, C]``."""
    boxes, scores = evidence.first("box", axes=4), evidence.first("conf", "score", axes=3)
    if boxes is None or scores is None or evidence.outputs[boxes].shape[2:] != (1, 4):
        return None
    settings = {"boxes_output": boxes, "scores_output": scores}
    image = pixels(evidence, UNIT, resize="stretch")
    return Proposal("YOLOv4", "detection", "yolov4", settings, image).assuming(
        {
            "input.color": f"assumed RGB, as YOLOv4 of PyTorch uses; {CHECK_IT}",
            "input.mean": "assumed pixels from 0 to 1, as YOLOv4 of PyTorch uses",
        }
    )


def propose_lists(evidence: Evidence) -> Proposal | None:
    """Propose for detectors with outputs of boxes, scores and perhaps labels."""
    names = evidence.outputs
    boxes = evidence.first("box", axes=3)
    if boxes is None or names[boxes].shape[2] != 4:
        return None
    scores = evidence.first("score", "conf", "prob", axes=3)
    labels = evidence.first("label", "class", axes=2)
    lists = evidence.first("score", axes=2)
    is_unit = are_within_unit(names[boxes])
    if scores is not None and not is_unit:
        outputs = {"boxes_output": boxes, "scores_output": scores}
        letterbox = pixels(evidence, UNIT, resize="letterbox")
        return Proposal("YOLO-NAS", "detection", "yolo_nas", outputs, letterbox).assuming(
            {
                "input.color": f"assumed RGB, as YOLO-NAS uses; {CHECK_IT}",
                "input.mean": f"assumed pixels from 0 to 1; {CHECK_IT}",
            }
        )
    if scores is not None:
        probabilities = is_softmax(names[scores])
        activation = "none" if probabilities or are_within_unit(names[scores]) else "softmax"
        settings = {
            "box_order": "xyxy",
            "normalized": True,
            "background": probabilities or activation == "softmax",
            "activation": activation,
            "boxes_output": boxes,
            "scores_output": scores,
        }
        scale = pixels(evidence, {"mean": [127.0], "std": [128.0]}, resize="stretch")
        return Proposal("SSD (PyTorch)", "detection", "ssd", settings, scale).assuming(
            {
                "input.color": _RGB,
                "input.mean": "assumed mean 127 and std 128, as pytorch-ssd and "
                f"jetson-inference use; {CHECK_IT}",
                "decoder.box_order": "assumed xyxy, as PyTorch's SSD uses",
            }
        )
    if labels is not None and lists is not None:
        settings = {
            "box_order": "xyxy",
            "normalized": is_unit,
            "background": not bool((names[labels] == 0).any()),
            "boxes_output": boxes,
            "scores_output": lists,
            "classes_output": labels,
        }
        scale = pixels(evidence, IMAGENET, resize="stretch")
        return Proposal("SSD with lists", "detection", "detection_lists", settings, scale).assuming(
            {
                "input.color": _RGB,
                "input.mean": f"assumed ImageNet's mean and std; {CHECK_IT}",
                "decoder.box_order": "assumed xyxy",
                "decoder.background": "assumed from the class numbers of one image; set it to "
                "false for classes from 0",
            }
        )
    return None
