"""The double with TensorRT's name and a builder, for tests of the whole software.

``EDGE_INFERENCE_DOUBLE_BUILDER`` names a file that sets the outcome of builds: "unsupported" (the
parser refuses an operator), "killed" (the process is killed), "gate PATH" (the build waits until
the test writes to that pipe); otherwise they succeed.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx

import builder_fakes
import tensorrt_double
from tensorrt_double import *  # noqa: F403
from tensorrt_double import DataType, make_plan

__version__ = tensorrt_double.__version__

_ORDER_VARIABLE = "EDGE_INFERENCE_DOUBLE_BUILDER"

_release = builder_fakes.tensorrt_10(dla_cores=2)
_parsed: list[Path] = []


def _order() -> list[str]:
    file = os.environ.get(_ORDER_VARIABLE)
    return Path(file).read_text(encoding="utf-8").split() if file else []


def _make_plan(release: Any) -> bytes:
    order = _order()
    if order[:1] == ["killed"]:
        os.kill(os.getpid(), signal.SIGKILL)
    for wanted in release.steps():
        if not wanted:
            return b""
        if order[:1] == ["gate"]:
            Path(order.pop(1)).read_bytes()  # blocks until the test writes to the pipe
            order.clear()
    (profile,) = release.config.profiles
    shapes = {name: [list(size) for size in sizes] for name, sizes in profile.shapes.items()}
    return make_plan(_parsed[-1], profiles=shapes, layers=_layers(release.network))


def _layers(network: Any) -> Any:
    """Return the engine inspector's JSON, in the format of TensorRT 8 to 10."""
    half = network.layers[0].get_input(0).dtype is DataType.HALF
    form = {"Format/Datatype": f"Row major linear FP{16 if half else 32} format"}
    layer = {"Name": "layer", "LayerType": "CaskConvolution", "Inputs": [form], "Outputs": [form]}
    return {"Layers": [layer], "Bindings": []}


_release.build = _make_plan
_builder_side = _release._module()
globals().update(
    {name: value for name, value in vars(_builder_side).items() if name not in globals()}
)


def OnnxParser(network: Any, logger: Any) -> Any:
    """Read names and types of the inputs and outputs; with one layer."""

    def parse_from_file(file: str) -> bool:
        if _order()[:1] == ["unsupported"]:
            _release.parser_errors.append(
                SimpleNamespace(
                    desc=lambda: "No importer registered for op: Frobnicate",
                    node=lambda: 7,
                    node_name=lambda: "frob",
                    node_operator=lambda: "Frobnicate",
                    code=lambda: SimpleNamespace(name="UNSUPPORTED_NODE"),
                )
            )
            return False
        _parsed.append(Path(file))
        graph = onnx.load(file).graph
        halves = [node for node in graph.node if node.op_type == "Cast" and _casts_to_half(node)]
        network.inputs[:] = [_tensor(value) for value in graph.input]
        network.outputs[:] = [_tensor(value) for value in graph.output]
        kind = DataType.HALF if halves else DataType.FLOAT
        inner = [builder_fakes.Tensor("inner", dtype=kind)]
        network.layers[:] = [builder_fakes.ConstrainableLayer("layer", inner, inner)]
        return True

    return SimpleNamespace(
        parse_from_file=parse_from_file,
        get_error=lambda index: _release.parser_errors[index],
        num_errors=len(_release.parser_errors) or 1,
    )


def _casts_to_half(node: Any) -> bool:
    return any(item.name == "to" and item.i == onnx.TensorProto.FLOAT16 for item in node.attribute)


def _tensor(value: Any) -> Any:
    kind = value.type.tensor_type
    shape = tuple(axis.dim_value or -1 for axis in kind.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return builder_fakes.Tensor(value.name, shape, DataType(dtype.name))
