"""Model folders whose network runs, but does not fit what model.yaml says, each for one cause."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
_YAML = """task: {task}
license: MIT
input: {{name: {name}, color: RGB, width: {size}, height: {size}, resize: stretch{more_input}}}
decoder: {{name: {decoder}{more_decoder}}}
labels: {labels}
variants: {{fp32: {{file: net.onnx, sha256: {sha256}}}}}
{more}
"""
_RANDOM = np.random.default_rng(0)
Outputs = Mapping[str, NDArray[np.float32]]


class Described(NamedTuple):
    """A network with constant outputs, and its description; the defaults fit each other."""

    outputs: Outputs
    image: tuple[int, list[int | str]] = (FLOAT, [1, 3, 32, 32])
    second_input: str = ""
    task: str = "detection"
    name: str = "x"
    size: int = 32
    more_input: str = ""
    decoder: str = "yolov8"
    more_decoder: str = ""
    labels: str = "[a, b, c]"
    more: str = ""

    def write(self, folder: Path) -> Path:
        """Write the model folder and return it."""
        folder.mkdir()
        data = _network(self).SerializeToString()
        (folder / "net.onnx").write_bytes(data)
        values = self._asdict() | {"sha256": hashlib.sha256(data).hexdigest()}
        (folder / "model.yaml").write_text(_YAML.format_map(values))
        return folder


def _network(described: Described) -> onnx.ModelProto:
    """Return a network that adds nothing of the image to its outputs."""
    nodes = [
        helper.make_node("Cast", ["x"], ["numbers"], to=FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants = [numpy_helper.from_array(np.float32(0), "zero")]
    outputs = []
    for name, values in described.outputs.items():
        constants.append(numpy_helper.from_array(values, f"{name}_values"))
        nodes.append(helper.make_node("Add", [f"{name}_values", "nothing"], [name]))
        outputs.append(helper.make_tensor_value_info(name, FLOAT, values.shape))
    inputs = [helper.make_tensor_value_info("x", *described.image)]
    if described.second_input:
        sizes = helper.make_tensor_value_info(described.second_input, TensorProto.INT64, [1, 2])
        nodes.append(helper.make_node("Identity", [described.second_input], ["unused"]))
        inputs.append(sizes)
    graph = helper.make_graph(nodes, "network", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _scores(*shape: int) -> NDArray[np.float32]:
    return _RANDOM.random(shape).astype(np.float32)


def _logits(*shape: int) -> NDArray[np.float32]:
    return _scores(*shape) * 20 - 10


def _boxes(*shape: int) -> NDArray[np.float32]:
    """Return boxes of 16 by 16 pixels in the middle, as center and size along the second axis."""
    return np.full(shape, 16, np.float32)


def _columns(*parts: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the output of YOLOv8: [1, 4 + C, N]."""
    return {"o": np.concatenate(parts, 1)}


def _rows(*parts: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the output of YOLOv5: [1, N, 5 + C]."""
    return {"o": np.concatenate(parts, 2)}


YOLOV8 = _columns(_boxes(1, 4, 84), _scores(1, 3, 84))
YOLOV5 = _rows(_boxes(1, 84, 4), _scores(1, 84, 4))
CLASSES = {"o": _scores(1, 3)}

MODELS = {
    "good": Described(YOLOV8),
    "good with a size input": Described(
        YOLOV8, second_input="sizes", more="extra_inputs: {sizes: [[32, 32]]}"
    ),
    "input name": Described(YOLOV8, name="images"),
    "input size": Described(YOLOV8, size=64),
    "layout NHWC": Described(YOLOV8, image=(FLOAT, [1, 32, 32, 3])),
    "layout NCHW": Described(YOLOV8, more_input=", layout: NHWC"),
    "no batch axis": Described(YOLOV8, image=(FLOAT, [3, 32, 32])),
    "fixed batch": Described(YOLOV8, image=(FLOAT, [4, 3, 32, 32])),
    "uint8": Described(YOLOV8, image=(TensorProto.UINT8, [1, 3, 32, 32])),
    "float16": Described(YOLOV8, image=(TensorProto.FLOAT16, [1, 3, 32, 32])),
    "one channel": Described(YOLOV8, image=(FLOAT, [1, 1, 32, 32])),
    "four channels": Described(YOLOV8, image=(FLOAT, [1, 4, 32, 32])),
    "second input": Described(YOLOV8, second_input="sizes"),
    "value of no input": Described(YOLOV8, more="extra_inputs: {sizes: [[1, 2]]}"),
    "value of another shape": Described(
        YOLOV8, second_input="sizes", more="extra_inputs: {sizes: [[1, 2, 3]]}"
    ),
    "value of another type": Described(
        YOLOV8, second_input="sizes", more="extra_inputs: {sizes: [[1.5, 2]]}"
    ),
    "logits for yolov8": Described(_columns(_boxes(1, 4, 84), _logits(1, 3, 84))),
    "logits for yolov5": Described(_rows(_boxes(1, 84, 4), _logits(1, 84, 4)), decoder="yolov5"),
    "logits for yolox": Described(_rows(_boxes(1, 21, 4), _logits(1, 21, 4)), decoder="yolox"),
    "fewer labels": Described(YOLOV8, labels="[a, b]"),
    "more labels": Described(YOLOV8, labels="[a, b, c, d]"),
    "other number of classes": Described(
        {"o": _scores(1, 5)}, task="classification", decoder="classification"
    ),
    "masks": Described(
        _columns(_boxes(1, 4, 84), _scores(1, 35, 84)) | {"protos": _scores(1, 32, 8, 8)}
    ),
    "keypoints": Described(_columns(_boxes(1, 4, 84), _scores(1, 52, 84)), labels="[person]"),
    "oriented boxes": Described(_columns(_boxes(1, 4, 84), _scores(1, 4, 84))),
    "boxes from 0 to 1": Described(_columns(_scores(1, 4, 84), _scores(1, 3, 84))),
    "not finite": Described({"o": np.full((1, 7, 84), np.nan, np.float32)}),
    "yolov8 for yolov5": Described(YOLOV5),
    "yolov5 for yolov8": Described(YOLOV8, decoder="yolov5"),
    "nanodet for yolov8": Described(YOLOV8, decoder="nanodet"),
    "ssd for yolov8": Described(YOLOV8, decoder="ssd"),
    "detr for yolov8": Described(YOLOV8, decoder="detr"),
    "detection for classes": Described(CLASSES),
    "classification for boxes": Described(YOLOV8, task="classification", decoder="classification"),
    "segmentation for classes": Described(CLASSES, task="segmentation", decoder="segmentation"),
    "task of another decoder": Described(YOLOV8, task="segmentation"),
    "key of a decoder": Described(YOLOV8, more_decoder=", confidance: 0.3"),
    "key at the top": Described(YOLOV8, more="golde: []"),
    "name of a decoder": Described(YOLOV8, decoder="yolo8"),
    "key of the input": Described(YOLOV8, more_input=", heigth: 32"),
    "softmax in the network": Described(
        {"o": np.float32([[0.9, 0.05, 0.05]])}, task="classification", decoder="classification"
    ),
}
