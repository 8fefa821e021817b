"""The files of an ONNX model: the ``.onnx`` file, and the files of weights that it references.

An ONNX file may keep the values of tensors in other files ("external data"). These belong to the
model as much as the file itself: :func:`onnx_digest` is the checksum of all of them.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, is_regular_file, open_regular_file
from edge_inference.core.checksum import sha256_of
from edge_inference.core.onnx_format.file_kinds import recognize_placeholder
from edge_inference.core.onnx_format.onnx_reader import (
    ELEMENT_BYTES,
    EXTERNAL,
    MAX_GRAPH_DEPTH,
    ByteSource,
    LimitExceededError,
    MalformedMessageError,
    WireMessage,
    merge_messages,
    read_tensor,
)
from edge_inference.errors import ModelError

#: Maximum size of one file of external weights, which are not a protobuf message.
MAX_EXTERNAL_BYTES = 1 << 40
#: Maximum number of files of external weights of one model.
_MAX_FILES = 10_000
#: Suffix of ONNX Runtime's own format, which is not protobuf and has no external weights.
ORT_SUFFIX = ".ort"
#: Maximum share of holes in a file of weights, and the size of holes that is always allowed:
#: exporters leave holes to align weights.
_MAX_HOLE_SHARE = 0.5
_ALLOWED_HOLE_BYTES = 1 << 20


class _Place(NamedTuple):
    """Where the values of a tensor are: a file, and the end of the values in it, in bytes."""

    location: str
    end: int


def external_files(file: Path) -> dict[str, int]:
    """Return the files of weights that an ONNX file references, and the bytes that each must have.

    The names are relative to the folder of ``file``, sorted, and without ``./``. A file that is
    not ONNX references none; opening it shows its error. Raises OSError where ``file`` cannot be
    read, ModelError for a path outside the folder and for values that no ONNX file has.
    """
    if file.name.lower().endswith(ORT_SUFFIX):
        return {}
    found: dict[str, int] = {}
    with open_regular_file(file, MAX_WEIGHTS_BYTES) as stream:
        try:
            for tensor in _tensors_of_model(WireMessage(ByteSource(stream.fileno())), file):
                place = _place_of(tensor, file)
                if place is not None:
                    found[place.location] = max(place.end, found.get(place.location, 0))
                if len(found) > _MAX_FILES:
                    raise ModelError(
                        f"{file}: expected weights in at most {_MAX_FILES} files, got more; save "
                        "it again with all weights in one file"
                    )
        except MalformedMessageError:
            return {}
        except LimitExceededError as error:
            raise ModelError(f"{file}: not a usual ONNX model: {error}") from error
    return dict(sorted(found.items()))


def check_external_file(file: Path, location: str, size: int = 0) -> Path:
    """Return the file of weights at ``location``, which must have at least ``size`` bytes.

    Raises ModelError for a path outside the model's folder, and for a file that is missing, not
    regular, too short, or mostly holes.
    """
    if not is_relative_inside(location):
        raise ModelError(
            f"{file}: expected external weights in the model's folder, got {location!r:.200}"
        )
    place = file.parent / location
    if not os.path.lexists(place):
        raise ModelError(f"{place}: no such file; it has the weights of {file.name}, copy it, too")
    if not is_regular_file(place):
        raise ModelError(f"{place}: expected a regular file of weights; copy it again")
    try:
        with open_regular_file(place, MAX_EXTERNAL_BYTES) as stream:
            length = os.fstat(stream.fileno()).st_size
            is_sparse = is_mostly_holes(stream.fileno())
        if length < size:
            raise ModelError(_describe_short_file(place, file, length, size))
    except OSError as error:
        raise ModelError(f"{place}: cannot be read ({error.strerror})") from error
    if is_sparse:
        raise ModelError(
            f"{place}: expected weights, got a sparse file of {length} bytes; copy it again"
        )
    return place


def _describe_short_file(place: Path, file: Path, length: int, size: int) -> str:
    """Return why a file of weights is too short. Raises OSError."""
    with place.open("rb") as stream:
        kind = recognize_placeholder(stream.fileno())
    if kind is not None:
        return f"{place}: expected the weights of {file.name}, got {kind.name}; {kind.hint}"
    return (
        f"{place}: expected at least {size} bytes for the weights of {file.name}, got {length}: it "
        "was cut off, or belongs to another export; copy or download it again"
    )


def external_digests(file: Path) -> dict[str, str]:
    """Return the sha256 of each file of weights that an ONNX file references.

    Raises ModelError where one of the files is missing, too short, or cannot be read.
    """
    try:
        sizes = external_files(file)
    except OSError as error:
        raise _unreadable(file, error) from error
    return {
        location: _sha256_of_weights(check_external_file(file, location, size))
        for location, size in sizes.items()
    }


def onnx_digest(file: Path) -> str:
    """Return the checksum of an ONNX model: of its file and of every file that it references.

    Without external weights it is the file's own sha256. Raises ModelError where one of the files
    is missing, too short, or cannot be read.
    """
    try:
        digest = sha256_of(file)
    except OSError as error:
        raise _unreadable(file, error) from error
    return combine_digests(digest, external_digests(file))


def model_size(file: Path) -> int:
    """Return the size of an ONNX file and of every file that it references, in bytes.

    Raises OSError and ModelError.
    """
    sizes = external_files(file)
    return file.stat().st_size + sum((file.parent / name).stat().st_size for name in sizes)


def combine_digests(digest: str, external: Mapping[str, str]) -> str:
    """Return the checksum of a model from the sha256 of its ONNX file and of its files of weights.

    Without files of weights it is that of the ONNX file.
    """
    if not external:
        return digest
    lines = [digest, *(f"{external[name]} {name}" for name in sorted(external))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_relative_inside(location: str) -> bool:
    """Tell whether a relative path stays inside its folder. Links are not resolved."""
    path = PurePosixPath(location)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and ("\0" not in location and "\\" not in location)
    )


def normalize_location(location: str) -> str:
    """Return a path inside a folder in its only spelling: ``./a//b`` is ``a/b``."""
    return PurePosixPath(location).as_posix()


