"""Models whose exporters give the outputs names that say what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_inference.core.proposals.proposal import (
    CHECK_IT,
    IMAGENET,
    RAW,
    UNIT,
    Evidence,
    Proposal,
    are_probabilities,
    are_within_unit,
    pixels,
)

#: Architectures of Transformers whose class scores are one sigmoid each, without "no object".
_SIGMOID = ("rtdetr", "rt_detr", "dfine", "d_fine", "deformable", "conditional", "deta")
#: Number of queries of DETR itself.
_DETR_QUERIES = 100


def propose_tensorflow(evidence: Evidence) -> Proposal | None:
    """Propose for the TensorFlow Object Detection API, EfficientDet and DeepLab of TensorFlow."""
    boxes = evidence.first("detection_boxes", axes=3)
    scores = evidence.first("detection_scores", axes=2)
    classes = evidence.first("detection_classes", axes=2)
    if boxes and scores and classes:
        settings: dict[str, Any] = {"box_order": "yxyx", "normalized": True}
        settings |= {"boxes_output": boxes, "scores_output": scores, "classes_output": classes}
        numbers = evidence.outputs[classes]
        is_from_zero = bool((numbers == 0).any())
        count = next(evidence.named("num_detections"), None)
        return Proposal(
            "TensorFlow Object Detection API",
            "detection",
            "ssd",
            {**settings, "background": not is_from_zero}
            | ({"count_output": count} if count is not None else {}),
            pixels(evidence, {"mean": [127.5], "std": [127.5]}, resize="stretch"),
        ).assuming(
            {
                "input.color": f"assumed RGB, as TensorFlow uses; {CHECK_IT}",
                "decoder.background": "classes assumed to be numbered from 1, as in TensorFlow's label "
                "maps; set it to false for numbers from 0",
            }
        )
    rows = evidence.first("detections", axes=3)
    if rows and evidence.outputs[rows].shape[2] == 7:
        return Proposal(
            "EfficientDet (AutoML)",
            "detection",
            "efficientdet",
            {"rows_output": rows} if len(evidence.outputs) > 1 else {},
            pixels(evidence, IMAGENET, resize="letterbox", letterbox_align="top_left"),
        ).assuming(
            {
                "input.color": f"assumed RGB, as EfficientDet uses; {CHECK_IT}",
                "decoder.name": "columns assumed to be image, ymin, xmin, ymax, xmax, score, class, "
                "classes from 1, as google/automl exports them",
            }
        )
    mask = next(evidence.named("semanticpredictions"), None)
    if mask:
        return Proposal(
            "DeepLab (TensorFlow)",
            "segmentation",
            "segmentation",
            {"mask_output": mask} if len(evidence.outputs) > 1 else {},
            pixels(evidence, {"mean": [127.5], "std": [127.5]}, resize="stretch"),
        ).assuming({"input.color": f"assumed RGB, as TensorFlow uses; {CHECK_IT}"})
    return None


def propose_detr(evidence: Evidence) -> Proposal | None:
    """Propose for DETR and its relatives: Transformers' outputs, or deployed RT-DETR and D-FINE."""
    logits, boxes = evidence.first("logit", axes=3), evidence.first("box", axes=3)
    if logits and boxes and evidence.outputs[boxes].shape[2] == 4:
        return _transformers_detr(evidence, logits, boxes)
    sizes = [tensor.name for tensor in evidence.extra if "size" in tensor.name.lower()]
    outputs = {name.lower(): name for name in evidence.outputs}
    if sizes and {"labels", "boxes", "scores"} <= outputs.keys():
        settings = {
            "box_order": "xyxy",
            "normalized": False,
            "background": False,
            "boxes_output": outputs["boxes"],
            "scores_output": outputs["scores"],
            "classes_output": outputs["labels"],
        }
        return Proposal(
            "RT-DETR or D-FINE with its postprocessor",
            "detection",
            "ssd",
            settings,
            pixels(evidence, UNIT, resize="stretch"),
        ).assuming(
            {
                "input.color": f"assumed RGB, as RT-DETR and D-FINE use; {CHECK_IT}",
                "input.mean": "assumed pixels from 0 to 1 without normalization, as RT-DETR and D-FINE use",
                "extra_inputs": f"{sizes[0]} assumed to be width, height of the input, so that boxes are "
                "in its pixels",
            }
        )
    return None


