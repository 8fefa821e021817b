"""Exports of Ultralytics, of the YOLOv5 repository, and of YOLOX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from exports.graph import COCO, SHARPNESS, Graph, cell_boxes, centered

_SIDE = 640
_CELL = 32
_CELLS = (_SIDE // _CELL) ** 2
_IMAGES = {"images": (TensorProto.FLOAT, [1, 3, _SIDE, _SIDE])}
_NAMES = dict(enumerate(COCO))


def ultralytics_metadata(model: str, task: str, **more: object) -> dict[str, object]:
    """Return what the exporter of Ultralytics writes."""
    return {
        "description": f"Ultralytics {model} model trained on coco.yaml",
        "author": "Ultralytics",
        "date": "2025-11-03T10:12:31.415926",
        "version": "8.3.225",
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "docs": "https://docs.ultralytics.com",
        "stride": 32,
        "task": task,
        "batch": 1,
        "imgsz": [_SIDE, _SIDE],
        "names": _NAMES,
        "args": {"batch": 1, "half": False, "dynamic": False, "simplify": True, "nms": False},
        "channels": 3,
        **more,
    }


def write_yolov5(file: Path) -> Path:
    """Write [1, 25200, 85], with three anchors for each cell of the strides 8, 16 and 32."""
    graph = Graph()
    cells = graph.cells(graph.redness("images", [0.0], [255.0]), _CELL, _CELLS)
    scores = graph.add("Transpose", graph.class_scores(cells, 80), perm=[0, 2, 1])
    boxes = np.ones((1, _CELLS, 5), np.float32)
    boxes[0, :, :4] = centered(cell_boxes(_SIDE, _SIDE, _CELL))
    rows = graph.add("Concat", graph.constant(boxes), scores, axis=2)
    # Only the last anchor of the largest stride finds anything.
    pads = graph.constant(np.array([0, 25200 - _CELLS, 0, 0, 0, 0], np.int64))
    graph.rename(graph.add("Pad", rows, pads), "output0")
    outputs = {"output0": (TensorProto.FLOAT, [1, 25200, 85])}
    return graph.save(file, _IMAGES, outputs, {"stride": 32, "names": _NAMES}, opset=12)


def write_yolov8(file: Path, model: str = "YOLOv8n") -> Path:
    """Write [1, 84, 8400] of YOLOv8 and YOLO11."""
    graph = Graph()
    cells = graph.cells(graph.redness("images", [0.0], [255.0]), _CELL, _CELLS)
    boxes = centered(cell_boxes(_SIDE, _SIDE, _CELL)).T[None]
    rows = graph.add("Concat", graph.constant(boxes), graph.class_scores(cells, 80), axis=1)
    pads = graph.constant(np.array([0, 0, 8400 - _CELLS, 0, 0, 0], np.int64))
    graph.rename(graph.add("Pad", rows, pads), "output0")
    outputs = {"output0": (TensorProto.FLOAT, [1, 84, 8400])}
    metadata = ultralytics_metadata(model, "detect", end2end=False)
    return graph.save(file, _IMAGES, outputs, metadata)


def write_yolo11(file: Path) -> Path:
    """Write a YOLO11, which differs from YOLOv8 by its description only."""
    return write_yolov8(file, "YOLO11n")


def write_yolo26(file: Path) -> Path:
    """Write [1, 300, 6]: x1, y1, x2, y2, score, class without suppression."""
    graph = Graph()
    cells = graph.cells(graph.redness("images", [0.0], [255.0]), _CELL, _CELLS)
    boxes, scores, numbers = graph.top(*graph.best(cells), cell_boxes(_SIDE, _SIDE, _CELL), 300)
    columns = [graph.reshape(name, 1, 300, 1) for name in (scores, numbers)]
    graph.rename(graph.add("Concat", boxes, *columns, axis=2), "output0")
    outputs = {"output0": (TensorProto.FLOAT, [1, 300, 6])}
    metadata = ultralytics_metadata("YOLO26n", "detect", head="Detect", end2end=True)
    return graph.save(file, _IMAGES, outputs, metadata)


def write_yolov8_cls(file: Path) -> Path:
    """Write [1, 1000], after a softmax."""
    graph = Graph()
    planes = graph.redness("images", [0.0], [255.0])
    means = graph.reshape(graph.add("GlobalAveragePool", planes), 1, 2, 1)
    logits = graph.reshape(graph.class_scores(means, 1000), 1, 1000)
    logits = graph.add("Mul", logits, graph.constant(np.float32(SHARPNESS)))
    graph.rename(graph.add("Softmax", logits, axis=1), "output0")
    metadata = ultralytics_metadata(
        "YOLOv8n-cls", "classify", stride=1, imgsz=[224, 224],
        names={number: f"class {number}" for number in range(1000)},
    )  # fmt: skip
    return graph.save(
        file,
        {"images": (TensorProto.FLOAT, [1, 3, 224, 224])},
        {"output0": (TensorProto.FLOAT, [1, 1000])},
        metadata,
    )


def write_yolox(file: Path) -> Path:
    """Write [1, 8400, 85] of grid offsets; YOLOX writes no metadata, and takes BGR of 0 to 255."""
    graph = Graph()
    cells = graph.cells(graph.redness("images", [0.0], [1.0], bgr=True), _CELL, _CELLS)
    scores = graph.add("Transpose", graph.class_scores(cells, 80), perm=[0, 2, 1])
    # The centre of the cell, exp(0) cells wide and high, and an object everywhere.
    row = np.array([0.5, 0.5, 0.0, 0.0, 1.0], np.float32)
    rows = graph.add("Concat", graph.constant(np.tile(row, (1, _CELLS, 1))), scores, axis=2)
    pads = graph.constant(np.array([0, 8400 - _CELLS, 0, 0, 0, 0], np.int64))
    graph.rename(graph.add("Pad", rows, pads), "output")
    outputs = {"output": (TensorProto.FLOAT, [1, 8400, 85])}
    return graph.save(file, _IMAGES, outputs, opset=11)


def write_ultralytics_rtdetr(file: Path) -> Path:
    """Write [1, 300, 84]: normalized centres and sizes, and class scores after the sigmoid."""
    graph = Graph()
    cells = graph.cells(graph.redness("images", [0.0], [255.0]), _CELL, _CELLS)
    _, index = graph.add_many(
        "TopK", 2, graph.best(cells)[0], graph.constant(np.array([300], np.int64)), axis=1
    )
    boxes = centered(cell_boxes(_SIDE, _SIDE, _CELL)) / _SIDE
    scores = graph.add("Transpose", graph.class_scores(cells, 80), perm=[0, 2, 1])
    rows = graph.add("Concat", graph.constant(boxes[None]), scores, axis=2)
    flat = graph.reshape(index, 300)
    graph.rename(graph.add("Gather", rows, flat, axis=1), "output0")
    outputs = {"output0": (TensorProto.FLOAT, [1, 300, 84])}
    return graph.save(file, _IMAGES, outputs, ultralytics_metadata("rtdetr-l", "detect"))
