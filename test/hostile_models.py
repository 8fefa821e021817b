"""Model folders whose network is small and whose cost is not."""

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
    """Write the model folder of a network in :data:`NETWORKS` and return it."""
    folder.mkdir(parents=True)
    return write_model(folder, NETWORKS[kind]())


def write_model(folder: Path, network: onnx.ModelProto) -> Path:
    """Write a classifier's folder around a network that takes ``image`` and gives ``logits``."""
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
    """Return a network that computes its logits from the image's means."""
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


def _with(node: onnx.NodeProto, **constants: object) -> onnx.ModelProto:
    """Return a network whose logits need everything that a node makes."""
    return make_network([node, *_gathered(node.output[0])], constants)


def _gathered(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [name], ["as_floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["as_floats"], ["most"], keepdims=0),
        helper.make_node("Add", ["means", "most"], ["logits"]),
    ]


def _worked_out() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("ReduceProd", ["shape"], ["count"], axes=[0]),
        helper.make_node("Mul", ["count", "factor"], ["length"]),
        helper.make_node("ConstantOfShape", ["length"], ["made"]),
    ]
    return make_network([*nodes, *_gathered("made")], {"factor": [1 << 30]})


def _loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Abs", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3]),
        ],
    )
    node = helper.make_node("Loop", ["turns", "yes", "means"], ["logits"], body=body)
    return make_network([node], {"turns": (1 << 63) - 1, "yes": True})


def _chain(length: int) -> onnx.ModelProto:
    names = ["means", *(f"x{n}" for n in range(length - 1)), "logits"]
    nodes = [helper.make_node("Add", [a, a], [b]) for a, b in itertools.pairwise(names)]
    return make_network(nodes, {})


def _external() -> onnx.ModelProto:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[_LENGTH // 4])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("length", str(_LENGTH))):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    return make_network(_gathered("w"), {}, [weights])


def _sparse_weights() -> onnx.ModelProto:
    made = make_network(_gathered("w"), {})
    values = numpy_helper.from_array(np.float32([1]), "w")
    indices = numpy_helper.from_array(np.int64([1]), "places")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, HUGE))
    return made


def _declared() -> onnx.ModelProto:
    made = make_network(_gathered("means"), {})
    made.graph.value_info.append(
        helper.make_tensor_value_info("as_floats", TensorProto.FLOAT, HUGE)
    )
    return made


def _in_a_branch() -> onnx.ModelProto:
    def branch(name: str, shape: list[int]) -> onnx.GraphProto:
        shape_of = numpy_helper.from_array(np.array(shape), f"{name}_shape")
        node = helper.make_node("ConstantOfShape", [f"{name}_shape"], [name])
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [out], [shape_of])

    node = helper.make_node(
        "If", ["yes"], ["made"], then_branch=branch("a", HUGE), else_branch=branch("b", [1])
    )
    return _with(node, yes=True)


def _of_a_constant_node() -> onnx.ModelProto:
    value = numpy_helper.from_array(np.array(HUGE))
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=value),
        helper.make_node("ConstantOfShape", ["shape"], ["made"]),
    ]
    return make_network([*nodes, *_gathered("made")], {})


