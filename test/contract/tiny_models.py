"""Generated tiny ONNX models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

OPSET = 13
IR_VERSION = 8  # the version for the oldest supported ONNX Runtime

MakeOnnx = Callable[..., Path]


@pytest.fixture
def make_onnx(tmp_path: Path) -> MakeOnnx:
    """Return a function that writes nodes with their inputs and outputs as an ONNX file."""

    def make(
        nodes: list[onnx.NodeProto],
        inputs: list[onnx.ValueInfoProto],
        outputs: list[onnx.ValueInfoProto],
        constants: tuple[onnx.TensorProto, ...] = (),
    ) -> Path:
        graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=list(constants))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        onnx.checker.check_model(model, full_check=True)
        file = tmp_path / "tiny.onnx"
        onnx.save(model, file)
        return file

    return make


@pytest.fixture
def doubling_onnx(make_onnx: MakeOnnx) -> Path:
    """``doubled`` is twice ``data``, ``total`` the sum of ``data`` and ``more``."""
    shape = ["batch", 3, 4]
    return make_onnx(
        [
            helper.make_node("Mul", ["data", "two"], ["doubled"]),
            helper.make_node("Add", ["data", "more"], ["total"]),
        ],
        [
            helper.make_tensor_value_info("data", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("doubled", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, shape),
        ],
        (helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0]),),
    )
