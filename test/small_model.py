"""A model that takes milliseconds to quantize: it classifies by the brightest color channel."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LABELS = ("red", "green", "blue")
SIDE = 16
DESCRIPTION = """\
# Made for a test; every comment must survive.
task: classification
license: Apache-2.0

input:
  name: image  # the ONNX's own name
  color: RGB
  width: 16
  height: 16
  mean: [0.0]
  std: [255.0]
  resize: stretch

decoder:
  name: classification
  top_k: 3

labels: [red, green, blue]

variants:
  fp32:
    file: small.onnx
    sha256: {sha256}

golden:
  - image: golden.png
    classes:
      - {{label: green, score: {score:.3f}}}
{more}"""


def make_image(seed: int, brightest: str = "green") -> np.ndarray:
    """Return noise with one channel brighter than the others; (32, 48, 3) uint8 BGR."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 120, (32, 48, 3), dtype=np.uint8)
    image[:, :, 2 - LABELS.index(brightest)] += 100
    return image


def write_images(folder: Path, count: int) -> Path:
    """Make a folder with images of all three classes."""
    folder.mkdir(parents=True)
    for index in range(count):
        image = make_image(index, LABELS[index % 3])
        assert cv2.imwrite(str(folder / f"{index:03d}.png"), image)
    return folder


def write_model(folder: Path, more: str = "", scale: float = 1.0) -> Path:
    """Write the model folder; ``more`` is appended to model.yaml.

    ``scale`` multiplies the values between its two layers; the result does not change.
    """
    folder.mkdir(parents=True)
    mean_3x3 = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        mean_3x3[channel, channel] = scale / 9
    pointwise = np.eye(3, dtype=np.float32)[:, :, None, None] / scale * 12
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "second"),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "pool"),
        helper.make_node("Flatten", ["d"], ["logits"], "flatten"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(mean_3x3, "w1"), numpy_helper.from_array(pointwise, "w2")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "small.onnx")
    assert cv2.imwrite(str(folder / "golden.png"), make_image(1000))
    sha256 = hashlib.sha256((folder / "small.onnx").read_bytes()).hexdigest()
    text = DESCRIPTION.format(sha256=sha256, score=0.95, more=more)
    (folder / "model.yaml").write_text(text)
    return folder
