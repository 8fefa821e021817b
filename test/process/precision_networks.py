"""Generated tiny networks for the tests of derived models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_inference.backends.ort import session_options
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.optimize.calibrate import calibrate

IR_VERSION = 8
SHAPE = (1, 3, 16, 16)


def write(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, NDArray[Any]],
    outputs: Sequence[str],
    shape: Sequence[int] = SHAPE,
    opset: int = 17,
    kinds: Mapping[str, int] | None = None,
) -> Path:
    """Write a network whose only input is ``x``; outputs are fp32 by default."""
    kinds = kinds or {}
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("x", kinds.get("x", TensorProto.FLOAT), shape)],
        [
            helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None)
            for name in outputs
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION
    )
    onnx.save(onnx.shape_inference.infer_shapes(model), file)
    return file


def weights(*shape: int, seed: int = 0, size: float = 0.2) -> NDArray[np.float32]:
    """Return random weights."""
    return (np.random.default_rng(seed).standard_normal(shape) * size).astype(np.float32)


def classifier(file: Path, opset: int = 17) -> Path:
    """Write two convolutions, each with a clamp, pooling and a fully connected layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv_1", pads=[1] * 4),
        helper.make_node("Clip", ["c1", "low", "high"], ["r1"], name="clip_1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv_2", strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu_2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["logits"], name="gemm", transB=1),
    ]
    constants = {
        "w1": weights(8, 3, 3, 3),
        "b1": weights(8, seed=1),
        "w2": weights(16, 8, 3, 3, seed=2),
        "b2": weights(16, seed=3),
        "w3": weights(10, 16, seed=4),
        "b3": weights(10, seed=5),
        "low": np.float32(0).reshape(()),
        "high": np.float32(6).reshape(()),
    }
    return write(file, nodes, constants, ["logits"], opset=opset)


def detector(file: Path) -> Path:
    """Write a head that moves numbers and ends in a sigmoid, with a leaky activation before."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv_1", pads=[1] * 4),
        helper.make_node("LeakyRelu", ["c1"], ["l1"], name="leaky", alpha=0.1),
        helper.make_node(
            "MaxPool", ["l1"], ["m"], name="pool", kernel_shape=[2, 2], strides=[2, 2]
        ),
        helper.make_node("Resize", ["m", "", "twice"], ["u"], name="resize", mode="nearest"),
        helper.make_node("Concat", ["u", "l1"], ["cat"], name="concat", axis=1),
        helper.make_node("Conv", ["cat", "w2", "b2"], ["c2"], name="conv_2"),
        helper.make_node("Sigmoid", ["c2"], ["s"], name="sigmoid"),
        helper.make_node("Reshape", ["s", "flat"], ["scores"], name="reshape"),
    ]
    constants = {
        "w1": weights(8, 3, 3, 3),
        "b1": weights(8, seed=1),
        "w2": weights(4, 16, 1, 1, seed=2),
        "b2": weights(4, seed=3),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "flat": np.array([1, 4, 256], np.int64),
    }
    return write(file, nodes, constants, ["scores"])


def make_images(count: int = 8, shape: Sequence[int] = SHAPE, seed: int = 9) -> list[NDArray[Any]]:
    """Return random input tensors."""
    random = np.random.default_rng(seed)
    return [random.uniform(-1, 1, shape).astype(np.float32) for _ in range(count)]


def calibrated(file: Path, method: str = "minmax") -> Calibration:
    """Calibrate on other images than those of ``make_images()``."""
    return calibrate(file, "x", make_images(seed=10), method)


def run(file: Path, batch: NDArray[Any]) -> list[NDArray[Any]]:
    """Run a network in ONNX Runtime."""
    return [np.asarray(found) for found in session(file).run(None, {"x": batch})]


def session(file: Path, optimized: Path | None = None) -> Any:
    """Open a network in ONNX Runtime; ``optimized`` is the file for the optimized graph."""
    options = session_options(onnxruntime)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def sqnr_db(right: Path, derived: Path, batches: Sequence[NDArray[Any]]) -> float:
    """Return the signal to noise ratio over all outputs, in dB."""
    signal = noise = 0.0
    for batch in batches:
        for expected, found in zip(run(right, batch), run(derived, batch), strict=True):
            signal += float(np.square(expected.astype(np.float64)).sum())
            noise += float(np.square(expected.astype(np.float64) - found).sum())
    return float(10 * np.log10(signal / max(noise, 1e-30)))


def kinds_of(file: Path) -> dict[str, list[str]]:
    """Return the operators that read each constant, by the constant's type."""
    model = onnx.load(file)
    types = {
        entry.name: TensorProto.DataType.Name(entry.data_type) for entry in model.graph.initializer
    }
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            if name in types:
                found.setdefault(types[name], []).append(node.op_type)
    return found


def nodes_of(file: Path, choose: Callable[[onnx.NodeProto], bool]) -> list[onnx.NodeProto]:
    """Return the nodes of an operator."""
    return [node for node in onnx.load(file).graph.node if choose(node)]
