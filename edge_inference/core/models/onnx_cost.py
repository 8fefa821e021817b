"""What an ONNX file declares that it needs, known before it is loaded.

A robot loads a model into the node's own process, where nothing could end it: a file that itself
says that it needs too much is refused before. What a network works out while it runs (a shape, how
often a loop turns) is not known here, and is the business of who trusts it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from edge_inference.core.bounded_file import LARGEST_WEIGHTS, is_plain_file, open_plain
from edge_inference.core.models.onnx_constants import (
    KnownTensor,
    OnnxAttribute,
    OnnxNode,
    Scope,
    made,
    of_constant,
    of_sparse,
    of_tensor,
    plain_domain,
    product,
)
from edge_inference.core.models.onnx_reader import (
    ELEMENT_BYTES,
    ByteSource,
    ExcessError,
    MalformedError,
    OnnxTensor,
    WireMessage,
    as_one,
    read_tensor,
    text_of,
)
from edge_inference.core.runtime.memory_limit import (
    machine_memory_mib,
    memory_limit_mib,
    raise_limit_hint,
)
from edge_inference.errors import ModelError

#: More nodes than networks have; ONNX Runtime's time grows with their square.
MOST_NODES = 50_000
#: Graphs within each other, as a loop's in a branch's.
_DEEPEST = 16
#: Of a file's length so much may be holes: exporters leave them where they align weights.
_MOST_HOLES = 0.5
_LEAST_HOLES = 1 << 20
#: Functions that call each other, which is no loop.
_DEEPEST_CALLS = 64
#: The name of a file in ONNX Runtime's own format, which it goes by; it is no protobuf.
_RUNTIMES_OWN = ".ort"

#: Domain, name, overload.
_Function = tuple[str, str, str]


class _Passed(NamedTuple):
    """With which bound a file has passed, and where it has weights, which are looked at again."""

    most_mib: int
    external: frozenset[str]


#: Who selects a model and who opens it both ask; a large graph takes seconds.
_passed: dict[tuple[int, ...], _Passed] = {}
_MOST_PASSED = 64


def check_cost(file: Path, most_mib: int | None = None, option: str = "") -> None:
    """Raise ModelError for an ONNX file that declares to need more than ``most_mib`` of memory.

    Without it, that is what this process may take, or what the machine has. ``option`` is what
    allows more. A file that cannot be read, or that plainly is no ONNX file, is left to who opens
    it.
    """
    limit, hint = _limit(most_mib, option)
    if file.name.lower().endswith(_RUNTIMES_OWN):
        return
    try:
        with open_plain(file, LARGEST_WEIGHTS) as stream:
            check = _Check(file, limit << 20, hint)
            found = os.fstat(stream.fileno())
            version = (
                found.st_dev,
                found.st_ino,
                found.st_size,
                found.st_mtime_ns,
                found.st_ctime_ns,
            )
            passed = _passed.get(version)
            if passed is not None and passed.most_mib <= limit:
                for location in passed.external:
                    check.look_at(location)
                return
            parts = _outermost(WireMessage(ByteSource(stream.fileno())))
            if parts is not None:
                check.model(parts[7], parts[25])
                _note_passed(version, _Passed(limit, frozenset(check.external)))
    except OSError:
        return
    except ModelError:
        raise
    except (ExcessError, MalformedError) as error:
        raise ModelError(
            f"{file}: no network that can be followed ({error}); export it again"
        ) from error
    except Exception as error:  # whatever is in the file, who asks for it gets an answer
        raise ModelError(
            f"{file}: what it needs cannot be told ({type(error).__name__}: {error}); export it "
            "again"
        ) from error


def _note_passed(version: tuple[int, ...], passed: _Passed) -> None:
    if len(_passed) >= _MOST_PASSED:
        _passed.clear()
    _passed[version] = passed


def _outermost(message: WireMessage) -> dict[int, list[WireMessage]] | None:
    """Return the graph and the functions of a file; None for one that plainly is none of ONNX."""
    try:
        return message.parts(7, 25)
    except MalformedError:
        return None


def _limit(most_mib: int | None, option: str) -> tuple[int, str]:
    limit = memory_limit_mib()
    if most_mib is not None:
        return most_mib, f"allow more with {option}"
    if limit is not None:
        return limit, raise_limit_hint()
    return machine_memory_mib(), "the machine has no more; use a smaller model"


class _Check:
    def __init__(self, file: Path, most_bytes: int, hint: str) -> None:
        self._file = file
        self._most = most_bytes
        self._hint = hint
        self._held = 0.0
        self._nodes = 0
        self.external: set[str] = set()
        self._functions: dict[_Function, list[WireMessage]] = {}
        self._costs: dict[_Function, tuple[float, int]] = {}
        self._calls: list[_Function] = []

    def model(self, graphs: Sequence[WireMessage], functions: Sequence[WireMessage]) -> None:
        for message in functions:
            parts = message.parts(1, 7, 10, 13)
            name = plain_domain(text_of(parts[10])), text_of(parts[1]), text_of(parts[13])
            self._functions.setdefault(name, []).extend(parts[7])
        graph = as_one(graphs)
        if graph is not None:
            self._graph(graph, Scope(), 0)
        for name in self._functions.keys() - self._costs.keys():  # those that nobody calls
            self._call(name, 0)

    def _graph(self, graph: WireMessage, scope: Scope, depth: int) -> None:
        if depth > _DEEPEST:
            raise ModelError(
                f"{self._file}: expected graphs within each other {_DEEPEST} deep at most, got more"
            )
        # What is declared and constant before the nodes that take it, wherever it lies.
        parts = graph.parts(1, 5, 11, 12, 13, 15)
        for value in (*parts[13], *parts[12], *parts[11]):
            self._declared(value, scope)
        for sparse in parts[15]:
            self._hold_sparse(sparse, scope)
        for weights in parts[5]:
            tensor = read_tensor(weights)
            self._weigh(tensor, f"the weights {tensor.name!r:.100} of {list(tensor.dims)}")
            scope.keep(tensor.name, of_tensor(tensor))
        self._body(parts[1], scope, depth)

    def _body(self, messages: Sequence[WireMessage], scope: Scope, depth: int) -> None:
        self._count(len(messages))
        nodes = [OnnxNode(message) for message in messages]
        for node in nodes:  # all constants before, for a file may have its nodes in any order
            if not node.is_constant:
                for name in node.outputs:
                    scope.forget(name)
        for node in nodes:
            if node.is_constant:
                known = of_constant(self._attributes(node, scope, depth))
                for name in node.outputs[:1]:
                    scope.keep(name, known)
        for node in nodes:
            if not node.is_constant:
                self._node(node, scope, depth)

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise ModelError(
                f"{self._file}: expected at most {MOST_NODES} nodes, got more; simplify the graph"
            )

    def _node(self, node: OnnxNode, scope: Scope, depth: int) -> None:
        attributes = self._attributes(node, scope, depth)
        function = (node.domain, node.kind, node.overload)
        if function in self._functions:
            self._call(function, depth)
            return
        known = made(node, scope, attributes)
        if known is None:
            return
        self._expect(known.size, f"what its node {node.kind} makes takes")
        for name in node.outputs[:1]:
            scope.keep(name, known)

    def _call(self, function: _Function, depth: int) -> None:
        """Count a function as often as it is called: ONNX Runtime puts its nodes there."""
        if function not in self._costs:
            if function in self._calls or len(self._calls) == _DEEPEST_CALLS:
                raise ModelError(
                    f"{self._file}: expected functions that call each other {_DEEPEST_CALLS} deep "
                    f"at most, got more in {function[1]!r:.100}"
                )
            before = self._held, self._nodes
            self._held, self._nodes = 0.0, 0
            self._calls.append(function)
            self._body(self._functions[function], Scope(), depth)
            self._calls.pop()
            self._costs[function] = self._held, self._nodes
            self._held, self._nodes = before
        held, nodes = self._costs[function]
        self._count(nodes)
        self._add(held, "the constants of functions")

    def _attributes(self, node: OnnxNode, scope: Scope, depth: int) -> list[OnnxAttribute]:
        attributes = [OnnxAttribute(message) for message in node.attributes]
        for attribute in attributes:
            for graph in attribute.graphs:
                self._graph(graph, Scope(scope), depth + 1)
            for tensor in attribute.tensors:
                self._weigh(read_tensor(tensor), "the constants of nodes")
            for sparse in attribute.sparse_tensors:
                self._hold_sparse(sparse, None)
        return attributes

    def _hold_sparse(self, message: WireMessage, scope: Scope | None) -> None:
        known = of_sparse(message)
        self._add(known.size, f"a sparse tensor of {list(known.lengths)}")
        values = message.one(1)
        if scope is not None and values is not None:
            scope.keep(read_tensor(values).name, known)

    def _weigh(self, tensor: OnnxTensor, what: str) -> None:
        self._add(product(tensor.dims) * tensor.element_bytes, what)
        if tensor.external is not None:
            self.look_at(tensor.external.get("location", ""))

    def _add(self, size: float, what: str) -> None:
        self._held += size
        self._expect(self._held, f"with {what} its weights take")

    def _expect(self, size: float, words: str) -> None:
        if size > self._most:
            raise ModelError(
                f"{self._file}: {words} {_mib(size)} MiB, expected at most {_mib(self._most)}; "
                f"{self._hint}"
            )

    def look_at(self, location: str) -> None:
        """Refuse weights that lie elsewhere, are no file, or say that they are longer than so."""
        if location in self.external:
            return
        self.external.add(location)
        if not is_inside(location):
            raise ModelError(
                f"{self._file}: its weights lie in {location!r:.200}; expected a file in the "
                "model's folder"
            )
        place = self._file.parent / location
        if not os.path.lexists(place):
            raise ModelError(
                f"{place}: no such file; the weights of {self._file.name} lie there, copy them too"
            )
        if not is_plain_file(place):
            raise ModelError(f"{place}: expected a file of weights; copy it again")
        size, held = _extent(place)
        if size - held > max(_MOST_HOLES * size, _LEAST_HOLES):
            raise ModelError(
                f"{place}: the file has holes: of {size} bytes it holds {held}; expected weights, "
                "copy them again"
            )

    def _declared(self, value: WireMessage, scope: Scope) -> None:
        """Look at the type of a value: ValueInfoProto, TypeProto, Tensor, shape."""
        parts = value.parts(1, 2)
        called, kind = text_of(parts[1]), as_one(parts[2])
        scope.forget(called)
        tensor = kind.one(1) if kind is not None else None
        shape = tensor.one(2) if tensor is not None else None
        if tensor is None or shape is None:
            return
        lengths = [next(iter(axis.numbers(1)), 1) for axis in shape.all(1)]
        element_bytes = ELEMENT_BYTES.get(next(iter(tensor.numbers(1)), 0), 1)
        known = KnownTensor(lengths, element_bytes)
        scope.keep(called, known)
        self._expect(known.size, f"the tensor {called!r:.100} of {lengths} takes")


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
