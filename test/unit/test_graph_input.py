"""How an image enters a graph, and what its other inputs need."""

from __future__ import annotations

from typing import Any

import pytest

from edge_inference.core.exports.exporter_metadata import ExporterMetadata
from edge_inference.core.exports.graph_input import ImageInput, extra_values, find_image_input
from edge_inference.core.exports.onnx_summary import GraphTensor, OnnxSummary
from edge_inference.core.exports.sidecars import Sidecars
from edge_inference.errors import ModelError

IMAGE = GraphTensor("image", "float32", (1, 3, 32, 64))


def summary(*inputs: GraphTensor, outputs: tuple[GraphTensor, ...] = ()) -> OnnxSummary:
    return OnnxSummary(8, {"": 17}, "", {}, inputs, outputs, {}, frozenset())


def find(*inputs: GraphTensor, **more: Any) -> ImageInput:
    outputs = more.pop("outputs", (GraphTensor("y", "float32", (1, 84, 10)),))
    metadata = more.pop("metadata", ExporterMetadata())
    sidecars = Sidecars(preprocessor=more)
    return find_image_input(summary(*inputs, outputs=outputs), metadata, sidecars)


@pytest.mark.parametrize(
    ("name", "dtype", "value"),
    [
        ("orig_target_sizes", "int64", [[64, 32]]),
        ("im_shape", "float32", [[32.0, 64.0]]),
        ("scale_factor", "float32", [[1.0, 1.0]]),
    ],
)
def test_a_value_that_the_name_stands_for(name: str, dtype: str, value: object) -> None:
    other = GraphTensor(name, dtype, (1, 2))
    image = find(IMAGE, other)
    values = extra_values(summary(IMAGE, other), image, {})
    assert repr(values) == repr({name: value})  # 1.0 is not 1


def test_the_users_value_wins() -> None:
    other = GraphTensor("orig_target_sizes", "int64", (1, 2))
    values = extra_values(summary(IMAGE, other), find(IMAGE, other), {other.name: [[1, 2]]})
    assert values == {other.name: [[1, 2]]}


def test_values_that_nobody_knows() -> None:
    others = GraphTensor("a", "float32", (1,)), GraphTensor("b", "bool", None)
    with pytest.raises(ModelError, match=r"a float32 \[1\]; b bool any shape; give each with"):
        extra_values(summary(IMAGE, *others), find(IMAGE, *others), {})
    with pytest.raises(ModelError, match="'c': expected one of the graph's other inputs, a, b"):
        extra_values(summary(IMAGE, *others), find(IMAGE, *others), {"c": 1})


@pytest.mark.parametrize(
    ("shape", "dtype", "layout", "size"),
    [
        ((1, 3, 32, 64), "float32", "NCHW", (64, 32)),
        ((1, 32, 64, 3), "float32", "NHWC", (64, 32)),
        ((1, 3, 3, 3), "float32", "NCHW", (3, 3)),
        ((3, 32, 64), "float32", "CHW", (64, 32)),
        ((32, 64, 1), "uint8", "HWC", (64, 32)),
        (("n", None, None, 3), "uint8", "NHWC", (640, 640)),
        (("n", None, None, None), "uint8", "NHWC", (640, 640)),
        (("n", None, None, None), "float32", "NCHW", (640, 640)),
        (("n", 3, 32, None), "float32", "NCHW", (640, 32)),
    ],
)
def test_a_layout(
    shape: tuple[int | str | None, ...], dtype: str, layout: str, size: tuple[int, int]
) -> None:
    found = find(GraphTensor("mask", "bool", (1, 2)), GraphTensor("x", dtype, shape))
    assert (found.tensor.name, found.layout) == ("x", layout)
    assert (found.width, found.height) == size
    assert ("input.width" in found.assumed) == (None in shape)


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({"metadata": ExporterMetadata(size=(96, 48))}, (96, 48)),
        ({"size": {"height": 48, "width": 96}}, (96, 48)),
        ({"crop_size": 99, "size": {"height": 1, "width": 1}}, (99, 99)),
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, (800, 800)),
        ({"size": {"shortest_edge": True}}, (640, 640)),
        ({"size": {"shortest_edge": 0}}, (640, 640)),
        ({"size": {"height": "a", "width": -1}}, (640, 640)),
        ({"outputs": (GraphTensor("y", "float32", ("n", 10)),)}, (224, 224)),
    ],
)
def test_the_size_where_the_graph_takes_any(more: dict[str, Any], size: tuple[int, int]) -> None:
    found = find(GraphTensor("x", "float32", ("n", 3, "h", "w")), **more)
    assert (found.width, found.height) == size
    is_known = size not in ((640, 640), (224, 224), (800, 800))
    assert ("input.width" not in found.assumed) == is_known


@pytest.mark.parametrize(
    "tensor",
    [
        GraphTensor("x", "", (1, 3, 8, 8)),
        GraphTensor("x", "float32", None),
        GraphTensor("x", "float32", (1, 3)),
        GraphTensor("x", "float32", (1, 8, 8, 8)),
        GraphTensor("x", "float32", (1, 3, 8, 8, 8)),
        GraphTensor("x", "float32", (1, 3, 16385, 8)),
    ],
)
def test_an_input_that_takes_no_image(tensor: GraphTensor) -> None:
    with pytest.raises(ModelError, match=r"expected an (input for an )?image"):
        find(tensor)


@pytest.mark.parametrize(("channels", "color"), [(1, "GRAY"), (3, "RGB"), (4, "RGBA")])
def test_a_color(channels: int, color: str) -> None:
    found = find(GraphTensor("x", "float32", (2, channels, 8, 8)))
    assert (found.color, found.batch, found.keys()["batch"]) == (color, 2, 2)
