"""The precision in which ONNX Runtime computes layers of quantized files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.engines.precision.used_precision import onnxruntime_precisions


@pytest.mark.parametrize(
    ("kind", "weights"), [("dynamic", "dynamic matmul"), ("QOperator", "QLinearMatMul")]
)
def test_integer_matrix_products_count_as_int8(kind: str, weights: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    numbers = rng.integers(-127, 127, (8, 5), dtype=np.int8)
    constants = {"w": numbers, "wz": np.int8(0), "ws": np.float32(0.01)}
    info = helper.make_tensor_value_info
    if kind == "dynamic":
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["i"]),
            helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["s", "ws"], ["p"]),
            helper.make_node("Mul", ["f", "p"], ["y"]),
        ]
    else:
        constants |= {"s": np.float32(0.01), "z": np.uint8(128)}
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("QLinearMatMul", ["q", "s", "z", "w", "ws", "wz", "s", "z"], ["i"]),
            helper.make_node("DequantizeLinear", ["i", "s", "z"], ["y"]),
        ]
    graph = helper.make_graph(
        nodes,
        weights,
        [info("x", TensorProto.FLOAT, [2, 8])],
        [info("y", TensorProto.FLOAT, [2, 5])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "q.onnx")
    assert onnxruntime_precisions(tmp_path / "q.onnx") == {"int8": 1}
