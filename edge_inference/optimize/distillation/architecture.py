"""The shape of a network: its stages of convolutions and its attention layers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.engines.precision.onnx_file import (
    first_line,
    import_onnx,
    infer_shapes,
    read_onnx,
)
from edge_inference.errors import ModelError
from edge_inference.optimize.distillation.teachers import Teacher

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: Shape of a tensor; None for a length that the graph leaves open.
_Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class ConvolutionStage:
    """The convolutions of one spatial size.

    ``channels`` are those of the narrowest ordinary convolution, ``widest`` those of the widest of
    all, ``depth`` counts the convolutions with a kernel above 1 x 1, and ``height`` is the height
    of their outputs.
    """

    channels: int
    widest: int
    depth: int
    height: int


@dataclass(frozen=True)
class Architecture:
    """The shape of a network with ``parameters`` weights.

    ``convolutions`` counts all convolutions, ``attentions`` the attention layers, each with
    ``heads`` heads. ``patch`` and ``width`` are size and channels of the convolution that cuts an
    image into patches. None is unknown, or not there.
    """

    parameters: int
    stages: tuple[ConvolutionStage, ...]
    convolutions: int
    attentions: int
    heads: int | None
    patch: int | None
    width: int | None


def read_architecture(teacher: Teacher) -> Architecture:
    """Return the shape of a teacher's network, read from its ONNX graph.

    Raises ModelError for a teacher that cannot be exported, or a graph with invalid shapes.
    """
    onnx = import_onnx()
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        file = teacher.onnx_file(Path(folder))
        model, _ = read_onnx(file)
    try:
        model = infer_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(
            f"teacher {teacher.name}: its graph has contradictory shapes: {first_line(error)}"
        ) from error
    shapes = _shapes(model)
    found: list[ConvolutionStage] = []
    convolutions, patch, width = 0, None, None
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        convolutions += 1
        output, weights = shapes.get(node.output[0], ()), shapes.get(node.input[1], ())
        if len(output) != 4 or len(weights) != 4 or None in (*output[1:], *weights):
            continue
        channels, height, kernel = int(output[1] or 0), int(output[2] or 0), int(weights[2] or 0)
        if convolutions == 1 and kernel > 1 and _stride(node) == kernel:
            patch, width = kernel, channels
        _add(found, channels, height, kernel, is_depthwise=_groups(node) > 1)
    heads, attentions = _attentions(model, shapes)
    return Architecture(
        teacher.parameter_count(), tuple(found), convolutions, attentions, heads, patch, width
    )


def _add(
    stages: list[ConvolutionStage], channels: int, height: int, kernel: int, *, is_depthwise: bool
) -> None:
    """Count a convolution to the last stage, or begin a stage if its output is smaller."""
    last = stages[-1] if stages else None
    # Pooled vectors (squeeze and excite) and maps that grow again are no stages.
    if height <= 1 or (last is not None and height > last.height):
        return
    spatial = int(kernel > 1)
    if last is None or height < last.height:
        stages.append(ConvolutionStage(channels, channels, spatial, height))
        return
    # A depthwise convolution that begins a stage has the channels of the stage before.
    narrowest = last.channels if is_depthwise else min(last.channels, channels)
    stages[-1] = ConvolutionStage(
        narrowest, max(last.widest, channels), last.depth + spatial, height
    )


def _attentions(model: ModelProto, shapes: dict[str, _Shape]) -> tuple[int | None, int]:
    """Return the heads and the number of attention layers: a softmax whose result is multiplied."""
    multiplied = {
        name for node in model.graph.node if node.op_type == "MatMul" for name in node.input
    }
    scores = [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Softmax" and node.output[0] in multiplied
    ]
    shape = shapes.get(scores[0], ()) if scores else ()
    return (shape[1] if len(shape) == 4 else None), len(scores)


def _shapes(model: ModelProto) -> dict[str, _Shape]:
    found: dict[str, _Shape] = {
        tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer
    }
    for entry in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        if entry.type.tensor_type.HasField("shape"):
            found[entry.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else None
                for dim in entry.type.tensor_type.shape.dim
            )
    return found


def _attribute(node: NodeProto, name: str) -> Any:
    return next((each for each in node.attribute if each.name == name), None)


def _stride(node: NodeProto) -> int:
    strides = _attribute(node, "strides")
    return int(strides.ints[0]) if strides is not None and strides.ints else 1


def _groups(node: NodeProto) -> int:
    group = _attribute(node, "group")
    return 1 if group is None else int(group.i)