def _transformers_detr(evidence: Evidence, logits: str, boxes: str) -> Proposal:
    config = evidence.sidecars.transformers
    names = f"{config.get('architectures', '')} {config.get('model_type', '')}".lower()
    names = names or evidence.stem.lower()
    queries = evidence.outputs[logits].shape[1]
    is_sigmoid = any(word in names for word in _SIGMOID)
    if not config:
        is_sigmoid = is_sigmoid or queries != _DETR_QUERIES
    settings = {"activation": "sigmoid" if is_sigmoid else "softmax"}
    settings |= {"logits_output": logits, "boxes_output": boxes}
    scale = _preprocessor(evidence, UNIT if is_sigmoid else IMAGENET)
    labels = evidence.sidecars.labels
    proposal = Proposal("DETR (Transformers)", "detection", "detr", settings, scale, labels)
    proposal = proposal.assuming({"input.color": f"assumed RGB, as Transformers uses; {CHECK_IT}"})
    if config:
        return proposal
    return proposal.assuming(
        {
            "decoder.activation": f"assumed {settings['activation']} for {queries} queries; there is no "
            "config.json beside the file that names the architecture",
            "input.mean": "assumed; there is no preprocessor_config.json beside the file",
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
    color = f"assumed RGB; {CHECK_IT}"
    if scores is not None:
        probabilities = are_probabilities(names[scores])
        activation = "none" if probabilities or are_within_unit(names[scores]) else "softmax"
        settings = {
            "box_order": "xyxy",
            "normalized": is_unit,
            "background": probabilities or activation == "softmax",
            "activation": activation,
            "boxes_output": boxes,
            "scores_output": scores,
        }
        scale = pixels(evidence, {"mean": [127.0], "std": [128.0]}, resize="stretch")
        return Proposal("SSD (PyTorch)", "detection", "ssd", settings, scale).assuming(
            {
                "input.color": color,
                "input.mean": "assumed mean 127 and std 128, as pytorch-ssd and jetson-inference use; "
                + CHECK_IT,
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
        return Proposal("SSD with lists", "detection", "ssd", settings, scale).assuming(
            {
                "input.color": color,
                "input.mean": f"assumed ImageNet's mean and std; {CHECK_IT}",
                "decoder.box_order": "assumed xyxy",
                "decoder.background": "assumed from the class numbers of one image; set it to false if "
                "the classes are numbered from 0",
            }
        )
    return None


def propose_transformers(evidence: Evidence) -> Proposal | None:
    """Propose for depth, segmentation and classification models of Transformers."""
    depth = next(evidence.named("predicted_depth"), None)
    is_transformers = evidence.image.name == "pixel_values"
    if depth is not None:
        kind = evidence.sidecars.transformers.get("depth_estimation_type")
        unit = "m" if kind == "metric" or "zoe" in evidence.stem.lower() else "inverse"
        settings = {"unit": unit} | ({"depth_output": depth} if len(evidence.outputs) > 1 else {})
        scale = _preprocessor(evidence, IMAGENET)
        return Proposal("depth (Transformers)", "depth", "depth", settings, scale).assuming(
            {
                "input.color": f"assumed RGB, as Transformers uses; {CHECK_IT}",
                "decoder.unit": f"assumed {unit}: "
                + (
                    "metres"
                    if unit == "m"
                    else "larger values are nearer, as DPT and Depth Anything"
                ),
            }
        )
    logits = next(evidence.named("logits"), None)
    if not is_transformers or logits is None or evidence.outputs[logits].ndim != 4:
        return None
    return Proposal(
        "segmentation (Transformers)",
        "segmentation",
        "segmentation",
        {"mask_output": logits} if len(evidence.outputs) > 1 else {},
        _preprocessor(evidence, IMAGENET),
        evidence.sidecars.labels,
    ).assuming({"input.color": f"assumed RGB, as Transformers uses; {CHECK_IT}"})


def _preprocessor(evidence: Evidence, default: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of ``input`` by preprocessor_config.json, as far as it says."""
    return pixels(evidence, preprocessor_scale(evidence, default), resize="stretch")


def preprocessor_scale(evidence: Evidence, default: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return mean and std by preprocessor_config.json, the default without one."""
    values = evidence.sidecars.preprocessor
    if not values:
        return default
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    mean, std = _numbers(values.get("image_mean")), _numbers(values.get("image_std"))
    if not isinstance(factor, int | float) or not factor:
        return default
    if not values.get("do_normalize", mean is not None):
        return {"mean": [0.0], "std": [round(1 / factor, 6)]} if factor != 1 else RAW
    if mean is None or std is None:
        return default
    return {
        "mean": [round(value / factor, 4) for value in mean],
        "std": [round(value / factor, 4) for value in std],
    }


def _numbers(values: object) -> list[float] | None:
    if not isinstance(values, list) or len(values) not in (1, 3):
        return None
    return values if all(isinstance(value, int | float) for value in values) else None
