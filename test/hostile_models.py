"""Model folders with a small file whose network needs much memory or time."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from small_model import DESCRIPTION, SIDE, make_image

#: 16 GiB of fp32.
HUGE = [65_536, 65_536]
_LENGTH = 4 << 30


def write_hostile_model(folder: Path, kind: str) -> Path:
    """Write a model folder with a network of :data:`NETWORKS`; return the folder."""
    folder.mkdir(parents=True)
    return write_model(folder, NETWORKS[kind]())


def write_model(folder: Path, network: onnx.ModelProto) -> Path:
    """Write the model folder of a classifier with input ``image`` and output ``logits``."""
    file = folder / "small.onnx"
    file.write_bytes(network.SerializeToString())
    for entry in network.graph.initializer:
        if entry.data_location == TensorProto.EXTERNAL:
            weights = folder / "weights.bin"
            weights.touch()
            os.truncate(weights, _LENGTH)
    assert cv2.imwrite(str(folder / "golden.png"), make_image(1000))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "model.yaml").write_text(DESCRIPTION.format(sha256=sha256, score=0.95, more=""))
    return folder


def make_network(
    nodes: list[onnx.NodeProto], constants: dict[str, object], weights: Sequence[TensorProto] = ()
) -> onnx.ModelProto:
    """Return a network that computes its logits from the means of the image."""
    means = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
    ]
    graph = helper.make_graph(
        [*means, *nodes],
        "hostile",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [*(numpy_helper.from_array(np.array(v), name) for name, v in constants.items()), *weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _network_of_node(node: onnx.NodeProto, **constants: object) -> onnx.ModelProto:
    """Return a network whose logits depend on the whole output of a node."""
    return make_network([node, *_reduce_to_logits(node.output[0])], constants)


def _reduce_to_logits(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [name], ["as_floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["as_floats"], ["largest"], keepdims=0),
        helper.make_node("Add", ["means", "largest"], ["logits"]),
    ]


def _computed_shape() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("ReduceProd", ["shape"], ["count"], axes=[0]),
        helper.make_node("Mul", ["count", "factor"], ["length"]),
        helper.make_node("ConstantOfShape", ["length"], ["output"]),
    ]
    return make_network([*nodes, *_reduce_to_logits("output")], {"factor": [1 << 30]})


def _loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition_in"], ["condition_out"]),
            helper.make_node("Abs", ["x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3]),
        ],
        [
            helper.make_tensor_value_info("condition_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3]),
        ],
    )
    node = helper.make_node("Loop", ["iterations", "always", "means"], ["logits"], body=body)
    return make_network([node], {"iterations": (1 << 63) - 1, "always": True})


def _chain(length: int) -> onnx.ModelProto:
    names = ["means", *(f"x{n}" for n in range(length - 1)), "logits"]
    nodes = [helper.make_node("Add", [a, a], [b]) for a, b in itertools.pairwise(names)]
    return make_network(nodes, {})


def _external_data() -> onnx.ModelProto:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[_LENGTH // 4])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("length", str(_LENGTH))):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    return make_network(_reduce_to_logits("w"), {}, [weights])


def _sparse_weights() -> onnx.ModelProto:
    model = make_network(_reduce_to_logits("w"), {})
    values = numpy_helper.from_array(np.float32([1]), "w")
    indices = numpy_helper.from_array(np.int64([1]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, HUGE))
    return model


def _declared_shape() -> onnx.ModelProto:
    model = make_network(_reduce_to_logits("means"), {})
    model.graph.value_info.append(
        helper.make_tensor_value_info("as_floats", TensorProto.FLOAT, HUGE)
    )
    return model


def _if_branch() -> onnx.ModelProto:
    def branch(name: str, shape: list[int]) -> onnx.GraphProto:
        shape_of = numpy_helper.from_array(np.array(shape), f"{name}_shape")
        node = helper.make_node("ConstantOfShape", [f"{name}_shape"], [name])
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [out], [shape_of])

    node = helper.make_node(
        "If", ["always"], ["output"], then_branch=branch("a", HUGE), else_branch=branch("b", [1])
    )
    return _network_of_node(node, always=True)


def _constant_node() -> onnx.ModelProto:
    value = numpy_helper.from_array(np.array(HUGE))
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=value),
        helper.make_node("ConstantOfShape", ["shape"], ["output"]),
    ]
    return make_network([*nodes, *_reduce_to_logits("output")], {})


def _int64_data() -> onnx.ModelProto:
    """The shape is in int64_data instead of raw_data."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], HUGE)
    node = helper.make_node("ConstantOfShape", ["shape"], ["output"])
    return make_network([node, *_reduce_to_logits("output")], {}, [shape])


def _make_node(operator: str, inputs: list[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, ["output"], **attributes)


#: Networks whose constants or declared shapes show the size.
DECLARED = {
    "external data": _external_data,
    "sparse weights": _sparse_weights,
    "a declared shape": _declared_shape,
    "in a branch": _if_branch,
    "of a Constant node": _constant_node,
    "unpacked": _int64_data,
    "ConstantOfShape": lambda: _network_of_node(_make_node("ConstantOfShape", ["s"]), s=HUGE),
    "Expand": lambda: _network_of_node(
        _make_node("Expand", ["one", "s"]), one=np.float32([1]), s=HUGE
    ),
    "Tile": lambda: _network_of_node(_make_node("Tile", ["image", "s"]), s=[1, 1, *HUGE]),
    "Range": lambda: _network_of_node(_make_node("Range", ["a", "b", "c"]), a=0, b=1 << 36, c=1),
    "Range of floats": lambda: _network_of_node(
        _make_node("Range", ["a", "b", "c"]), a=np.float32(0), b=np.float32(1), c=np.float32(1e-12)
    ),
    "RandomNormal": lambda: _network_of_node(_make_node("RandomNormal", [], shape=HUGE)),
    "a long chain": lambda: _chain(60_000),
}


def _shape_of_constant(**value: object) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["shape"], **value),
        helper.make_node("ConstantOfShape", ["shape"], ["output"]),
    ]
    return make_network([*nodes, *_reduce_to_logits("output")], {})


