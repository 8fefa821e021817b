"""A model folder for the user's package of test/extension_package: it always finds one person."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
KEYPOINTS = 17
#: Of the image, width and height in pixels: the input is stretched by 4 and 3.
IMAGE_SIZE = (128, 96)
SCORE = 0.75
DESCRIPTION = """\
task: keypoints
license: Apache-2.0
input: {{name: image, width: {side}, height: {side}, std: [255.0], resize: stretch}}
decoder: {{name: yolov8_pose, confidence: 0.5}}
labels: [person]
variants:
  fp32: {{file: pose.onnx, sha256: {sha256}}}
golden:
  - image: golden.png
    people:
      - {{score: {score}, points: {points}}}
"""


def tensor_points() -> NDArray[np.float32]:
    """Return the keypoints of the person as ``(17, 2)`` x, y in pixels of the model's input."""
    steps = np.arange(KEYPOINTS, dtype=np.float32)
    return np.stack([6 + steps, 4 + steps * 1.5], axis=1)


def source_points() -> NDArray[np.float32]:
    """Return the same in pixels of the image."""
    return tensor_points() * (np.array(IMAGE_SIZE, np.float32) / SIDE)


def raw_output(*scores: float) -> NDArray[np.float32]:
    """Return ``(1, 56, N)``: the person once for each score, at the same place."""
    points = tensor_points()
    row = np.concatenate([[16, 16, 20, 28], [0], np.insert(points, 2, 0.9, axis=1).ravel()])
    rows = np.tile(row.astype(np.float32), (len(scores), 1))
    rows[:, 4] = scores
    return rows.T[None]


def write_keypoints_model(folder: Path) -> Path:
    """Write the model folder, with an image."""
    folder.mkdir(parents=True)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "person"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pose",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 5 + 3 * KEYPOINTS, 2])],
        [
            numpy_helper.from_array(np.zeros((), np.float32), "zero"),
            # The second one is suppressed: the box is the same, and its score lower.
            numpy_helper.from_array(raw_output(0.6, SCORE), "person"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "pose.onnx")
    width, height = IMAGE_SIZE
    assert cv2.imwrite(str(folder / "golden.png"), np.full((height, width, 3), 90, np.uint8))
    (folder / "model.yaml").write_text(
        DESCRIPTION.format(
            side=SIDE,
            sha256=hashlib.sha256((folder / "pose.onnx").read_bytes()).hexdigest(),
            score=SCORE,
            points=source_points().ravel().tolist(),
        )
    )
    return folder
