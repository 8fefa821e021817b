"""Kinds of ONNX graphs that exporters write, each as a small network of its own.

``KINDS`` is a table: how to make the network, and what a derived model must reach. All networks
have the image ``x`` of [1, 3, 16, 16] as input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from small_net import IMAGE, SmallNet

HALF, FLOAT, INT64 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.INT64
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class GraphKind:
    """One row. ``compared`` are the outputs that are close to fp32 on any image.

    ``fp16_db`` and ``int8_db`` are the least SQNR. ``refusals`` gives the expected sentence by
    precision. ``rtx`` is a pattern in TensorRT-RTX's reason for not taking the graph in
    ``rtx_refuses``.
    """

    make: Callable[[], onnx.ModelProto]
    compared: tuple[str, ...] = ("y",)
    fp16_db: float = 45
    int8_db: float = 22
    refusals: tuple[tuple[str, str], ...] = ()
    rtx: str = ""
    rtx_refuses: tuple[str, ...] = ("fp32", "fp16", "int8")

    def refusal(self, precision: str) -> str:
        """Return the expected sentence of a precision, empty where it derives."""
        return dict(self.refusals).get(precision, "")


KINDS: dict[str, GraphKind] = {}


def kind(**row: Any) -> Callable[[Callable[..., onnx.ModelProto]], Callable[..., onnx.ModelProto]]:
    def register(make: Callable[..., onnx.ModelProto]) -> Callable[..., onnx.ModelProto]:
        KINDS[make.__name__] = GraphKind(make, **row)
        return make

    return register


# Inputs


@kind()
def initializers_as_inputs() -> onnx.ModelProto:
    net = SmallNet(opset=11, ir_version=3)
    net.head(net.stem())
    for tensor in net.constants:
        net.inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return net.model()


@kind()
def inputs_with_defaults() -> onnx.ModelProto:
    net = SmallNet()
    gain, weight = net.constant([1.5]), net.weight(4, 8, 1, 1)
    net.add("Conv", net.add("Mul", net.stem(), gain), weight, outputs="y")
    net.inputs.append(helper.make_tensor_value_info(gain, FLOAT, [1]))
    net.inputs.append(helper.make_tensor_value_info(weight, FLOAT, [4, 8, 1, 1]))
    return net.model()


# Half precision in the fp32 variant


@kind()
def fp16_weights_behind_casts() -> onnx.ModelProto:
    net = SmallNet()
    weights = net.constant(net.random(8, 3, 3, 3), np.float16)
    stem = net.add("Relu", net.add("Conv", "x", net.add("Cast", weights, to=FLOAT), pads=[1] * 4))
    last = net.constant(net.random(4, 8, 1, 1), np.float16)
    net.add("Conv", stem, net.add("Cast", last, to=FLOAT), outputs="y")
    return net.model()


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every initializer fp16 values; the types of inputs and outputs are the caller's."""
    for tensor in model.graph.initializer:
        if tensor.data_type == FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


@kind()
def fp16_between_casts() -> onnx.ModelProto:
    net = SmallNet()
    half = net.conv(net.add("Cast", "x", to=HALF), 3, 8)
    pooled = net.add("MaxPool", net.add("Relu", half), kernel_shape=[2, 2])
    net.add("Cast", net.head(pooled, outputs="z"), to=FLOAT, outputs="y")
    return halve(net.model())


@kind()
def fp16_native() -> onnx.ModelProto:
    net = SmallNet()
    net.inputs = [helper.make_tensor_value_info("x", HALF, IMAGE)]
    net.head(
        net.add(
            "Mul",
            net.stem(),
            net.add(
                "ConstantOfShape",
                net.integers(1, 8, 1, 1),
                value=numpy_helper.from_array(np.array([0.5], np.float16)),
            ),
        )
    )
    return halve(net.model(kinds={"y": HALF}))


@kind()
def bf16_weights() -> onnx.ModelProto:
    net = SmallNet()
    values = net.random(8, 3, 3, 3)
    net.constants.append(
        helper.make_tensor("w", TensorProto.BFLOAT16, values.shape, values.ravel().tolist())
    )
    net.head(net.add("Conv", "x", net.add("Cast", "w", to=FLOAT), pads=[1] * 4))
    return net.model()


