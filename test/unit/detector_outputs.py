"""Known boxes written the way each family of object detectors would give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_inference.core.decoders import DecodeContext
from edge_inference.core.images.geometry import Geometry
from yolo_head_outputs import (
    SIZE,
    YOLOV3_ANCHORS,
    YOLOV7_ANCHORS,
    logit,
    yolo_heads,
    yolo_heads_activated,
    yolo_heads_nhwc,
    yolo_heads_packed,
)

LABELS = ("cat", "dog", "person")
LETTERBOX = Geometry(1280, 720, 0.325, 0.325, 0.0, 91.0)
BOXES = np.array(
    [[100, 50, 300, 600], [640.5, 400.25, 900, 700], [1000, 10, 1270, 200]], np.float32
)
IDS = np.array([2, 1, 0])
SCORES = np.array([0.9, 0.75, 0.6], np.float32)
NOTHING = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))


def context(labels=LABELS, geometry=LETTERBOX):
    return DecodeContext(labels, geometry, SIZE, SIZE, "made-up")


def to_tensor(boxes, geometry=LETTERBOX):
    return geometry.points_to_tensor(boxes.reshape(-1, 2)).reshape(-1, 4)


def center_form(boxes):
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def one_hot(ids, scores, count, classes=3):
    table = np.zeros((count, classes), np.float32)
    table[np.arange(len(ids)), ids] = scores
    return table


def cells(stride):
    side = SIZE // stride
    return np.array([(x, y) for y in range(side) for x in range(side)], np.float32)


def place(box, taken, reach):
    """Find stride, index and cell for a box whose sides lie within ``reach`` cells."""
    center = (box[:2] + box[2:]) / 2
    for stride in (8, 16, 32):
        column, row = (center // stride).astype(int)
        index = row * (SIZE // stride) + column
        if (box[2:] - box[:2]).max() / 2 / stride < reach and (stride, index) not in taken:
            taken.add((stride, index))
            return stride, index, np.array([column, row], np.float32)
    raise AssertionError("no cell for this box")


def nanodet_levels(boxes, ids, scores, offset=0.5):
    made = {
        s: (np.zeros((len(cells(s)), 3), np.float32), np.zeros((len(cells(s)), 44), np.float32))
        for s in (8, 16, 32)
    }
    taken: set[tuple[int, int]] = set()
    for box, class_id, score in zip(boxes, ids, scores, strict=True):
        stride, index, cell = place(box, taken, 8.5)
        made[stride][0][index, class_id] = score
        center = (cell + offset) * stride
        reach = np.concatenate([center - box[:2], box[2:] - center]) / stride
        bins = np.full((4, 11), -40, np.float32)
        low = reach.astype(int)
        bins[np.arange(4), low] = np.log(1 - (reach - low) + 1e-12)
        bins[np.arange(4), low + 1] = np.log(reach - low + 1e-12)
        made[stride][1][index] = bins.ravel()
    return made


def nanodet(boxes, ids, scores):
    levels = nanodet_levels(boxes, ids, scores)
    outputs = {f"cls_s{s}": levels[s][0][None] for s in (32, 8, 16)}
    return outputs | {f"dis_s{s}": levels[s][1][None] for s in (32, 8, 16)}


def nanodet_unnamed(boxes, ids, scores):
    levels = nanodet_levels(boxes, ids, scores)
    parts = [levels[s][k][None] for s in (8, 16, 32) for k in (1, 0)]
    return {str(700 + i): part for i, part in enumerate(parts)}


def nanodet_logits(boxes, ids, scores):
    outputs = nanodet(boxes, ids, scores)
    return {
        name: logit(np.clip(array, 1e-4, 1)).astype(np.float32) if "cls" in name else array
        for name, array in outputs.items()
    }


def nanodet_plus(boxes, ids, scores):
    levels = nanodet_levels(boxes, ids, scores, offset=0.0)
    return {"out": np.concatenate([np.hstack(levels[s]) for s in (8, 16, 32)])[None]}


def rows(boxes, ids, scores, count=50):
    table = np.zeros((count, 4), np.float32)
    table[:] = (5, 5, 4, 4)
    table[: len(boxes)] = center_form(boxes)
    return table, one_hot(ids, scores, count)


def yolov5(boxes, ids, scores):
    table, classes = rows(boxes, ids, scores)
    objectness = np.full((len(table), 1), 0.01, np.float32)
    objectness[: len(boxes)] = 0.95
    return {"output0": np.hstack([table, objectness, classes / 0.95])[None]}


def yolov8(boxes, ids, scores):
    return {"output0": np.ascontiguousarray(np.hstack(rows(boxes, ids, scores)).T)[None]}


def yolov8_last(boxes, ids, scores):
    return {"output0": np.hstack(rows(boxes, ids, scores))[None]}


def yolov8_normalized(boxes, ids, scores):
    return {"output0": np.hstack(rows(boxes / SIZE, ids, scores))[None]}


def end_to_end(boxes, ids, scores):
    table = np.zeros((1, 300, 6), np.float32)
    table[0, : len(boxes)] = np.hstack([boxes, scores[:, None], ids[:, None]])
    return {"output0": table}


def yolox_decoded(boxes, ids, scores):
    table, classes = rows(boxes, ids, scores)
    return {"output": np.hstack([table, np.ones((len(table), 1), np.float32), classes])[None]}


def yolox(boxes, ids, scores):
    starts = {8: 0, 16: 2704, 32: 2704 + 676}
    table = np.zeros((2704 + 676 + 169, 8), np.float32)
    taken: set[tuple[int, int]] = set()
    for box, class_id, score in zip(boxes, ids, scores, strict=True):
        stride, index, cell = place(box, taken, 8.5)
        row = table[starts[stride] + index]
        row[:2] = (box[:2] + box[2:]) / 2 / stride - cell
        row[2:4] = np.log((box[2:] - box[:2]) / stride)
        row[4], row[5 + class_id] = 1, score
    return {"output": table[None]}


def ssd_boxes(boxes):
    table = np.zeros((50, 4), np.float32)
    table[: len(boxes)] = boxes[:, [1, 0, 3, 2]] / SIZE
    return table[None]


def ssd(boxes, ids, scores):
    return {
        "scores": one_hot(ids + 1, scores, 50, 4)[None],
        "boxes": ssd_boxes(boxes),
    }


def ssd_pixels(boxes, ids, scores):
    table = np.zeros((1, 50, 4), np.float32)
    table[0, : len(boxes)] = boxes
    return {"boxes": table, "scores": one_hot(ids, scores, 50)[None]}


def ssd_finished(boxes, ids, scores):
    classes, chances = np.ones((1, 50), np.float32), np.zeros((1, 50), np.float32)
    classes[0, : len(ids)], chances[0, : len(ids)] = ids + 1, scores
    # Rows past the count hold leftovers that must not be reported.
    chances[0, len(ids) :] = 0.99
    return {
        "detection_boxes:0": ssd_boxes(boxes),
        "detection_classes:0": classes,
        "detection_scores:0": chances,
        "num_detections:0": np.array([len(ids)], np.float32),
    }


def detr_boxes(boxes):
    table = np.full((100, 4), 0.01, np.float32)
    table[: len(boxes)] = center_form(boxes) / SIZE
    return table[None]


def detr(boxes, ids, scores):
    chances = np.full((100, 4), 1e-7, np.float32)
    chances[:, 3] = 1
    chances[: len(ids), 3] = 1 - scores
    chances[np.arange(len(ids)), ids] = scores
    return {"logits": np.log(chances)[None] + 7, "pred_boxes": detr_boxes(boxes)}


def detr_sigmoid(boxes, ids, scores):
    chances = np.clip(one_hot(ids, scores, 100), 1e-5, 1)
    return {"pred_logits": logit(chances)[None], "pred_boxes": detr_boxes(boxes)}


def rows_of(columns, boxes, ids, scores, count=50):
    """Return [1, count, K]: a row for each object, the others filled with zeros."""
    values = {
        "x1": boxes[:, 0],
        "y1": boxes[:, 1],
        "x2": boxes[:, 2],
        "y2": boxes[:, 3],
        "w": boxes[:, 2] - boxes[:, 0],
        "h": boxes[:, 3] - boxes[:, 1],
        "cx": (boxes[:, 0] + boxes[:, 2]) / 2,
        "cy": (boxes[:, 1] + boxes[:, 3]) / 2,
        "score": scores,
        "class": ids,
        "id": np.zeros(len(ids)),
    }
    table = np.zeros((1, count, len(columns)), np.float32)
    for index, name in enumerate(columns):
        table[0, : len(ids), index] = values[name]
    return table


def automl(boxes, ids, scores):
    table = rows_of(["id", "y1", "x1", "y2", "x2", "score", "class"], boxes, ids + 1, scores)
    return {"detections:0": table}


def effdet(boxes, ids, scores):
    table = rows_of(["x1", "y1", "x2", "y2", "score", "class"], boxes, ids + 1, scores)
    return {"detections": table}


def mmdeploy(boxes, ids, scores):
    labels = np.zeros((1, 50), np.int64)
    labels[0, : len(ids)] = ids
    return {
        "dets": rows_of(["x1", "y1", "x2", "y2", "score"], boxes, ids, scores),
        "labels": labels,
    }


def detection_output(boxes, ids, scores):
    columns = ["id", "class", "score", "x1", "y1", "x2", "y2"]
    table = rows_of(columns, boxes / SIZE, ids + 1, scores)
    table[0, len(ids), 0] = -1  # ends the list
    return {"detection_out": table[None]}


def centers_and_sizes(boxes, ids, scores):
    return {"out": rows_of(["cx", "cy", "w", "h", "score", "class"], boxes, ids, scores)}


def efficient_nms(boxes, ids, scores):
    classes, chances = np.zeros((1, 50), np.int32), np.zeros((1, 50), np.float32)
    table = np.zeros((1, 50, 4), np.float32)
    classes[0, : len(ids)], chances[0, : len(ids)] = ids, scores
    table[0, : len(ids)] = boxes
    # Rows past the count hold leftovers that must not be reported.
    chances[0, len(ids) :] = 0.99
    return {
        "num_dets": np.array([[len(ids)]], np.int32),
        "det_boxes": table,
        "det_scores": chances,
        "det_classes": classes,
    }


def rtdetr_deployed(boxes, ids, scores):
    outputs = efficient_nms(boxes, ids, scores)
    outputs["det_scores"][0, len(ids) :] = 0
    return {
        "labels": outputs["det_classes"].astype(np.int64),
        "boxes": outputs["det_boxes"],
        "scores": outputs["det_scores"],
    }


def tflite(boxes, ids, scores):
    outputs = efficient_nms(boxes, ids, scores)
    name = "TFLite_Detection_PostProcess"
    return {
        name: ssd_boxes(boxes),
        f"{name}:1": outputs["det_classes"].astype(np.float32),
        f"{name}:2": outputs["det_scores"],
        f"{name}:3": outputs["num_dets"][0].astype(np.float32),
    }


def yolov4(boxes, ids, scores):
    return {
        "boxes": (yolo_nas(boxes, ids, scores)["boxes"] / SIZE)[:, :, None],
        "confs": one_hot(ids, scores, 50)[None],
    }


def yolo_nas(boxes, ids, scores):
    table = np.zeros((1, 50, 4), np.float32)
    table[0, : len(boxes)] = boxes
    return {"boxes": table, "scores": one_hot(ids, scores, 50)[None]}


@dataclass(frozen=True)
class Family:
    decoder: str
    encode: Callable[..., dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)


FAMILIES = {
    "nanodet": Family("nanodet", nanodet),
    "nanodet by shape": Family("nanodet", nanodet_unnamed),
    "nanodet logits": Family("nanodet", nanodet_logits, {"sigmoid_scores": False}),
    "nanodet plus": Family("nanodet", nanodet_plus, {"cell_offset": 0.0}),
    "yolov5": Family("yolov5", yolov5),
    "yolov8": Family("yolov8", yolov8),
    "yolo11": Family("yolo11", yolov8),
    "yolov8 channels last": Family("yolov8", yolov8_last),
    "yolov8 normalized": Family("yolov8", yolov8_normalized, {"normalized": True}),
    "end to end": Family("yolov8", end_to_end),
    "yolox": Family("yolox", yolox),
    "yolox decoded": Family("yolox", yolox_decoded, {"decoded": True}),
    "ssd": Family("ssd", ssd),
    "ssd pixels": Family(
        "ssd", ssd_pixels, {"box_order": "xyxy", "normalized": False, "background": False}
    ),
    "ssd finished": Family("ssd", ssd_finished),
    "efficientdet": Family("efficientdet", automl),
    "effdet": Family("effdet", effdet),
    "rtmdet": Family("rtmdet", mmdeploy),
    "detection output": Family("detection_output", detection_output),
    "rows of centres": Family(
        "detection_rows",
        centers_and_sizes,
        {"columns": ["cx", "cy", "w", "h", "score", "class"]},
    ),
    "efficient nms": Family("efficient_nms", efficient_nms),
    "rt-detr deployed": Family("detection_lists", rtdetr_deployed),
    "tflite": Family("tflite_detection", tflite),
    "yolov4": Family("yolov4", yolov4),
    "yolo-nas": Family("yolo_nas", yolo_nas),
    "yolo26": Family("yolo26", end_to_end),
    "yolov5 heads": Family("yolov5_heads", yolo_heads(YOLOV3_ANCHORS)),
    "yolov5 heads packed": Family("yolov5_heads", yolo_heads_packed),
    "yolov5 heads nhwc": Family("yolov5_heads", yolo_heads_nhwc),
    "yolov5 heads activated": Family("yolov5_heads", yolo_heads_activated),
    "yolov7 heads": Family("yolov7_heads", yolo_heads(YOLOV7_ANCHORS)),
    "yolov3 heads": Family("yolov3_heads", yolo_heads(YOLOV3_ANCHORS, "yolov3")),
    "detr": Family("detr", detr),
    "detr sigmoid": Family("detr", detr_sigmoid, {"activation": "sigmoid"}),
}
