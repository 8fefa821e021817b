"""Exports of other tools: RT-DETR, D-FINE, SSD, EfficientDet, DeepLab, depth, classification."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto

from exports.graph import BLUE, COCO, RED, SHARPNESS, Graph, cell_boxes, centered

#: ImageNet's mean and std for 0 to 255.
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
_FLOAT, _INT64, _UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8
_SIDE, _CELL, _CELLS = 640, 32, 400


def write_deployed_detr(file: Path) -> Path:
    """Write RT-DETR and D-FINE with their postprocessor: boxes are scaled by a second input."""
    graph = Graph()
    cells = graph.cells(graph.redness("images", [0.0], [255.0]), _CELL, _CELLS)
    unit = cell_boxes(_SIDE, _SIDE, _CELL) / _SIDE
    boxes, scores, numbers = graph.top(*graph.best(cells), unit, 300)
    sizes = graph.add("Cast", "orig_target_sizes", to=_FLOAT)
    sizes = graph.add("Tile", sizes, graph.constant(np.array([1, 2], np.int64)))
    sizes = graph.add("Unsqueeze", sizes, graph.constant(np.array([1], np.int64)))
    graph.rename(graph.add("Cast", numbers, to=_INT64), "labels")
    graph.rename(graph.add("Mul", boxes, sizes), "boxes")
    graph.rename(scores, "scores")
    return graph.save(
        file,
        {
            "images": (_FLOAT, ["N", 3, _SIDE, _SIDE]),
            "orig_target_sizes": (_INT64, ["N", 2]),
        },
        {
            "labels": (_INT64, ["N", 300]),
            "boxes": (_FLOAT, ["N", 300, 4]),
            "scores": (_FLOAT, ["N", 300]),
        },
        opset=16,
    )


def write_transformers_rtdetr(file: Path) -> Path:
    """Write RT-DETR of Transformers: class logits, and config.json beside it."""
    graph = Graph()
    cells = graph.cells(graph.redness("pixel_values", [0.0], [255.0]), _CELL, _CELLS)
    scores = graph.add("Transpose", graph.class_scores(cells, 80), perm=[0, 2, 1])
    # The inverse of the sigmoid, for scores away from 0 and 1.
    clipped = graph.add(
        "Clip", scores, graph.constant(np.float32(0.01)), graph.constant(np.float32(0.99))
    )
    rest = graph.add("Sub", graph.constant(np.float32(1)), clipped)
    logits = graph.add("Log", graph.add("Div", clipped, rest))
    used = graph.constant(np.arange(100, 400, dtype=np.int64))
    graph.rename(graph.add("Gather", logits, used, axis=1), "logits")
    boxes = (centered(cell_boxes(_SIDE, _SIDE, _CELL)) / _SIDE)[None, 100:]
    graph.rename(graph.constant(boxes), "pred_boxes")
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "config.json").write_text(
        json.dumps(
            {
                "architectures": ["RTDetrForObjectDetection"],
                "model_type": "rt_detr",
                "id2label": {str(number): name for number, name in enumerate(COCO)},
                "label2id": {name: number for number, name in enumerate(COCO)},
            }
        )
    )
    (file.parent / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "do_normalize": False,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
                "rescale_factor": 0.00392156862745098,
                "size": {"height": 640, "width": 640},
            }
        )
    )
    return graph.save(
        file,
        {"pixel_values": (_FLOAT, ["batch_size", 3, "height", "width"])},
        {
            "logits": (_FLOAT, ["batch_size", "num_queries", 80]),
            "pred_boxes": (_FLOAT, ["batch_size", "num_queries", 4]),
        },
        opset=16,
    )


def _read_uint8(graph: Graph, name: str) -> str:
    planes = graph.add("Transpose", graph.add("Cast", name, to=_FLOAT), perm=[0, 3, 1, 2])
    return graph.redness(planes, [0.0], [1.0])


def write_tensorflow_ssd(file: Path) -> Path:
    """Write an SSD of the TensorFlow Object Detection API through tf2onnx: classes from 1."""
    graph = Graph()
    cells = graph.cells(_read_uint8(graph, "input_tensor"), 30, 100)
    unit = cell_boxes(300, 300, 30)[:, [1, 0, 3, 2]] / 300
    boxes, scores, numbers = graph.top(*graph.best(cells, RED + 1, BLUE + 1), unit, 100)
    for name, output in (
        (boxes, "detection_boxes"),
        (numbers, "detection_classes"),
        (scores, "detection_scores"),
        (graph.constant(np.array([100], np.float32)), "num_detections"),
    ):
        graph.rename(name, output)
    return graph.save(
        file,
        {"input_tensor": (_UINT8, [1, 300, 300, 3])},
        {
            "detection_boxes": (_FLOAT, [1, 100, 4]),
            "detection_classes": (_FLOAT, [1, 100]),
            "detection_scores": (_FLOAT, [1, 100]),
            "num_detections": (_FLOAT, [1]),
        },
        producer="tf2onnx",
        opset=13,
    )


def write_pytorch_ssd(file: Path) -> Path:
    """Write SSD-Mobilenet of pytorch-ssd and jetson-inference: priors with a softmax."""
    graph = Graph()
    cells = graph.cells(graph.redness("input_0", [127.0], [128.0]), 30, 100)
    scores = graph.add("Transpose", graph.class_scores(cells, 20), perm=[0, 2, 1])
    rest = graph.add("ReduceSum", scores, graph.constant(np.array([2], np.int64)))
    background = graph.add("Sub", graph.constant(np.float32(1)), rest)
    graph.rename(graph.add("Concat", background, scores, axis=2), "scores")
    graph.rename(graph.constant(cell_boxes(300, 300, 30)[None] / 300), "boxes")
    return graph.save(
        file,
        {"input_0": (_FLOAT, [1, 3, 300, 300])},
        {"scores": (_FLOAT, [1, 100, 21]), "boxes": (_FLOAT, [1, 100, 4])},
        opset=13,
    )


def write_efficientdet(file: Path) -> Path:
    """Write EfficientDet of google/automl: [1, 100, 7], image, y1, x1, y2, x2, score, class."""
    graph = Graph()
    cells = graph.cells(_read_uint8(graph, "image_arrays:0"), 32, 256)
    corners = cell_boxes(512, 512, 32)[:, [1, 0, 3, 2]]
    boxes, scores, numbers = graph.top(*graph.best(cells, RED + 1, BLUE + 1), corners, 100)
    columns = [graph.reshape(name, 1, 100, 1) for name in (scores, numbers)]
    image = graph.constant(np.zeros((1, 100, 1), np.float32))
    graph.rename(graph.add("Concat", image, boxes, *columns, axis=2), "detections:0")
    return graph.save(
        file,
        {"image_arrays:0": (_UINT8, [1, 512, 512, 3])},
        {"detections:0": (_FLOAT, [1, 100, 7])},
        producer="tf2onnx",
        opset=13,
    )


def write_deeplab(file: Path) -> Path:
    """Write DeepLabV3 of torchvision: logits of 21 classes, and those of the auxiliary head."""
    graph = Graph()
    side = 520
    planes = graph.reshape(graph.redness("input", MEAN, STD), 1, 2, side * side)
    scores = graph.class_scores(planes, 21)
    bias = np.zeros((21, 1), np.float32)
    bias[0] = 0.05  # the background: less than what a wrong mean would add
    logits = graph.add("Add", scores, graph.constant(bias))
    graph.rename(graph.reshape(logits, 1, 21, side, side), "out")
    auxiliary = graph.reshape(graph.add("Neg", logits), 1, 21, side, side)
    graph.rename(auxiliary, "aux")
    shape = [1, 21, side, side]
    return graph.save(
        file,
        {"input": (_FLOAT, [1, 3, side, side])},
        {"out": (_FLOAT, shape), "aux": (_FLOAT, shape)},
    )


def write_depth(file: Path) -> Path:
    """Write Depth Anything of Transformers: the redder, the nearer, at half the resolution."""
    graph = Graph()
    planes = graph.redness("pixel_values", MEAN, STD)
    red = graph.add("Gather", planes, graph.constant(np.array([0], np.int64)), axis=1)
    pooled = graph.add("AveragePool", red, kernel_shape=[2, 2], strides=[2, 2])
    graph.rename(graph.reshape(pooled, 1, 259, 259), "predicted_depth")
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "config.json").write_text(
        json.dumps(
            {"architectures": ["DepthAnythingForDepthEstimation"], "model_type": "depth_anything"}
        )
    )
    (file.parent / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "do_normalize": True,
                "do_rescale": True,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
                "rescale_factor": 0.00392156862745098,
                "size": {"height": 518, "width": 518},
            }
        )
    )
    return graph.save(
        file,
        {"pixel_values": (_FLOAT, ["batch_size", 3, 518, 518])},
        {"predicted_depth": (_FLOAT, ["batch_size", 259, 259])},
    )


def write_torchvision_classifier(file: Path) -> Path:
    """Write logits [1, 1000] of torchvision, with any batch."""
    graph = Graph()
    planes = graph.redness("input", MEAN, STD)
    means = graph.reshape(graph.add("GlobalAveragePool", planes), 1, 2, 1)
    logits = graph.reshape(graph.class_scores(means, 1000), 1, 1000)
    graph.rename(graph.add("Mul", logits, graph.constant(np.float32(SHARPNESS))), "output")
    return graph.save(
        file,
        {"input": (_FLOAT, ["batch_size", 3, 224, 224])},
        {"output": (_FLOAT, ["batch_size", 1000])},
    )
