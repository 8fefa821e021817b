"""Networks of the structures, types and names that exporters write: more rows of ``KINDS``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graph_kinds import FLOAT, HALF, INT64, KINDS, halve, kind
from small_net import IMAGE, SmallNet

__all__ = ["KINDS"]


def _info(name: str, dtype: int = FLOAT, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


# Branches, loops, functions, other domains


def _branch(net: SmallNet, number: type[np.floating]) -> str:
    """Add a branch that doubles or halves the image, and return its result."""
    stem = net.stem()
    dark = net.constant(0.0, number)
    is_bright = net.add("Greater", net.add("ReduceMean", stem, keepdims=0), dark)
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(number))
    branches = {}
    for name, factor in (("then", 2.0), ("else", 0.5)):
        value = numpy_helper.from_array(np.array(factor, number), f"{name}_factor")
        nodes = [helper.make_node("Mul", [stem, value.name], [f"{name}_out"])]
        result = _info(f"{name}_out", dtype, [1, 8, 16, 16])
        branches[f"{name}_branch"] = helper.make_graph(nodes, name, [], [result], [value])
    return net.add("If", is_bright, **branches)


@kind()
def branch() -> onnx.ModelProto:
    net = SmallNet()
    net.head(_branch(net, np.float32))
    return net.model()


@kind()
def branch_in_fp16() -> onnx.ModelProto:
    net = SmallNet()
    net.inputs = [_info("x", HALF, IMAGE)]
    net.head(_branch(net, np.float16))
    return halve(net.model(kinds={"y": HALF}))


@kind(int8_db=18)
def loop() -> onnx.ModelProto:
    net = SmallNet()
    stem = net.stem()
    kernel = net.weight(8, 8, 1, 1)
    body = helper.make_graph(
        [
            helper.make_node("Conv", ["state", kernel], ["mixed"]),
            helper.make_node("Tanh", ["mixed"], ["next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            _info("turn", INT64, []),
            _info("go", TensorProto.BOOL, []),
            _info("state", shape=[1, 8, 16, 16]),
        ],
        [_info("go_on", TensorProto.BOOL, []), _info("next", shape=[1, 8, 16, 16])],
    )
    count, start = net.constant(3, np.int64), net.constant(True, bool)
    net.head(net.add("Loop", count, start, stem, body=body))
    return net.model(shapes={"y": [1, 4, 16, 16]})


@kind()
def scan() -> onnx.ModelProto:
    net = SmallNet()
    rows = net.add("Reshape", net.stem(), net.integers(16, 128))
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum", "row"], ["total"]),
            helper.make_node("Tanh", ["total"], ["next"]),
            helper.make_node("Identity", ["next"], ["out"]),
        ],
        "body",
        [_info("sum", shape=[128]), _info("row", shape=[128])],
        [_info("next", shape=[128]), _info("out", shape=[128])],
    )
    zero = net.constant(np.zeros(128))
    net.add("Scan", zero, rows, outputs="last all", body=body, num_scan_inputs=1)
    net.add("MatMul", "all", net.weight(128, 4), outputs="y")
    return net.model()


@kind()
def local_function() -> onnx.ModelProto:
    net = SmallNet(opset=18)
    net.opsets["pkg"] = 1
    opsets = [helper.make_opsetid("", 18)]
    nodes = [
        helper.make_node("Sigmoid", ["a"], ["s"]),
        helper.make_node("Mul", ["a", "s"], ["b"]),
    ]
    net.functions.append(helper.make_function("pkg", "Swish", ["a"], ["b"], nodes, opsets))
    nodes = [
        helper.make_node("Conv", ["a", "w"], ["c"]),
        helper.make_node("Swish", ["c"], ["b"], domain="pkg"),
    ]
    opsets.append(helper.make_opsetid("pkg", 1))
    net.functions.append(helper.make_function("pkg", "Block", ["a", "w"], ["b"], nodes, opsets))
    net.head(net.add("Block", net.stem(), net.weight(8, 8, 1, 1), domain="pkg"))
    return net.model()


@kind(rtx="FastGelu")
def contrib_operators() -> onnx.ModelProto:
    net = SmallNet()
    net.opsets["com.microsoft"] = 1
    scale = net.constant(np.linspace(0.5, 1.5, 128))
    stem = net.add("FastGelu", net.conv("x", 3, 8), domain="com.microsoft")
    skip = net.add("Mul", net.tokens(stem), net.constant(0.5))
    normed = net.add(
        "SkipSimplifiedLayerNormalization", net.tokens(stem), skip, scale, domain="com.microsoft"
    )
    # Types behind operators of another domain are not inferred by ONNX.
    summed = net.add("Add", normed, net.constant(np.linspace(-1, 1, 128)))
    net.add("MatMul", summed, net.weight(128, 4), outputs="y")
    return net.model(shapes={"y": [1, 16, 4]})


# Types


@kind(rtx="SplitToSequence")
def sequences() -> onnx.ModelProto:
    net = SmallNet()
    parts = net.add("SplitToSequence", net.stem(), net.constant(4, np.int64), axis=1)
    left = net.add("SequenceAt", parts, net.constant(0, np.int64))
    right = net.add("SequenceAt", parts, net.constant(1, np.int64))
    joined = net.add("ConcatFromSequence", net.add("SequenceConstruct", right, left), axis=1)
    net.head(joined)
    return net.model()


@kind(rtx="Optional")
def optionals() -> onnx.ModelProto:
    net = SmallNet(opset=18)
    net.head(net.add("OptionalGetElement", net.add("Optional", net.stem())))
    return net.model()


@kind(rtx="initializer: names")
def strings() -> onnx.ModelProto:
    net = SmallNet(opset=20)
    names = helper.make_tensor("names", TensorProto.STRING, [4], [b"a", b"b", b"c", b"d"])
    net.constants.append(names)
    net.head(net.stem())
    flat = net.add("ReduceMax", "y", net.integers(0, 2, 3), keepdims=0)
    net.add("Gather", "names", net.add("ArgMax", flat, axis=0, keepdims=0), outputs="name")
    return net.model(("y", "name"), {"name": TensorProto.STRING})


@kind()
def integers_and_booleans() -> onnx.ModelProto:
    net = SmallNet()
    stem = net.stem()
    mask = net.add("And", net.add("Greater", stem, net.constant(0.0)), net.constant(True, bool))
    counts = net.add("ReduceSum", net.add("Cast", mask, to=INT64), net.integers(1))
    share = net.add("Div", net.add("Cast", counts, to=FLOAT), net.constant(8.0))
    net.head(net.add("Where", mask, stem, share))
    net.add("Cast", counts, to=TensorProto.INT32, outputs="n")
    return net.model(("y", "n"), {"n": TensorProto.INT32})


@kind()
def double_precision() -> onnx.ModelProto:
    net = SmallNet()
    wide = net.add("Cast", net.tokens(net.stem()), to=TensorProto.DOUBLE)
    weights = net.constant(net.random(128, 8), np.float64)
    narrow = net.add("Cast", net.add("MatMul", wide, weights), to=FLOAT)
    net.add("MatMul", narrow, net.weight(8, 4), outputs="y")
    return net.model()


@kind()
def empty_tensors() -> onnx.ModelProto:
    net = SmallNet()
    stem = net.stem()
    none = net.add("Slice", stem, net.integers(0), net.integers(0), net.integers(1))
    net.head(net.add("Concat", none, stem, net.constant(np.zeros((1, 0, 16, 16))), axis=1))
    return net.model(("y", none))


# Names and outputs


@kind()
def nodes_without_names() -> onnx.ModelProto:
    net = SmallNet()
    net.head(net.stem())
    model = net.model()
    for node in model.graph.node:
        node.name = ""
    return model


@kind(
    refusals=tuple(
        (precision, "two of its nodes have the name 'node'; give each")
        for precision in ("fp16", "int8")
    )
)
def nodes_of_one_name() -> onnx.ModelProto:
    net = SmallNet()
    net.head(net.add("Sigmoid", net.conv(net.stem(), 8, 8)))
    model = net.model()
    for node in model.graph.node:
        node.name = "node"
    return model


@kind()
def odd_names() -> onnx.ModelProto:
    net = SmallNet()
    stem = net.add("Relu", net.conv("x", 3, 8, name="größe:0;[1]"), name="a b\tc*?")
    net.head(net.add("Sigmoid", stem, outputs='/модель.0/"t":0', name="{x}/%d$"))
    return net.model()


@kind(compared=("y", "sum", "middle", "activated"))
def outputs_that_are_read() -> onnx.ModelProto:
    net = SmallNet()
    middle = net.add("Conv", net.stem(), net.weight(8, 8, 1, 1), outputs="middle")
    activated = net.add("Relu", middle, outputs="activated")
    net.head(net.add("Add", activated, middle, outputs="sum"))
    return net.model(("y", "sum", "middle", "activated"))


@kind(compared=("y", "anchors"))
def outputs_from_constants() -> onnx.ModelProto:
    net = SmallNet()
    net.head(net.stem())
    net.constants.append(numpy_helper.from_array(np.arange(3, dtype=np.float32), "anchors"))
    net.constants.append(numpy_helper.from_array(np.arange(3), "strides"))
    shapes = {"anchors": [3], "strides": [3]}
    return net.model(("y", "anchors", "strides"), {"strides": INT64}, shapes)


@kind(compared=("y", "x", "copy"))
def outputs_from_inputs() -> onnx.ModelProto:
    net = SmallNet()
    net.head(net.stem())
    net.add("Identity", "x", outputs="copy")
    return net.model(("y", "x", "copy"), shapes={"x": IMAGE})


@kind(rtx="SplitToSequence")
def sequences_after_layers_in_fp32() -> onnx.ModelProto:
    net = SmallNet()
    parts = net.add("SplitToSequence", net.stem(), net.constant(4, np.int64), axis=1)
    left = net.add("SequenceAt", parts, net.constant(0, np.int64))
    net.opsets["com.microsoft"] = 1
    net.head(net.add("QuickGelu", left, domain="com.microsoft"), 4)
    return net.model(shapes={"y": [1, 4, 16, 16]})
