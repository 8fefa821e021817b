"""Moves the weights of networks between ONNX files and their files of external weights.

An ONNX file is a protobuf message, which has at most 2 GiB; a network in memory may have more. What
needs a message (ONNX Runtime, shape inference, the checker) gets a copy without the large weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.onnx_format.onnx_files import (
    MAX_EXTERNAL_BYTES,
    check_external_file,
    number_of_bytes,
)
from edge_inference.core.onnx_format.onnx_reader import ELEMENT_BYTES, EXTERNAL
from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

#: Maximum size of the weights inside an ONNX file; the rest of the message needs room, too.
MAX_EMBEDDED_BYTES = MAX_WEIGHTS_BYTES - (256 << 20)
#: Weights of this size are moved out of a message that is too large; smaller ones may be shapes.
MIN_LARGE_BYTES = 1024
#: Weights begin at the start of a memory page, so that engines can map them.
_ALIGNMENT = 4096


def embed_weights(model: ModelProto, file: Path) -> bool:
    """Read the external weights of ``file`` into its network; return whether there are any.

    External weights are plain files in the model's folder, or links to such files, as caches of
    downloaded models have them. Raises ModelError for any other path, and for a file that is too
    short.
    """
    tensors = [tensor for tensor in _tensors(model) if tensor.data_location == EXTERNAL]
    for tensor in tensors:
        _embed(tensor, file)
    return bool(tensors)


def weight_bytes(model: ModelProto) -> int:
    """Return the size of the initializers of the main graph, in bytes."""
    return sum(map(_size_of, model.graph.initializer))


def without_weights(model: ModelProto) -> ModelProto:
    """Return a copy in which the initializers of at least MIN_LARGE_BYTES have no values.

    They refer to external weights that do not exist. The values are not copied.
    """
    light = type(model)()
    for descriptor, value in model.ListFields():
        if descriptor.name != "graph":
            _copy_field(light, descriptor.name, value)
    for descriptor, value in model.graph.ListFields():
        if descriptor.name != "initializer":
            _copy_field(light.graph, descriptor.name, value)
    for tensor in model.graph.initializer:
        if not _is_large(tensor):
            light.graph.initializer.append(tensor)
            continue
        light.graph.initializer.add(
            name=tensor.name,
            dims=tensor.dims,
            data_type=tensor.data_type,
            data_location=EXTERNAL,
        )
    return light


def split_weights(model: ModelProto, location: str, stream: IO[bytes]) -> ModelProto:
    """Write the large initializers to a file; return the network that refers to it.

    ``location`` is the name of that file for the network. Raises OSError.
    """
    light = without_weights(model)
    for tensor, reference in zip(model.graph.initializer, light.graph.initializer, strict=True):
        if reference.data_location != EXTERNAL:
            continue
        stream.write(bytes(-stream.tell() % _ALIGNMENT))
        data = tensor.raw_data
        place = {"location": location, "offset": stream.tell(), "length": len(data)}
        for key, value in place.items():
            reference.external_data.add(key=key, value=str(value))
        stream.write(data)
    return light


def _is_large(tensor: TensorProto) -> bool:
    return tensor.HasField("raw_data") and _size_of(tensor) >= MIN_LARGE_BYTES


def _size_of(tensor: TensorProto) -> int:
    return int(math.prod(tensor.dims)) * ELEMENT_BYTES.get(tensor.data_type, 1)


def _copy_field(target: ModelProto | GraphProto, name: str, value: object) -> None:
    field = getattr(target, name)
    if hasattr(field, "extend"):
        field.extend(value)
    elif hasattr(field, "CopyFrom"):
        field.CopyFrom(value)
    else:
        setattr(target, name, value)


def _embed(tensor: TensorProto, file: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    place = check_external_file(file, location)
    offset = number_of_bytes(entries.get("offset", "0"), "offset", tensor.name, file)
    try:
        with open_regular_file(place, MAX_EXTERNAL_BYTES) as stream:
            left = place.stat().st_size - offset
            length = number_of_bytes(
                entries.get("length", str(max(left, 0))), "length", tensor.name, file
            )
            if length > left:
                check_external_file(file, location, offset + length)  # raises, with the cause
            if length > MAX_WEIGHTS_BYTES:
                raise ModelError(
                    f"{file}: too large to derive another precision: the weights "
                    f"{tensor.name!r:.100} have {length >> 20} MiB, expected at most "
                    f"{MAX_WEIGHTS_BYTES >> 20}; run it as it is"
                )
            stream.seek(offset)
            data = stream.read(length)
    except OSError as error:
        raise ModelError(f"{place}: cannot be read ({error.strerror})") from error
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")
    tensor.raw_data = data


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
