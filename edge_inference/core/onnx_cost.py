"""What an ONNX file declares that it needs, known before it is loaded.

A robot loads a model into the node's own process, where nothing could end it: a file that itself
says that it needs too much is refused before. What a network works out while it runs (a shape, how
often a loop turns) is not known here, and is the business of who trusts it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from edge_inference.core.bounded_file import LARGEST_WEIGHTS, is_plain_file, open_plain
from edge_inference.core.memory_limit import allow_more, machine_memory_mib, memory_limit_mib
from edge_inference.core.onnx_walk import (
    ELEMENT_BYTES,
    FLOAT_BYTES,
    MalformedError,
    Message,
    Source,
    Tensor,
    TooManyFieldsError,
    read_tensor,
)
from edge_inference.errors import ModelError

#: More nodes than networks have; ONNX Runtime's time grows with their square.
MOST_NODES = 50_000
#: Graphs within each other, as a loop's in a branch's.
_DEEPEST = 16
#: Of a file's length so much may be holes: exporters leave them where they align weights.
_MOST_HOLES = 0.5
_LEAST_HOLES = 1 << 20
#: What ONNX Runtime's own format begins with, behind four bytes: it is no protobuf.
_RUNTIMES_OWN = b"ORTM"

#: Which input of a node is a shape that its result is as large as.
_SHAPED = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Resize": 3, "OneHot": 1}

_Values = list[float]


class _Elements(NamedTuple):
    """How many elements a tensor has, and what each takes."""

    length: float
    element_bytes: int


_ONE = _Elements(1, 1)


def check_cost(file: Path, most_mib: int | None = None, option: str = "") -> None:
    """Raise ModelError for an ONNX file that declares to need more than ``most_mib`` of memory.

    Without it, that is what this process may take, or what the machine has. ``option`` is what
    allows more. A file that cannot be read or is no ONNX file is left to who opens it.
    """
    limit, hint = _limit(most_mib, option)
    try:
        stream = open_plain(file, LARGEST_WEIGHTS)
    except OSError:
        return
    with stream:
        source = Source(stream.fileno())
        if source.bytes(4, 8) == _RUNTIMES_OWN:
            return
        try:
            _Check(file, limit << 20, hint).model(Message(source))
        except TooManyFieldsError as error:
            raise ModelError(f"{file}: no network: {error}") from error
        except MalformedError:
            return


def _limit(most_mib: int | None, option: str) -> tuple[int, str]:
    limit = memory_limit_mib()
    if most_mib is not None:
        return most_mib, f"allow more with {option}"
    if limit is not None:
        return limit, allow_more()
    return machine_memory_mib(), "the machine has no more; use a smaller model"


class _Check:
    def __init__(self, file: Path, most_bytes: int, hint: str) -> None:
        self._file = file
        self._most = most_bytes
        self._hint = hint
        self._held = 0.0
        self._nodes = 0
        self._external: set[str] = set()
        self._constants: dict[str, Tensor] = {}
        self._known: dict[str, _Elements] = {}

    def model(self, message: Message) -> None:
        for field in message:
            if field.inner is None:
                continue
            if field.number == 7:
                self._graph(field.inner, 0)
            elif field.number == 25:  # functions
                for node in field.inner.all(7):
                    self._node(node, 0)

    def _graph(self, graph: Message, depth: int) -> None:
        if depth > _DEEPEST:
            raise ModelError(
                f"{self._file}: expected graphs within each other {_DEEPEST} deep at most, got more"
            )
        for field in graph:  # before the nodes that take them, wherever they lie
            if field.inner is None:
                continue
            if field.number == 5:
                self._hold(read_tensor(field.inner))
            elif field.number == 15:
                dense = field.inner.numbers(3)
                self._add(_product(dense) * 4, f"a sparse tensor of {dense}")
            elif field.number in (11, 12, 13):
                self._declared(field.inner)
        for node in graph.all(1):
            self._node(node, depth)

    def _hold(self, tensor: Tensor) -> None:
        self._weigh(tensor, f"the weights {tensor.name!r:.100} of {list(tensor.dims)}")
        self._keep(tensor.name, tensor)

    def _weigh(self, tensor: Tensor, what: str) -> None:
        self._add(_product(tensor.dims) * tensor.element_bytes, what)
        if tensor.external is not None:
            self._look_at(tensor.external.get("location", ""))

    def _keep(self, name: str, tensor: Tensor) -> None:
        self._constants[name] = tensor
        self._known[name] = _Elements(_product(tensor.dims), tensor.element_bytes)

    def _add(self, size: float, what: str) -> None:
        self._held += size
        self._expect(self._held, f"with {what} its weights take")

    def _expect(self, size: float, words: str) -> None:
        if size > self._most:
            raise ModelError(
                f"{self._file}: {words} {_mib(size)} MiB, expected at most {_mib(self._most)}; "
                f"{self._hint}"
            )

    def _look_at(self, location: str) -> None:
        """Refuse weights that lie elsewhere, are no file, or say that they are longer than so."""
        if location in self._external:
            return
        self._external.add(location)
        if not is_inside(location):
            raise ModelError(
                f"{self._file}: its weights lie in {location!r:.200}; expected a file in the "
                "model's folder"
            )
        place = self._file.parent / location
        if not os.path.lexists(place):
            return  # ONNX Runtime says so
        if not is_plain_file(place):
            raise ModelError(f"{place}: expected a file of weights; copy it again")
        size, held = _extent(place)
        if size - held > max(_MOST_HOLES * size, _LEAST_HOLES):
            raise ModelError(
                f"{place}: the file has holes: of {size} bytes it holds {held}; expected weights, "
                "copy them again"
            )

    def _declared(self, value: Message) -> None:
        """Look at the type of a value: ValueInfoProto, TypeProto, Tensor, shape."""
        name, kind = value.one(1), value.one(2)
        tensor = kind.one(1) if kind is not None else None
        if tensor is None:
            return
        shape = tensor.one(2)
        if shape is None:
            return
        lengths = [next(iter(axis.numbers(1)), 1) for axis in shape.all(1)]
        element_bytes = ELEMENT_BYTES.get(next(iter(tensor.numbers(1)), 0), 1)
        called = name.text() if name is not None else ""
        self._known[called] = _Elements(_product(lengths), element_bytes)
        self._expect(
            _product(lengths) * element_bytes, f"the tensor {called!r:.100} of {lengths} takes"
        )

    def _node(self, node: Message, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise ModelError(
                f"{self._file}: expected at most {MOST_NODES} nodes, got more; simplify the graph"
            )
        inputs, outputs, kind, attributes = [], [], "", {}
        for field in node:
            if field.inner is None:
                continue
            if field.number == 1:
                inputs.append(field.inner.text())
            elif field.number == 2:
                outputs.append(field.inner.text())
            elif field.number == 4:
                kind = field.inner.text()
            elif field.number == 5:
                name = field.inner.one(1)
                attributes[name.text() if name else ""] = field.inner
        for attribute in attributes.values():
            self._attribute(attribute, depth)
        if kind == "Constant" and outputs:
            for attribute in attributes.values():
                tensor = attribute.one(5)
                if tensor is not None:
                    self._keep(outputs[0], read_tensor(tensor))
        size = self._made(kind, inputs, attributes)
        self._expect(size, f"what its node {kind} makes takes")

    def _attribute(self, attribute: Message, depth: int) -> None:
        for field in attribute:
            if field.inner is None:
                continue
            if field.number in (6, 11):
                self._graph(field.inner, depth + 1)
            elif field.number in (5, 10):
                self._weigh(read_tensor(field.inner), "the constants of nodes")

    def _made(self, kind: str, inputs: Sequence[str], attributes: dict[str, Message]) -> float:
        """Return the bytes that a node makes of constants; 0 where that is not known."""
        if kind in ("RandomNormal", "RandomUniform") and "shape" in attributes:
            return _product(attributes["shape"].numbers(8)) * FLOAT_BYTES
        values = [self._values(name) for name in inputs]
        if kind == "Range":
            return _ranged(values) * self._known.get(inputs[0], _ONE).element_bytes
        place = _SHAPED.get(kind)
        shape = None if place is None or place >= len(values) else values[place]
        if not shape:
            return 0
        length, element_bytes = self._known.get(inputs[0], _ONE)
        if kind == "ConstantOfShape":
            value = attributes["value"].one(5) if "value" in attributes else None
            element_bytes = read_tensor(value).element_bytes if value else FLOAT_BYTES
        return _product(shape) * element_bytes * (length if kind == "Tile" else 1)

    def _values(self, name: str) -> _Values | None:
        tensor = self._constants.get(name)
        return tensor.values() if tensor is not None else None


def _ranged(values: Sequence[_Values | None]) -> float:
    ends = [value[0] for value in values if value and len(value) == 1]
    if len(ends) != 3 or not all(map(math.isfinite, ends)) or ends[2] == 0:
        return 0
    return max((ends[1] - ends[0]) / ends[2], 0)


def _product(lengths: Sequence[float]) -> float:
    """Multiply lengths; a negative one, or one that is not known, counts as one."""
    product = 1.0
    for length in lengths:
        product *= length if length == 0 or length >= 1 else 1
    return product


def is_inside(location: str) -> bool:
    """Tell whether a name is one of a file below a folder; the text decides, as for all models."""
    path = PurePosixPath(location)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and ("\0" not in location and "\\" not in location)
    )


def _extent(file: Path) -> tuple[int, int]:
    """Return a file's length, and how many of its bytes are not holes."""
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        return size, sum(last - first for first, last in _pieces(stream.fileno(), size))


def _pieces(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        try:
            first = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            return
        at = os.lseek(descriptor, first, os.SEEK_HOLE)
        yield first, at


def _mib(size: float) -> str:
    return f"{size / (1 << 20):.0f}"
