"""Makes tiny ONNX graphs, with contrib operators of ONNX Runtime where a test needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CONTRIB = "com.microsoft"
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
PLAIN = np.random.default_rng(4).normal(size=(2, 3, 4, 6)).astype(np.float32)


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[Any]],
    outputs: dict[str, Sequence[Any]],
    opset: int = 18,
    kinds: dict[str, int] | None = None,
    **constants: np.ndarray,
) -> onnx.ModelProto:
    """Return a model; inputs and outputs are float32 unless ``kinds`` says otherwise."""

    def make_infos(entries: dict[str, Sequence[Any]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, (kinds or {}).get(name, FLOAT), shape)
            for name, shape in entries.items()
        ]

    graph = helper.make_graph(
        nodes,
        "tiny",
        make_infos(inputs),
        make_infos(outputs),
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def kinds_of(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def make_contrib_node(
    kind: str, inputs: Sequence[str], outputs: str = "y", **attributes: Any
) -> onnx.NodeProto:
    return helper.make_node(
        kind, inputs, outputs.split(), f"the {kind}", domain=CONTRIB, **attributes
    )
