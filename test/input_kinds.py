"""Small models with every kind of input: a classifier, and a detector whose rows depend on data.

The classifier returns the mean of each channel, so its scores follow from a formula. The detector
returns a box for each cell of the image that is bright enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_inference.backends.base import Backend
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.results import Classification
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine_check import warm_up
from edge_inference.engines.serving.selection import prepare

RGB = (200, 100, 50)
HEIGHT, WIDTH = 8, 12
#: The logit of a channel of 255 everywhere.
GAIN = 4.0
#: The detector: cells in a row, pixels of a cell, its input's size, the lowest score it returns.
CELLS, CELL = 4, 8
SIDE = CELLS * CELL
THRESHOLD = 0.3
_SPATIAL = {"NCHW": [2, 3], "NHWC": [1, 2], "CHW": [1, 2], "HWC": [0, 1]}


def graph_shape(
    layout: str,
    channels: int,
    batch: int | str | None,
    size: tuple[int | str, int | str] = (HEIGHT, WIDTH),
) -> list[Any]:
    """Return the shape of the classifier's input."""
    lengths = {"N": batch, "C": channels, "H": size[0], "W": size[1]}
    return [lengths[letter] for letter in layout]


def write_classifier(
    folder: Path,
    *,
    layout: str = "NCHW",
    channels: int = 3,
    dtype: str = "float32",
    batch: int | str | None = 1,
    size: tuple[int | str, int | str] = (HEIGHT, WIDTH),
    extra: Mapping[str, tuple[str, Sequence[Any]]] | None = None,
    **changes: Any,
) -> Path:
    """Write the model folder. ``extra`` are further inputs: dtype and shape.

    The logits are the means of the channels times GAIN / 255, and times the sum of all values of
    each further input. ``changes`` are sections of model.yaml to replace or to merge into.
    """
    shape = graph_shape(layout, channels, batch, size)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=_SPATIAL[layout], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits0"], "last"),
    ]
    inputs = [_value("image", dtype, shape)]
    last = "logits0"
    for number, (name, (kind, extra_shape)) in enumerate((extra or {}).items(), start=1):
        inputs.append(_value(name, kind, extra_shape))
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", [f"{name}_float"], [f"{name}_sum"], keepdims=0),
            helper.make_node("Mul", [last, f"{name}_sum"], [f"logits{number}"]),
        ]
        last = f"logits{number}"
    nodes.append(helper.make_node("Identity", [last], ["logits"]))
    outputs = [_value("logits", "float32", [*shape[: layout.startswith("N")], channels])]
    weights = np.eye(channels, dtype=np.float32) * np.float32(GAIN / 255)
    description = {
        "task": "classification",
        "license": "Apache-2.0",
        "input": {
            "name": "image",
            "layout": layout,
            "width": WIDTH,
            "height": HEIGHT,
            "dtype": dtype,
        },
        "decoder": {"name": "classification", "top_k": channels},
        "labels": [f"c{channel}" for channel in range(channels)],
        **_merged(changes),
    }
    description["input"] = {**description["input"], **changes.get("input", {})}
    return _write(folder, nodes, inputs, outputs, {"weights": weights}, description)


def expected_scores(pixels: NDArray[Any], factor: float = 1.0) -> NDArray[np.float64]:
    """Return the classifier's scores of (H, W, C) pixels of one color, in tensor order."""
    logits = pixels.reshape(-1, pixels.shape[-1]).astype(np.float64).mean(axis=0) * GAIN / 255
    powers = np.exp(logits * factor - (logits * factor).max())
    return powers / powers.sum()