@kind()
def weights_behind_shape_operators() -> onnx.ModelProto:
    net = SmallNet()
    chain = net.add("Transpose", net.weight(27, 8), perm=[1, 0])
    chain = net.add("Reshape", chain, net.integers(8, 3, 9))
    chain = net.add("Unsqueeze", chain, net.integers(0))
    chain = net.add("Reshape", net.add("Identity", chain), net.integers(8, 3, 3, 3))
    gain = net.add("Constant", value=numpy_helper.from_array(net.random(8, 1, 1, 1), "gain"))
    bias = net.add(
        "ConstantOfShape",
        net.integers(8),
        value=numpy_helper.from_array(np.array([0.1], np.float32)),
    )
    net.head(net.add("Conv", "x", net.add("Mul", chain, gain), bias, pads=[1] * 4))
    return net.model()


@kind()
def tied_weights() -> onnx.ModelProto:
    net = SmallNet()
    shared = net.weight(8, 8)
    tokens = net.add("Reshape", net.stem(), net.integers(1, 8, 256))
    tokens = net.add("Transpose", tokens, perm=[0, 2, 1])
    hidden = net.add("Relu", net.add("MatMul", tokens, shared))
    net.add("MatMul", hidden, net.add("Transpose", shared, perm=[1, 0]), outputs="y")
    return net.model()


# Attention


def attention(mask: str) -> onnx.ModelProto:
    """Return a causal attention block; ``mask`` is a number, "where" or "computed"."""
    net = SmallNet()
    patches = net.add("Conv", "x", net.weight(16, 3, 4, 4), strides=[4, 4])
    tokens = net.add("Reshape", patches, net.integers(1, 16, 16))
    tokens = net.add("Transpose", tokens, perm=[0, 2, 1])
    query, key, value = (net.add("MatMul", tokens, net.weight(16, 16)) for _ in range(3))
    scores = net.add("MatMul", query, net.add("Transpose", key, perm=[0, 2, 1]))
    scores = net.add("Mul", scores, net.constant(0.25))
    allowed = np.tril(np.ones((16, 16)))
    if mask == "none":
        masked = scores
    elif mask == "where":
        masked = net.add("Where", net.constant(allowed, bool), scores, net.constant(float("-inf")))
    elif mask == "computed":  # as exporters write an attention mask that comes with the tokens
        length = net.add(
            "Trilu",
            net.add(
                "ConstantOfShape",
                net.add("Shape", scores),
                value=numpy_helper.from_array(np.array([1], np.float32)),
            ),
            upper=0,
        )
        blocked = net.add("Sub", net.constant(1.0), net.add("Abs", length))
        masked = net.add("Add", scores, net.add("Mul", blocked, net.constant(LOWEST)))
    else:
        values = np.where(allowed, 0, float(mask))
        masked = net.add("Add", scores, net.constant(values))
    weights = net.add("Softmax", masked, axis=-1)
    mixed = net.add("MatMul", weights, value)
    net.add("MatMul", net.add("Add", mixed, tokens), net.weight(16, 4), outputs="y")
    return net.model()


for _name, _mask in {
    "infinite": "-inf",
    "lowest": str(LOWEST),
    "lowest_fp16": "-65504",
    "ten_thousand": "-1e4",
    "where": "where",
    "computed": "computed",
    "none": "none",
}.items():
    KINDS[f"attention_mask_{_name}"] = GraphKind(partial(attention, _mask))


@kind(rtx=r"\(Attention\)", rtx_refuses=("fp32",))
def attention_operator() -> onnx.ModelProto:
    """Return the operator of opset 23, causal and with a mask of its own."""
    net = SmallNet(opset=23, ir_version=10)
    patches = net.add("Conv", "x", net.weight(16, 3, 4, 4), strides=[4, 4])
    tokens = net.add("Reshape", patches, net.integers(1, 16, 16))
    tokens = net.add("Transpose", tokens, perm=[0, 2, 1])
    three = [net.add("MatMul", tokens, net.weight(16, 16)) for _ in range(3)]
    mask = net.constant(np.where(np.eye(16) > 0, 0.5, 0))
    heads = {"q_num_heads": 2, "kv_num_heads": 2}
    mixed = net.add("Attention", *three, mask, is_causal=1, **heads)
    net.add("MatMul", mixed, net.weight(16, 4), outputs="y")
    return net.model()


# Results that are selected


def _boxes(net: SmallNet) -> tuple[str, str]:
    scores = net.add("Reshape", net.head(net.stem(), outputs="y"), net.integers(1, 4, 256))
    scores = net.add("Sigmoid", scores)
    grid = np.stack([*np.mgrid[0:16, 0:16], *(np.mgrid[0:16, 0:16] + 2)], -1)
    return net.constant(grid.reshape(1, 256, 4)), scores


