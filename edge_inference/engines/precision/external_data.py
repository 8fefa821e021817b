"""Weights that lie beside an ONNX file, taken into the network: what is derived is one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.models.onnx_memory import is_relative_inside
from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_EXTERNAL = 1  # TensorProto.EXTERNAL


def embed_weights(model: ModelProto, file: Path) -> bool:
    """Read the weights that ``file`` keeps elsewhere into its network; tell whether there are any.

    They are plain files in the model's folder, or links to such, as caches of downloaded models
    have them. Raises ModelError for whatever else is named, and where all of it is more than
    one ONNX file can hold.
    """
    size = 0
    tensors = [tensor for tensor in _tensors(model) if tensor.data_location == _EXTERNAL]
    for tensor in tensors:
        size += _embed(tensor, file, MAX_WEIGHTS_BYTES - size)
    return bool(tensors)


def _embed(tensor: TensorProto, file: Path, at_most: int) -> int:
    told = {entry.key: entry.value for entry in tensor.external_data}
    location = told.get("location", "")
    if not is_relative_inside(location):
        raise ModelError(
            f"{file}: its weights lie in {location!r:.200}; expected a file in the model's folder"
        )
    place = file.parent / location
    offset = _number(told.get("offset", "0"), "offset", tensor, file)
    try:
        with open_regular_file(place, 1 << 62) as stream:
            left = place.stat().st_size - offset
            length = _number(told.get("length", str(max(left, 0))), "length", tensor, file)
            if length > at_most:
                raise ModelError(
                    f"{file}: with the weights in {location!r:.200} it is too large; expected at "
                    f"most {MAX_WEIGHTS_BYTES >> 20} MiB, which one ONNX file holds, to derive "
                    "another precision; run it as it is"
                )
            if length > left:
                raise ModelError(
                    f"{place}: the weights {tensor.name!r:.100} end at byte {offset + length}, "
                    f"and it has {left + offset}; copy it again"
                )
            stream.seek(offset)
            data = stream.read(length)
    except FileNotFoundError as error:
        raise ModelError(
            f"{place}: no such file; the weights of {file.name} lie there, copy them too"
        ) from error
    except OSError as error:
        raise ModelError(f"{place}: cannot be read ({error.strerror})") from error
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")
    tensor.raw_data = data
    return length


def _number(text: str, what: str, tensor: TensorProto, file: Path) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(
            f"{file}: the {what} of the weights {tensor.name!r:.100}: expected a number of bytes, "
            f"got {text!r:.100}"
        )
    return int(text)


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (attribute.g, *attribute.graphs):
                yield from _of_graph(graph)