def write_detector(folder: Path, *, threshold: float = THRESHOLD, **changes: Any) -> Path:
    """Write a detector of bright cells: [1, N, 6] rows of x1, y1, x2, y2, score, class.

    N depends on the image. The boxes are scaled by the second input, ``orig_target_sizes``.
    """
    constants = {
        "threshold": np.array(threshold, np.float32),
        "one_over_cells": np.array(1 / CELLS, np.float32),
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.float32),
        "x_row": np.array([3], np.int64),
        "y_row": np.array([2], np.int64),
        "first": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["image", "gray"], ["brightness"], "gray_conv"),
        helper.make_node(
            "AveragePool", ["brightness"], ["cells"], kernel_shape=[CELL] * 2, strides=[CELL] * 2
        ),
        helper.make_node("Greater", ["cells", "threshold"], ["is_bright"]),
        helper.make_node("NonZero", ["is_bright"], ["indices"]),
        helper.make_node("Transpose", ["indices"], ["places"], perm=[1, 0]),
        helper.make_node("GatherND", ["cells", "places"], ["scores"]),
        helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["sizes", "first"], ["size"]),
        helper.make_node("Split", ["size"], ["size_x", "size_y"], axis=0),
    ]
    for axis in ("x", "y"):
        nodes += [
            helper.make_node("Gather", ["indices", f"{axis}_row"], [f"{axis}_row0"], axis=0),
            helper.make_node("Squeeze", [f"{axis}_row0", "first"], [f"{axis}_index"]),
            helper.make_node("Cast", [f"{axis}_index"], [f"{axis}_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{axis}_float", "one_over_cells"], [f"{axis}_first"]),
            helper.make_node("Mul", [f"{axis}_first", f"size_{axis}"], [f"{axis}1"]),
            helper.make_node("Add", [f"{axis}_float", "one"], [f"{axis}_next"]),
            helper.make_node("Mul", [f"{axis}_next", "one_over_cells"], [f"{axis}_last"]),
            helper.make_node("Mul", [f"{axis}_last", f"size_{axis}"], [f"{axis}2"]),
        ]
    nodes.append(helper.make_node("Mul", ["scores", "zero"], ["classes"]))
    constants["column"] = np.array([1], np.int64)
    columns = ("x1", "y1", "x2", "y2", "scores", "classes")
    nodes += [
        helper.make_node("Unsqueeze", [name, "column"], [f"{name}_column"]) for name in columns
    ]
    nodes += [
        helper.make_node("Concat", [f"{name}_column" for name in columns], ["rows"], axis=1),
        helper.make_node("Unsqueeze", ["rows", "first"], ["detections"]),
    ]
    constants["gray"] = np.full((1, 3, 1, 1), 1 / 3, np.float32)
    inputs = [
        _value("image", "float32", [1, 3, SIDE, SIDE]),
        _value("orig_target_sizes", "int64", [1, 2]),
    ]
    description = {
        "task": "detection",
        "license": "Apache-2.0",
        "input": {"name": "image", "width": SIDE, "height": SIDE, "std": [255.0]},
        "extra_inputs": {"orig_target_sizes": [[SIDE, SIDE]]},
        "decoder": {"name": "yolov8", "layout": "end_to_end", "confidence": 0.4},
        "labels": ["bright"],
        **_merged(changes),
    }
    outputs = [_value("detections", "float32", [1, "boxes", 6])]
    return _write(folder, nodes, inputs, outputs, constants, description)


def cells_image(scores: Mapping[tuple[int, int], float]) -> NDArray[np.uint8]:
    """Return the detector's image: black, with cells (x, y) of the given brightness."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for (x, y), score in scores.items():
        image[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL] = round(score * 255)
    return image


def write_yaml(folder: Path, description: Mapping[str, Any]) -> None:
    """Write model.yaml."""
    (folder / "model.yaml").write_text(yaml.safe_dump(dict(description), sort_keys=False))


def _merged(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if key != "input"}


def _value(name: str, dtype: str, shape: Sequence[Any]) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, list(shape))


def _write(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Mapping[str, NDArray[Any]],
    description: Mapping[str, Any],
) -> Path:
    folder.mkdir(parents=True)
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "kinds", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")
    sha256 = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    variants = {"fp32": {"file": "model.onnx", "sha256": sha256}}
    write_yaml(folder, {**description, "variants": variants})
    return folder


def frame_of(values: Any, encoding: str, dtype: Any = np.uint8) -> Frame:
    """Return an image of one color, of another size than the model's."""
    pixels = np.tile(np.array(values, dtype), (16, 20, 1))
    data = np.frombuffer(pixels.tobytes(), np.uint8)
    return Frame(data, 20, 16, encoding, pixels.nbytes // 16)


def open_model(folder: Path, cache: Path, **request: Any) -> tuple[ModelDescription, Backend]:
    model = load_model(folder)
    request = {"backend": "ort", "precision": "fp32", **request}
    selection = prepare(EngineRequest(model, **request), ArtifactCache(cache))
    assert selection.backend is not None
    return model, selection.backend.open()


def run(folder: Path, frame: Frame, cache: Path, **request: Any) -> Any:
    """Do what the nodes do: make the tensor, infer, decode."""
    model, backend = open_model(folder, cache, **request)
    with backend:
        warm_up(model, backend)
        tensor, geometry = Preprocessor(model.input)(frame)
        assert [spec.name for spec in backend.inputs] == ["image"]
        outputs = backend.infer({"image": tensor})
        for spec in backend.outputs:
            assert len(spec.shape) == outputs[spec.name].ndim
        return model.decode(outputs, geometry)


def scores_of(result: Any) -> np.ndarray:
    assert isinstance(result, Classification)
    scores = np.empty(len(result.class_ids))
    scores[result.class_ids] = result.scores
    return scores