@kind(rtx="has no runners that implement it")
def non_max_suppression() -> onnx.ModelProto:
    net = SmallNet()
    boxes, scores = _boxes(net)
    limits = net.integers(20), net.constant([0.5]), net.constant([0.3])
    net.add("NonMaxSuppression", boxes, scores, *limits, outputs="selected")
    rows = net.add("Gather", "selected", net.integers(2), axis=1)
    rows = net.add("Squeeze", rows, net.integers(1))
    net.add("Gather", boxes, rows, axis=1, outputs="kept")
    return net.model(("y", "selected", "kept"), {"selected": INT64})


@kind(rtx=r"\((NonZero|Compress)\) needs an operator")
def non_zero() -> onnx.ModelProto:
    net = SmallNet()
    _, scores = _boxes(net)
    net.add("NonZero", net.add("Greater", scores, net.constant(0.6)), outputs="places")
    net.add(
        "Compress",
        scores,
        net.add("Reshape", net.add("Greater", scores, net.constant(0.6)), net.integers(-1)),
        outputs="values",
    )
    return net.model(("y", "places", "values"), {"places": INT64})


@kind()
def top_k() -> onnx.ModelProto:
    net = SmallNet()
    _, scores = _boxes(net)
    net.add("TopK", scores, net.integers(5), axis=2, outputs="best index")
    net.add("GatherElements", scores, "index", axis=2, outputs="again")
    return net.model(("y", "best", "index", "again"), {"index": INT64})


@kind()
def top_k_in_the_middle() -> onnx.ModelProto:
    net = SmallNet()
    tokens = net.add("Reshape", net.stem(), net.integers(8, 256))
    net.add("TopK", tokens, net.integers(32), axis=1, outputs="values index")
    net.add("MatMul", "values", net.weight(32, 4), outputs="y")
    return net.model()


# Operator sets


def old_opset(opset: int) -> onnx.ModelProto:
    """Return a network of the operators that changed most, as ``opset`` writes them."""
    net = SmallNet(opset, ir_version=3 if opset < 9 else 6)
    norm = [net.constant(np.linspace(0.5, 1.5, 8)), net.constant(np.linspace(-0.2, 0.2, 8))]
    norm += [net.constant(np.zeros(8)), net.constant(np.ones(8))]
    stem = net.add("BatchNormalization", net.conv("x", 3, 8), *norm)
    if opset < 11:
        stem = net.add("Clip", stem, min=0.0, max=6.0)
        stem = net.add("Pad", stem, pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect")
    else:
        stem = net.add("Clip", stem, net.constant(0.0), net.constant(6.0))
        stem = net.add("Pad", stem, net.integers(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
    if opset < 10:
        stem = net.add("Slice", stem, axes=[2, 3], starts=[1, 1], ends=[17, 17])
        pooled = net.add("MaxPool", stem, kernel_shape=[2, 2], strides=[2, 2])
    else:
        ends = net.integers(1, 1), net.integers(17, 17), net.integers(2, 3)
        stem = net.add("Slice", stem, *ends)
        pooled = net.add("MaxPool", stem, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=0)
    twice = net.constant([1, 1, 2, 2])
    if opset < 9:
        wide = net.add("Upsample", pooled, scales=[1.0, 1.0, 2.0, 2.0], mode="nearest")
    elif opset == 9:
        wide = net.add("Upsample", pooled, twice, mode="nearest")
    elif opset == 10:
        wide = net.add("Resize", pooled, twice, mode="nearest")
    else:
        wide = net.add("Resize", pooled, net.constant([]), twice, mode="nearest")
    net.add("Split", net.add("Dropout", wide), outputs="left right", axis=1, split=[4, 4])
    both = net.add("Concat", "right", "left", axis=1)
    both = net.add("Add", both, stem)
    net.head(net.add("Squeeze", net.add("Unsqueeze", both, axes=[0]), axes=[0]), outputs="map")
    mean = net.add("ReduceSum", "map", axes=[2, 3], keepdims=0)
    net.add("Softmax", mean, axis=1, outputs="y")
    if opset < 9:
        net.inputs += [
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in net.constants
        ]
    return net.model(("map", "y"))


for _opset in (7, 8, 9, 10, 11, 12):
    KINDS[f"opset_{_opset}"] = GraphKind(partial(old_opset, _opset), compared=("map",))


def new_opset(opset: int, ir_version: int = 10) -> onnx.ModelProto:
    """Return a network of ``opset``, which packages may not know yet."""
    net = SmallNet(opset, ir_version)
    net.head(net.stem())
    return net.model()


for _opset in (18, 21, 23, 24):
    KINDS[f"opset_{_opset}"] = GraphKind(partial(new_opset, _opset))
