"""Networks of the operators that exporters write: more rows of ``KINDS``."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
from onnx import TensorProto

from graph_kinds import GraphKind, kind
from small_net import SmallNet
from structure_kinds import KINDS

__all__ = ["KINDS"]


@kind()
def batch_normalization_alone() -> onnx.ModelProto:
    net = SmallNet()
    norm = [net.constant(np.linspace(low, high, 3)) for low, high in ((1, 2), (0, 1), (-1, 1))]
    net.head(net.conv(net.add("BatchNormalization", "x", *norm, net.constant([1, 2, 3])), 3, 8))
    return net.model()


@kind(int8_db=20)
def transposed_convolutions() -> onnx.ModelProto:
    net = SmallNet()
    up = net.add("ConvTranspose", net.stem(), net.weight(8, 8, 2, 2), strides=[2, 2])
    up = net.add("ConvTranspose", up, net.weight(8, 4, 2, 2), group=2, strides=[2, 2])
    net.head(net.add("Relu", up))
    return net.model()


@kind()
def grouped_convolutions() -> onnx.ModelProto:
    net = SmallNet()
    depthwise = net.add("Conv", net.stem(), net.weight(8, 1, 3, 3), group=8, pads=[1] * 4)
    grouped = net.add("Conv", net.add("Relu", depthwise), net.weight(8, 4, 3, 3), group=2)
    net.head(net.add("HardSwish", grouped))
    return net.model()


@kind()
def convolutions_of_one_and_three_axes() -> onnx.ModelProto:
    net = SmallNet()
    volume = net.add("Reshape", net.stem(), net.integers(1, 1, 8, 16, 16))
    volume = net.add("Conv", volume, net.weight(4, 1, 3, 3, 3), pads=[1] * 6)
    line = net.add("Reshape", net.add("Relu", volume), net.integers(1, 32, 256))
    net.add("Conv", line, net.weight(4, 32, 3), outputs="y", strides=[2])
    return net.model()


def _recurrent(operator: str, gates: int) -> onnx.ModelProto:
    net = SmallNet()
    steps = net.add("Transpose", net.tokens(net.stem()), perm=[1, 0, 2])
    size = 8
    weights = net.weight(1, gates * size, 128), net.weight(1, gates * size, size)
    state = net.add(operator, steps, *weights, hidden_size=size)
    flat = net.add("Reshape", state, net.integers(16, size))
    net.add("MatMul", flat, net.weight(size, 4), outputs="y")
    return net.model()


for _operator, _gates in (("GRU", 3), ("LSTM", 4), ("RNN", 1)):
    KINDS[_operator.lower()] = GraphKind(partial(_recurrent, _operator, _gates))


@kind()
def einsum() -> onnx.ModelProto:
    net = SmallNet()
    products = net.add("Einsum", net.stem(), net.weight(8, 6), equation="bchw,cd->bdhw")
    left = net.add("Relu", products)
    net.add("Einsum", left, net.conv(net.stem(), 8, 6), equation="bchw,bdhw->bcd", outputs="y")
    return net.model()


@kind()
def normalizations() -> onnx.ModelProto:
    net = SmallNet(opset=21, ir_version=10)
    scale, shift = net.constant(np.linspace(0.5, 1.5, 8)), net.constant(np.linspace(-1, 1, 8))
    stem = net.add("InstanceNormalization", net.conv("x", 3, 8), scale, shift)
    stem = net.add("GroupNormalization", net.conv(stem, 8, 8), scale, shift, num_groups=2)
    wide = net.constant(np.ones(128)), net.constant(np.zeros(128))
    tokens = net.add("LayerNormalization", net.tokens(net.conv(stem, 8, 8)), *wide, axis=-1)
    net.add("MatMul", tokens, net.weight(128, 4), outputs="y")
    return net.model(shapes={"y": [1, 16, 4]})


@kind()
def resizing() -> onnx.ModelProto:
    net = SmallNet()
    small = net.add("AveragePool", net.stem(), kernel_shape=[2, 2], strides=[2, 2])
    sizes = net.integers(1, 8, 16, 16)
    linear = net.add("Resize", small, "", "", sizes, mode="linear")
    cubic = net.add("Resize", small, "", "", sizes, mode="cubic")
    shape = net.add(
        "Concat",
        net.integers(1, 8),
        net.add("Slice", net.add("Shape", "x"), net.integers(2), net.integers(4)),
        axis=0,
    )
    nearest = net.add("Resize", small, "", "", shape, mode="nearest")
    net.head(net.add("Concat", linear, cubic, nearest, axis=1), 24)
    return net.model()


@kind(int8_db=18)
def grid_sample() -> onnx.ModelProto:
    net = SmallNet()
    offsets = net.add("Tanh", net.conv(net.stem(), 8, 2))
    grid = net.add("Transpose", offsets, perm=[0, 2, 3, 1])
    net.head(net.add("GridSample", net.stem(), grid))
    return net.model()


@kind()
def depth_and_space() -> onnx.ModelProto:
    net = SmallNet()
    deep = net.add("SpaceToDepth", net.stem(), blocksize=2)
    deep = net.conv(deep, 32, 32)
    net.head(net.add("DepthToSpace", deep, blocksize=2, mode="CRD"))
    return net.model()


@kind()
def activations() -> onnx.ModelProto:
    net = SmallNet(opset=20, ir_version=9)
    result = net.add("PRelu", net.conv("x", 3, 8), net.constant(np.full((8, 1, 1), 0.2)))
    for operator in ("Gelu", "Elu", "Mish", "HardSwish", "Softplus", "Erf", "HardSigmoid"):
        result = net.add(operator, net.conv(result, 8, 8))
    net.head(result)
    return net.model()


@kind()
def channel_attention() -> onnx.ModelProto:
    net = SmallNet()
    stem = net.stem()
    pooled = net.add("GlobalAveragePool", stem)
    gate = net.add(
        "Conv", net.add("Relu", net.head(pooled, outputs="squeezed")), net.weight(8, 4, 1, 1)
    )
    net.head(net.add("Mul", stem, net.add("Sigmoid", gate)))
    return net.model()


@kind(int8_db=17)
def reductions_and_powers() -> onnx.ModelProto:
    net = SmallNet(opset=18)
    stem = net.stem()
    square = net.add("ReduceMean", net.add("Pow", stem, net.constant(2.0)), net.integers(1))
    norm = net.add("Sqrt", net.add("Add", square, net.constant(1e-6)))
    net.head(net.add("Div", stem, norm))
    return net.model()


@kind()
def gathers_and_scatters() -> onnx.ModelProto:
    net = SmallNet()
    stem = net.stem()
    part = net.add("Gather", stem, net.integers(3, 1, 5, 7), axis=1)
    rest = net.add(
        "Slice", stem, net.integers(0), net.integers(8), net.integers(1), net.integers(2)
    )
    places = net.constant(np.arange(4).reshape(4, 1), np.int64)
    moved = net.add("Transpose", net.add("Concat", part, rest, axis=1), perm=[1, 0, 2, 3])
    added = net.add("ScatterND", moved, places, net.weight(4, 1, 16, 16))
    net.head(net.add("Transpose", added, perm=[1, 0, 2, 3]))
    return net.model()


@kind(rtx="does not support dilations")
def dilated_pooling() -> onnx.ModelProto:
    net = SmallNet(opset=19, ir_version=9)
    pooled = net.add("AveragePool", net.stem(), kernel_shape=[2, 2], dilations=[2, 2])
    net.head(net.add("MaxPool", pooled, kernel_shape=[2, 2], dilations=[2, 2]))
    return net.model()


@kind()
def layers_with_computed_weights() -> onnx.ModelProto:
    net = SmallNet()
    stem = net.stem()
    pooled = net.add("Flatten", net.add("GlobalAveragePool", stem))
    kernel = net.add("Gemm", pooled, net.weight(8, 32), net.constant(np.linspace(-0.1, 0.1, 32)))
    kernel = net.add("Reshape", kernel, net.integers(4, 8, 1, 1))
    mixed = net.add("Conv", stem, kernel)
    square = net.add("Mul", mixed, mixed)
    net.head(net.add("ConvTranspose", square, kernel))
    return net.model()


@kind()
def products_of_all_forms() -> onnx.ModelProto:
    net = SmallNet()
    tokens = net.tokens(net.stem())
    first = net.add("MatMul", net.weight(8, 16), tokens)
    batched = net.add("MatMul", first, net.weight(1, 128, 16))
    vector = net.add("MatMul", batched, net.weight(16))
    scaled = net.add(
        "Gemm", vector, net.weight(4, 8), net.weight(1, 4), alpha=0.5, beta=2.0, transB=1
    )
    turned = net.add("Gemm", scaled, net.weight(1, 6), transA=1)
    net.add("MatMul", turned, net.weight(6, 4), outputs="y")
    return net.model()


@kind()
def clamps_of_all_forms() -> onnx.ModelProto:
    net = SmallNet()
    high, low = net.add("ReduceMax", net.stem(), keepdims=0), net.constant(-0.5)
    clamped = [
        net.add("Clip", net.conv("x", 3, 8), *bounds)
        for bounds in ((), (low,), ("", high), (low, high))
    ]
    net.head(net.add("Concat", *clamped, axis=1), 32)
    whole = net.add("Cast", "x", to=TensorProto.INT32)
    net.add("Clip", whole, net.constant(0, np.int32), outputs="n")
    return net.model(("y", "n"), {"n": TensorProto.INT32})


@kind()
def transposed_products() -> onnx.ModelProto:
    """In fp16, a cast between transpose and product makes ONNX Runtime's own fusion crash."""
    net = SmallNet()
    rows = net.add("Transpose", net.tokens(net.stem()), perm=[1, 0, 2])
    net.add("MatMul", rows, net.weight(128, 4), outputs="y")
    return net.model()


@kind(rtx=r"\(ScatterND\)")
def operators_without_fp16() -> onnx.ModelProto:
    """By ONNX's schema they have it, but not in its definitions or ONNX Runtime's kernels."""
    net = SmallNet(opset=18)
    mean = net.add("MeanVarianceNormalization", net.stem(), axes=[0, 2, 3])
    rows = net.add("Transpose", mean, perm=[1, 0, 2, 3])
    places = net.constant(np.arange(4).reshape(4, 1), np.int64)
    update = net.constant(np.full((4, 1, 16, 16), 0.5))
    rows = net.add("ScatterND", rows, places, update, reduction="add")
    net.head(net.add("Transpose", rows, perm=[1, 0, 2, 3]))
    return net.model()