def _unpacked() -> onnx.ModelProto:
    """The shape lies in int64_data instead of raw_data."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], HUGE)
    node = helper.make_node("ConstantOfShape", ["shape"], ["made"])
    return make_network([node, *_gathered("made")], {}, [shape])


def _of(operator: str, inputs: list[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, ["made"], **attributes)


#: What says itself that it is too large.
DECLARED = {
    "external data": _external,
    "sparse weights": _sparse_weights,
    "a declared shape": _declared,
    "in a branch": _in_a_branch,
    "of a Constant node": _of_a_constant_node,
    "unpacked": _unpacked,
    "ConstantOfShape": lambda: _with(_of("ConstantOfShape", ["s"]), s=HUGE),
    "Expand": lambda: _with(_of("Expand", ["one", "s"]), one=np.float32([1]), s=HUGE),
    "Tile": lambda: _with(_of("Tile", ["image", "s"]), s=[1, 1, *HUGE]),
    "Range": lambda: _with(_of("Range", ["a", "b", "c"]), a=0, b=1 << 36, c=1),
    "Range of floats": lambda: _with(
        _of("Range", ["a", "b", "c"]), a=np.float32(0), b=np.float32(1), c=np.float32(1e-12)
    ),
    "RandomNormal": lambda: _with(_of("RandomNormal", [], shape=HUGE)),
    "a long chain": lambda: _chain(60_000),
}


def _constant(**value: object) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["shape"], **value),
        helper.make_node("ConstantOfShape", ["shape"], ["made"]),
    ]
    return make_network([*nodes, *_gathered("made")], {})


def _sparse_constant() -> onnx.ModelProto:
    values = numpy_helper.from_array(np.float32([1]), "values")
    indices = numpy_helper.from_array(np.int64([1]), "places")
    sparse = helper.make_sparse_tensor(values, indices, HUGE)
    node = helper.make_node("Constant", [], ["made"], sparse_value=sparse)
    return make_network([node, *_gathered("made")], {})


def _range_of(**attributes: object) -> onnx.ModelProto:
    constants = [
        helper.make_node("Constant", [], [name], **{next(iter(attributes)): value})
        for name, value in zip("abc", next(iter(attributes.values())), strict=True)
    ]
    return make_network([*constants, _of("Range", ["a", "b", "c"]), *_gathered("made")], {})


def _scalar_of_floats() -> onnx.ModelProto:
    """The numbers lie in float_data instead of raw_data."""
    numbers = {"a": 0.0, "b": 1.0, "c": 1e-12}
    weights = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in numbers.items()]
    return make_network([_of("Range", ["a", "b", "c"]), *_gathered("made")], {}, weights)


def _late_constant() -> onnx.ModelProto:
    made = _constant(value_ints=HUGE)
    nodes = [*made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(reversed(nodes))
    return made


def make_network_with_functions(
    bodies: Mapping[str, Sequence[onnx.NodeProto]], first: str
) -> onnx.ModelProto:
    """Return a network that calls a function; each takes ``x`` and gives ``y``."""
    domain = helper.make_opsetid("mine", 1)
    made = make_network([helper.make_node(first, ["means"], ["logits"], domain="mine")], {})
    made.opset_import.append(domain)
    versions = [helper.make_opsetid("", 13), domain]
    for name, nodes in bodies.items():
        made.functions.append(helper.make_function("mine", name, ["x"], ["y"], nodes, versions))
    return made


def make_call_node(name: str, x: str, y: str) -> onnx.NodeProto:
    """Return a node that calls a function."""
    return helper.make_node(name, [x], [y], domain="mine")


def _calls() -> onnx.ModelProto:
    bodies = {"f0": [helper.make_node("Relu", ["x"], ["y"])]}
    for number in range(1, 40):
        inner = f"f{number - 1}"
        bodies[f"f{number}"] = [make_call_node(inner, "x", "t"), make_call_node(inner, "t", "y")]
    return make_network_with_functions(bodies, "f39")


def _calls_with_constants() -> onnx.ModelProto:
    value = numpy_helper.from_array(np.zeros(1 << 20, np.float32))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=value),
        helper.make_node("ReduceMax", ["c"], ["most"], keepdims=0),
        helper.make_node("Add", ["x", "most"], ["y"]),
    ]
    bodies = {"f0": nodes}
    for number in range(1, 11):  # 4 MiB, 1024 times
        inner = f"f{number - 1}"
        bodies[f"f{number}"] = [make_call_node(inner, "x", "t"), make_call_node(inner, "t", "y")]
    return make_network_with_functions(bodies, "f10")


#: What says so in ways that no exporter takes.
UNUSUAL = {
    "Constant of ints": lambda: _constant(value_ints=HUGE),
    "Constant of an int": lambda: _range_of(value_int=[0, 1 << 40, 1]),
    "Constant of a float": lambda: _range_of(value_float=[0.0, 1.0, 1e-12]),
    "a sparse Constant": _sparse_constant,
    "float_data": _scalar_of_floats,
    "a Constant behind its reader": _late_constant,
    "OneHot": lambda: _with(
        _of("OneHot", ["i", "d", "v"]), i=np.zeros(1 << 15, np.int64), d=1 << 15, v=[0.0, 1.0]
    ),
    "Expand of a column": lambda: _with(
        _of("Expand", ["c", "s"]), c=np.zeros((1 << 15, 1), np.float32), s=[1, 1 << 15]
    ),
    "Tile of a column": lambda: _with(
        _of("Tile", ["x", "s"]), x=np.zeros((1 << 10, 1), np.float32), s=[1 << 10, 1 << 10]
    ),
    "Resize by scales": lambda: _with(
        _of("Resize", ["image", "", "s"]), s=np.float32([1, 1, 4096, 4096])
    ),
    "Pad": lambda: _with(_of("Pad", ["means", "p"]), p=[0, 0, 1 << 16, 1 << 16]),
    "functions that call each other": _calls,
    "functions with constants": _calls_with_constants,
}
#: What costs without saying so before it runs.
COSTLY_AT_RUN_TIME = {"a shape that is worked out": _worked_out, "a loop": _loop}
NETWORKS = {**DECLARED, **UNUSUAL, **COSTLY_AT_RUN_TIME}
