"""Embeds external weights into a network, so that the derived model is one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.models.onnx_files import check_external_file, number_of_bytes
from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

_EXTERNAL = 1  # TensorProto.EXTERNAL


def embed_weights(model: ModelProto, file: Path) -> bool:
    """Read the external weights of ``file`` into its network; return whether there are any.

    External weights are plain files in the model's folder, or links to such files, as caches of
    downloaded models have them. Raises ModelError for any other path, and where the weights
    exceed the limit of one ONNX file.
    """
    size = 0
    tensors = [tensor for tensor in _tensors(model) if tensor.data_location == _EXTERNAL]
    for tensor in tensors:
        size += _embed(tensor, file, MAX_WEIGHTS_BYTES - size)
    return bool(tensors)


def _embed(tensor: TensorProto, file: Path, max_bytes: int) -> int:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    place = check_external_file(file, location)
    offset = number_of_bytes(entries.get("offset", "0"), "offset", tensor.name, file)
    try:
        with open_regular_file(place, 1 << 62) as stream:
            left = place.stat().st_size - offset
            length = number_of_bytes(
                entries.get("length", str(max(left, 0))), "length", tensor.name, file
            )
            if length > max_bytes:
                raise ModelError(
                    f"{file}: too large to derive another precision: with the weights in "
                    f"{location!r:.200} it exceeds {MAX_WEIGHTS_BYTES >> 20} MiB, the limit of one "
                    "ONNX file; run it as it is"
                )
            if length > left:
                raise ModelError(
                    f"{place}: expected at least {offset + length} bytes for the weights "
                    f"{tensor.name!r:.100}, got {left + offset}; copy the file again"
                )
            stream.seek(offset)
            data = stream.read(length)
    except OSError as error:
        raise ModelError(f"{place}: cannot be read ({error.strerror})") from error
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")
    tensor.raw_data = data
    return length


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)
        yield from _of_attributes(function.attribute_proto)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable[AttributeProto]) -> Iterator[TensorProto]:
    for attribute in attributes:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_graph(graph)