def _sparse_constant() -> onnx.ModelProto:
    values = numpy_helper.from_array(np.float32([1]), "values")
    indices = numpy_helper.from_array(np.int64([1]), "places")
    sparse = helper.make_sparse_tensor(values, indices, HUGE)
    node = helper.make_node("Constant", [], ["output"], sparse_value=sparse)
    return make_network([node, *_reduce_to_logits("output")], {})


def _range_of_constants(**attributes: object) -> onnx.ModelProto:
    constants = [
        helper.make_node("Constant", [], [name], **{next(iter(attributes)): value})
        for name, value in zip("abc", next(iter(attributes.values())), strict=True)
    ]
    return make_network(
        [*constants, _make_node("Range", ["a", "b", "c"]), *_reduce_to_logits("output")], {}
    )


def _range_of_float_data() -> onnx.ModelProto:
    """The numbers are in float_data instead of raw_data."""
    numbers = {"a": 0.0, "b": 1.0, "c": 1e-12}
    weights = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in numbers.items()]
    return make_network(
        [_make_node("Range", ["a", "b", "c"]), *_reduce_to_logits("output")], {}, weights
    )


def _constant_after_consumer() -> onnx.ModelProto:
    model = _shape_of_constant(value_ints=HUGE)
    nodes = [*model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    return model


def make_network_with_functions(
    bodies: Mapping[str, Sequence[onnx.NodeProto]], first: str
) -> onnx.ModelProto:
    """Return a network that calls the function ``first``; each has input ``x`` and output ``y``."""
    domain = helper.make_opsetid("mine", 1)
    model = make_network([helper.make_node(first, ["means"], ["logits"], domain="mine")], {})
    model.opset_import.append(domain)
    versions = [helper.make_opsetid("", 13), domain]
    for name, nodes in bodies.items():
        model.functions.append(helper.make_function("mine", name, ["x"], ["y"], nodes, versions))
    return model


def make_call_node(name: str, x: str, y: str) -> onnx.NodeProto:
    """Return a node that calls a function."""
    return helper.make_node(name, [x], [y], domain="mine")


def _nested_functions() -> onnx.ModelProto:
    bodies = {"f0": [helper.make_node("Relu", ["x"], ["y"])]}
    for number in range(1, 40):
        inner = f"f{number - 1}"
        bodies[f"f{number}"] = [make_call_node(inner, "x", "t"), make_call_node(inner, "t", "y")]
    return make_network_with_functions(bodies, "f39")


def _nested_functions_with_constants() -> onnx.ModelProto:
    value = numpy_helper.from_array(np.zeros(1 << 20, np.float32))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=value),
        helper.make_node("ReduceMax", ["c"], ["largest"], keepdims=0),
        helper.make_node("Add", ["x", "largest"], ["y"]),
    ]
    bodies = {"f0": nodes}
    for number in range(1, 11):  # 4 MiB, 1024 times
        inner = f"f{number - 1}"
        bodies[f"f{number}"] = [make_call_node(inner, "x", "t"), make_call_node(inner, "t", "y")]
    return make_network_with_functions(bodies, "f10")


#: Networks that show the size in ways that no exporter uses.
UNUSUAL = {
    "Constant of ints": lambda: _shape_of_constant(value_ints=HUGE),
    "Constant of an int": lambda: _range_of_constants(value_int=[0, 1 << 40, 1]),
    "Constant of a float": lambda: _range_of_constants(value_float=[0.0, 1.0, 1e-12]),
    "a sparse Constant": _sparse_constant,
    "float_data": _range_of_float_data,
    "a Constant after its consumer": _constant_after_consumer,
    "OneHot": lambda: _network_of_node(
        _make_node("OneHot", ["i", "d", "v"]),
        i=np.zeros(1 << 15, np.int64),
        d=1 << 15,
        v=[0.0, 1.0],
    ),
    "Expand of a column": lambda: _network_of_node(
        _make_node("Expand", ["c", "s"]), c=np.zeros((1 << 15, 1), np.float32), s=[1, 1 << 15]
    ),
    "Tile of a column": lambda: _network_of_node(
        _make_node("Tile", ["x", "s"]), x=np.zeros((1 << 10, 1), np.float32), s=[1 << 10, 1 << 10]
    ),
    "Resize by scales": lambda: _network_of_node(
        _make_node("Resize", ["image", "", "s"]), s=np.float32([1, 1, 4096, 4096])
    ),
    "Pad": lambda: _network_of_node(_make_node("Pad", ["means", "p"]), p=[0, 0, 1 << 16, 1 << 16]),
    "functions that call each other": _nested_functions,
    "functions with constants": _nested_functions_with_constants,
}
#: Networks whose cost is known only at run time.
COSTLY_AT_RUN_TIME = {"a computed shape": _computed_shape, "a loop": _loop}
NETWORKS = {**DECLARED, **UNUSUAL, **COSTLY_AT_RUN_TIME}
