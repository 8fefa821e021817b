"""A small classifier with one sensitive layer: only that layer cannot be quantized."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_inference.core.images.frame import Frame
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.optimize.calibrate import calibrate_model
from small_model import DESCRIPTION, SIDE, make_image

SENSITIVE = "sensitive"
CHANNELS = 8
_CALIBRATED = "derive:\n  calibration: calibration.json\n"


def load_sensitive(folder: Path, is_sensitive: bool = True, more: str = "") -> ModelDescription:
    """Write the model with its calibration, and load it.

    The sensitive layer has one huge weight in each channel. Its input is always 0, so it changes
    no result, but it uses up the int8 range of the channel.
    """
    _write(folder, _network(is_sensitive))
    calibration = calibrate_model(load_model(folder), make_images(6), "noise", "minmax")
    calibration.save(folder / "calibration.json")
    with (folder / "model.yaml").open("a") as description:
        description.write("\n" + _CALIBRATED + more)
    return load_model(folder)


def load_overflowing(folder: Path) -> ModelDescription:
    """Write a model whose values leave the range of fp16 twice, and load it."""
    up = np.full((CHANNELS, CHANNELS, 1, 1), 2e4)
    down = np.full((CHANNELS, CHANNELS, 1, 1), 1e-5)
    last = np.random.default_rng(3).uniform(-1, 1, (3, CHANNELS, 1, 1))
    weights = {"w1": np.ones((CHANNELS, 3, 1, 1)), "up1": up, "down1": down, "up2": up}
    weights |= {"down2": down, "w2": last}
    values = ["image", *(f"after_{name}" for name in weights)]
    nodes = [
        helper.make_node("Conv", [values[index], name], [values[index + 1]], name)
        for index, name in enumerate(weights)
    ]
    nodes.append(helper.make_node("GlobalAveragePool", [values[-1]], ["e"], "pool"))
    nodes.append(helper.make_node("Flatten", ["e"], ["logits"], "flatten"))
    return load_model(_write(folder, _model(nodes, weights)))


def make_images(count: int, first: int = 0) -> list[Frame]:
    """Return images of all three classes."""
    names = ("red", "green", "blue")
    return [Frame.from_array(make_image(first + n, names[n % 3])) for n in range(count)]


def _network(is_sensitive: bool) -> onnx.ModelProto:
    rng = np.random.default_rng(7)
    weights = {
        "w1": rng.uniform(-1, 1, (CHANNELS, 3, 1, 1)),
        "w2": rng.uniform(-0.2, 0.6, (CHANNELS, CHANNELS, 1, 1)),
        "w3": rng.uniform(-0.2, 0.6, (CHANNELS, CHANNELS, 1, 1)),
        "w4": rng.uniform(-1, 1, (3, CHANNELS, 1, 1)),
    }
    weights["w2"][0] = 0.0  # the first output channel is always 0
    if is_sensitive:
        weights["w3"][:, 0] = 2000.0
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["a_relu"], "first_relu"),
        helper.make_node("Conv", ["a_relu", "w2"], ["b"], "before"),
        helper.make_node("Relu", ["b"], ["b_relu"], "before_relu"),
        helper.make_node("Conv", ["b_relu", "w3"], ["c"], SENSITIVE),
        helper.make_node("Relu", ["c"], ["c_relu"], "sensitive_relu"),
        helper.make_node("Conv", ["c_relu", "w4"], ["d"], "last"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], "pool"),
        helper.make_node("Flatten", ["e"], ["logits"], "flatten"),
    ]
    return _model(nodes, weights)


def _model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "sensitive",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(array.astype(np.float32), n) for n, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _write(folder: Path, network: onnx.ModelProto) -> Path:
    folder.mkdir(parents=True)
    onnx.save(network, folder / "small.onnx")
    assert cv2.imwrite(str(folder / "golden.png"), make_image(1000))
    sha256 = hashlib.sha256((folder / "small.onnx").read_bytes()).hexdigest()
    text = DESCRIPTION.format(sha256=sha256, score=0.95, more="")
    (folder / "model.yaml").write_text(text)
    return folder