def _sha256_of_weights(place: Path) -> str:
    try:
        return sha256_of(place, MAX_EXTERNAL_BYTES)
    except OSError as error:
        raise _unreadable(place, error) from error


def _unreadable(file: Path, error: OSError) -> ModelError:
    return ModelError(f"{file}: cannot be read ({error.strerror})")


def _place_of(message: WireMessage, file: Path) -> _Place | None:
    """Return the place of a tensor's values, None if they are in the ONNX file itself."""
    if all(field.value != EXTERNAL for field in message if field.number == 14):
        return None
    tensor = read_tensor(message)
    entries = tensor.external or {}
    location = entries.get("location", "")
    if not is_relative_inside(location):
        raise ModelError(
            f"{file}: expected external weights in the model's folder, got {location!r:.200}"
        )
    offset = number_of_bytes(entries.get("offset", "0"), "offset", tensor.name, file)
    size = max(math.prod(tensor.dims), 0) * ELEMENT_BYTES.get(tensor.kind, 0)
    length = number_of_bytes(entries.get("length", str(size)), "length", tensor.name, file)
    return _Place(normalize_location(location), offset + length)


def number_of_bytes(text: str, what: str, tensor: str, file: Path) -> int:
    """Return an offset or a length of external weights. Raises ModelError for another text."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(
            f"{file}: the {what} of the weights {tensor!r:.100}: expected a number of bytes, "
            f"got {text!r:.100}"
        )
    return int(text)


def _tensors_of_model(model: WireMessage, file: Path) -> Iterator[WireMessage]:
    """Yield every tensor: weights, and constants of nodes, also in subgraphs and functions."""
    parts = model.parts(7, 25)
    graph = merge_messages(parts[7])
    if graph is not None:
        yield from _tensors_of_graph(graph, file, 0)
    for function in parts[25]:
        inner = function.parts(7, 11)
        yield from _tensors_of_nodes(inner[7], file, 0)
        yield from _tensors_of_attributes(inner[11], file, 0)


def _tensors_of_graph(graph: WireMessage, file: Path, depth: int) -> Iterator[WireMessage]:
    if depth > MAX_GRAPH_DEPTH:
        raise ModelError(f"{file}: expected graphs nested at most {MAX_GRAPH_DEPTH} deep, got more")
    parts = graph.parts(1, 5, 15)
    yield from parts[5]
    for sparse in parts[15]:
        yield from _tensors_of_sparse(sparse)
    yield from _tensors_of_nodes(parts[1], file, depth)


def _tensors_of_nodes(
    nodes: Sequence[WireMessage], file: Path, depth: int
) -> Iterator[WireMessage]:
    for node in nodes:
        yield from _tensors_of_attributes([*node.all(5)], file, depth)


def _tensors_of_attributes(
    attributes: Sequence[WireMessage], file: Path, depth: int
) -> Iterator[WireMessage]:
    for attribute in attributes:
        parts = attribute.parts(5, 6, 10, 11, 22, 23)
        tensor, graph = merge_messages(parts[5]), merge_messages(parts[6])
        yield from ([] if tensor is None else [tensor])
        yield from parts[10]
        for inner in ([] if graph is None else [graph]) + parts[11]:
            yield from _tensors_of_graph(inner, file, depth + 1)
        for sparse in (*parts[22], *parts[23]):
            yield from _tensors_of_sparse(sparse)


def _tensors_of_sparse(sparse: WireMessage) -> Iterator[WireMessage]:
    parts = sparse.parts(1, 2)
    for part in (parts[1], parts[2]):
        tensor = merge_messages(part)
        if tensor is not None:
            yield tensor


def is_mostly_holes(descriptor: int) -> bool:
    """Tell whether an open file is sparse: it can have any length and take no space."""
    size = os.fstat(descriptor).st_size
    data_bytes = sum(last - first for first, last in _data_ranges(descriptor, size))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return size - data_bytes > max(_MAX_HOLE_SHARE * size, _ALLOWED_HOLE_BYTES)


def _data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    position = 0
    while position < size:
        try:
            first = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return
        position = os.lseek(descriptor, first, os.SEEK_HOLE)
        yield first, position
