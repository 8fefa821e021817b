"""Models of Ultralytics, and of the YOLOv5 repository: their metadata says almost everything."""

from __future__ import annotations

from edge_inference.core.exports.exporter_metadata import TASKS, ExporterMetadata
from edge_inference.core.exports.proposal import (
    CHECK_IT,
    UNIT,
    Evidence,
    Proposal,
    count_cells,
    is_softmax,
    pixels,
)
from edge_inference.errors import ModelError

_COLOR = f"assumed RGB, as exporters of Ultralytics use; {CHECK_IT}"
_YOLOV5_ANCHORS = 3
_MAX_END_TO_END = 3000


def propose_ultralytics(evidence: Evidence) -> Proposal | None:
    """Propose the description of a model of Ultralytics; None for another one.

    Raises ModelError for a task or outputs that no decoder reads.
    """
    metadata = evidence.metadata
    if metadata.author != "Ultralytics" and not (metadata.labels and metadata.stride):
        return None
    task = metadata.task or ("classify" if _is_classifier(evidence) else "detect")
    if not TASKS.get(task):
        raise ModelError(
            f"the metadata says that the task is {task!r:.80}, which no decoder of this package "
            "reads; export a model for detect, classify, semantic or depth, or name a decoder of "
            "your own with --decoder and --task"
        )
    propose = {"classify": _classifier, "semantic": _segmenter, "depth": _depth}.get(
        task, _detector
    )
    proposal = propose(evidence)
    return proposal.assuming({"input.color": _COLOR})


def _is_classifier(evidence: Evidence) -> bool:
    return all(array.ndim == 2 for array in evidence.outputs.values())


def _family(metadata: ExporterMetadata) -> str:
    """Return the name in the description: "Ultralytics YOLOv8n model trained on coco.yaml"."""
    words = metadata.description.split()
    if words[:1] == ["Ultralytics"] and len(words) > 1:
        return f"Ultralytics {words[1]}"
    return "Ultralytics" if metadata.author else "YOLOv5"


def _detector(evidence: Evidence) -> Proposal:
    metadata, family = evidence.metadata, _family(evidence.metadata)
    name, array = next(
        ((name, array) for name, array in evidence.outputs.items() if array.ndim == 3), ("", None)
    )
    if array is None:
        raise ModelError(
            f"the metadata says that the task is detect, but no output has three axes: "
            f"{', '.join(map(str, evidence.summary.outputs))}; name a decoder with --decoder"
        )
    boxes = {"boxes_output": name} if len(evidence.outputs) > 1 else {}
    classes = len(metadata.labels)
    _, first, last = array.shape
    letterbox = pixels(evidence, UNIT, resize="letterbox")
    is_detr = "rtdetr" in f"{metadata.head} {metadata.description}".lower()
    if is_detr and last == 6 != 4 + classes:
        rows = {"columns": ["cx", "cy", "w", "h", "score", "class"], "normalized": True}
        stretch = pixels(evidence, UNIT, resize="stretch")
        return Proposal(family, "detection", "detection_rows", rows, stretch, metadata.labels)
    if is_detr and last == 4 + classes:
        settings = {"layout": "channels_last", "normalized": True, "iou": 1.0, **boxes}
        stretch = pixels(evidence, UNIT, resize="stretch")
        return Proposal(family, "detection", "yolov8", settings, stretch, metadata.labels)
    if metadata.end2end or metadata.nms or (last == 6 != 4 + classes and first <= _MAX_END_TO_END):
        settings = {"layout": "end_to_end", **boxes}
        return Proposal(family, "detection", _yolo(family), settings, letterbox, metadata.labels)
    cells = count_cells(evidence.width, evidence.height)
    has_anchors = last == 5 + classes and first >= _YOLOV5_ANCHORS * cells
    if has_anchors or (not metadata.author and last == 5 + classes):
        return Proposal(family, "detection", "yolov5", boxes, letterbox, metadata.labels)
    layout = "channels_first" if first == 4 + classes else "channels_last"
    settings = {"layout": layout, **boxes}
    return Proposal(family, "detection", _yolo(family), settings, letterbox, metadata.labels)


def _yolo(family: str) -> str:
    return "yolo11" if "YOLO11" in family else "yolov8"


def _classifier(evidence: Evidence) -> Proposal:
    scores = next(iter(evidence.outputs.values()))
    activation = "none" if is_softmax(scores) else "softmax"
    scale = {"resize": "center_crop", "crop_fraction": 1.0}
    settings = {"activation": activation}
    family, labels = _family(evidence.metadata), evidence.metadata.labels
    return Proposal(
        family,
        "classification",
        "classification",
        settings,
        pixels(evidence, UNIT, **scale),
        labels,
    )


def _segmenter(evidence: Evidence) -> Proposal:
    family, labels = _family(evidence.metadata), evidence.metadata.labels
    scale = pixels(evidence, UNIT, resize="letterbox")
    return Proposal(family, "segmentation", "segmentation", {}, scale, labels)


def _depth(evidence: Evidence) -> Proposal:
    scale = pixels(evidence, UNIT, resize="stretch")
    family = _family(evidence.metadata)
    return Proposal(family, "depth", "depth", {"unit": "m"}, scale).assuming(
        {"decoder.unit": "assumed metres, as Ultralytics trains its depth models"}
    )
