"""Checks how much memory an ONNX file declares to need, before it is loaded.

A node loads a model into its own process, where nothing can stop it: a file that declares to need
too much memory is refused first. Shapes and loop counts that the network computes at run time are
not known here; the user must trust the model for these.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.onnx_format.onnx_files import ORT_SUFFIX, check_external_file
from edge_inference.core.onnx_format.onnx_problems import find_file_problem
from edge_inference.core.onnx_format.onnx_reader import (
    ELEMENT_BYTES,
    MAX_GRAPH_DEPTH,
    ByteSource,
    LimitExceededError,
    MalformedMessageError,
    OnnxTensor,
    WireMessage,
    last_text,
    merge_messages,
    read_tensor,
)
from edge_inference.core.onnx_format.onnx_shapes import (
    KnownTensor,
    OnnxAttribute,
    OnnxNode,
    Scope,
    count_elements,
    describe_constant_node,
    describe_sparse_tensor,
    describe_tensor,
    infer_output,
    normalize_domain,
)
from edge_inference.core.runtime.memory_limit import (
    machine_memory_mib,
    memory_limit_mib,
    raise_limit_hint,
)
from edge_inference.errors import ModelError

#: Maximum number of nodes; ONNX Runtime's load time grows with its square.
MAX_NODES = 50_000
#: Maximum depth of function calls; ONNX has no recursion.
_MAX_CALL_DEPTH = 64

#: Domain, name, overload.
_FunctionId = tuple[str, str, str]


class _PassedCheck(NamedTuple):
    """The limit that a file has passed, and its external weights, which are checked each time."""

    max_mib: int
    external: frozenset[str]


#: Selecting and opening a model both check it, and a large graph takes seconds.
_passed: dict[tuple[int, ...], _PassedCheck] = {}
_MAX_PASSED = 64


def check_memory(file: Path, max_mib: int | None = None, option: str = "") -> None:
    """Raise ModelError for an ONNX file that declares to need more memory than ``max_mib``.

    The default limit is the memory limit of this process, or the memory of the machine.
    ``option`` names the option that allows more. Files that cannot be read, that are not ONNX, or
    that have the ``.ort`` format pass; opening them shows their errors.
    """
    limit, hint = _find_limit(max_mib, option)
    if file.name.lower().endswith(ORT_SUFFIX):
        return
    try:
        with open_regular_file(file, MAX_WEIGHTS_BYTES) as stream:
            check = _MemoryCheck(file, limit << 20, hint)
            status = os.fstat(stream.fileno())
            version = (
                status.st_dev,
                status.st_ino,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
            )
            passed = _passed.get(version)
            if passed is not None and passed.max_mib <= limit:
                for location in passed.external:
                    check.check_external(location)
                return
            parts = _read_top_level(WireMessage(ByteSource(stream.fileno())))
            if parts is not None:
                check.model(parts[7], parts[25])
                _note_passed(version, _PassedCheck(limit, frozenset(check.external)))
    except OSError:
        return
    except ModelError:
        raise
    except MalformedMessageError as error:
        raise ModelError(
            find_file_problem(file)
            or f"{file}: expected an ONNX model, got a damaged one ({error}); copy or download it "
            "again"
        ) from error
    except LimitExceededError as error:
        raise ModelError(f"{file}: not a usual ONNX model: {error}") from error
    except Exception as error:  # no content of the file may crash the caller
        raise ModelError(
            f"{file}: its memory need is unknown ({type(error).__name__}: {error}); check it with "
            "python -m onnx.checker"
        ) from error


def _note_passed(version: tuple[int, ...], passed: _PassedCheck) -> None:
    if len(_passed) >= _MAX_PASSED:
        _passed.clear()
    _passed[version] = passed


def _read_top_level(message: WireMessage) -> dict[int, list[WireMessage]] | None:
    """Return the graph and the functions of a file, None if it is not an ONNX file."""
    try:
        return message.parts(7, 25)
    except MalformedMessageError:
        return None


def _find_limit(max_mib: int | None, option: str) -> tuple[int, str]:
    limit = memory_limit_mib()
    if max_mib is not None:
        return max_mib, f"allow more with {option}"
    if limit is not None:
        return limit, raise_limit_hint()
    return machine_memory_mib(), "the machine has no more memory; use a smaller model"


class _MemoryCheck:
    def __init__(self, file: Path, max_bytes: int, hint: str) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._hint = hint
        self._bytes = 0.0
        self._nodes = 0
        self.external: set[str] = set()
        self._functions: dict[_FunctionId, list[WireMessage]] = {}
        self._costs: dict[_FunctionId, tuple[float, int]] = {}
        self._calls: list[_FunctionId] = []

    def model(self, graphs: Sequence[WireMessage], functions: Sequence[WireMessage]) -> None:
        for message in functions:
            parts = message.parts(1, 7, 10, 13)
            name = normalize_domain(last_text(parts[10])), last_text(parts[1]), last_text(parts[13])
            self._functions.setdefault(name, []).extend(parts[7])
        graph = merge_messages(graphs)
        if graph is not None:
            self._graph(graph, Scope(), 0)
        for name in self._functions.keys() - self._costs.keys():  # functions without a call
            self._call(name, 0)

    def _graph(self, graph: WireMessage, scope: Scope, depth: int) -> None:
        if depth > MAX_GRAPH_DEPTH:
            raise ModelError(
                f"{self._file}: expected graphs nested at most {MAX_GRAPH_DEPTH} deep, got more"
            )
        # Declarations and constants before the nodes that read them, in any order of the file.
        parts = graph.parts(1, 5, 11, 12, 13, 15)
        for value in (*parts[13], *parts[12], *parts[11]):
            self._declare(value, scope)
        for sparse in parts[15]:
            self._add_sparse(sparse, scope)
        for weights in parts[5]:
            tensor = read_tensor(weights)
            self._add_weights(tensor, f"the weights {tensor.name!r:.100} of {list(tensor.dims)}")
            scope.keep(tensor.name, describe_tensor(tensor))
        self._body(parts[1], scope, depth)

    def _body(self, messages: Sequence[WireMessage], scope: Scope, depth: int) -> None:
        self._count(len(messages))
        nodes = [OnnxNode(message) for message in messages]
        for node in nodes:  # constants first, since the order of the nodes is not reliable
            if not node.is_constant:
                for name in node.outputs:
                    scope.forget(name)
        for node in nodes:
            if node.is_constant:
                known = describe_constant_node(self._attributes(node, scope, depth))
                for name in node.outputs[:1]:
                    scope.keep(name, known)
        for node in nodes:
            if not node.is_constant:
                self._node(node, scope, depth)

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise ModelError(
                f"{self._file}: expected at most {MAX_NODES} nodes, got more; simplify the graph"
            )

    def _node(self, node: OnnxNode, scope: Scope, depth: int) -> None:
        attributes = self._attributes(node, scope, depth)
        function = (node.domain, node.kind, node.overload)
        if function in self._functions:
            self._call(function, depth)
            return
        known = infer_output(node, scope, attributes)
        if known is None:
            return
        self._check(known.size, f"the output of its node {node.kind} takes")
        for name in node.outputs[:1]:
            scope.keep(name, known)

    def _call(self, function: _FunctionId, depth: int) -> None:
        """Count a function once for each call, since ONNX Runtime inlines it."""
        if function not in self._costs:
            if function in self._calls or len(self._calls) == _MAX_CALL_DEPTH:
                raise ModelError(
                    f"{self._file}: expected function calls at most {_MAX_CALL_DEPTH} deep, got "
                    f"more in {function[1]!r:.100}"
                )
            before = self._bytes, self._nodes
            self._bytes, self._nodes = 0.0, 0
            self._calls.append(function)
            self._body(self._functions[function], Scope(), depth)
            self._calls.pop()
            self._costs[function] = self._bytes, self._nodes
            self._bytes, self._nodes = before
        held, nodes = self._costs[function]
        self._count(nodes)
        self._add(held, "the constants of functions")

    def _attributes(self, node: OnnxNode, scope: Scope, depth: int) -> list[OnnxAttribute]:
        attributes = [OnnxAttribute(message) for message in node.attributes]
        for attribute in attributes:
            for graph in attribute.graphs:
                self._graph(graph, Scope(scope), depth + 1)
            for tensor in attribute.tensors:
                self._add_weights(read_tensor(tensor), "the constants of nodes")
            for sparse in attribute.sparse_tensors:
                self._add_sparse(sparse, None)
        return attributes

    def _add_sparse(self, message: WireMessage, scope: Scope | None) -> None:
        known = describe_sparse_tensor(message)
        self._add(known.size, f"a sparse tensor of {list(known.dims)}")
        values = message.one(1)
        if scope is not None and values is not None:
            scope.keep(read_tensor(values).name, known)

    def _add_weights(self, tensor: OnnxTensor, what: str) -> None:
        self._add(count_elements(tensor.dims) * tensor.element_bytes, what)
        if tensor.external is not None:
            self.check_external(tensor.external.get("location", ""))

    def _add(self, size: float, what: str) -> None:
        self._bytes += size
        self._check(self._bytes, f"including {what}, its weights take")

    def _check(self, size: float, subject: str) -> None:
        if size > self._max_bytes:
            raise ModelError(
                f"{self._file}: {subject} {_mib(size)} MiB, expected at most "
                f"{_mib(self._max_bytes)}; {self._hint}"
            )

    def check_external(self, location: str) -> None:
        """Refuse external weights outside the folder, irregular files, and large holes."""
        if location in self.external:
            return
        self.external.add(location)
        check_external_file(self._file, location)

    def _declare(self, value: WireMessage, scope: Scope) -> None:
        """Check the type of a value: ValueInfoProto, TypeProto, Tensor, shape."""
        parts = value.parts(1, 2)
        name, kind = last_text(parts[1]), merge_messages(parts[2])
        scope.forget(name)
        tensor = kind.one(1) if kind is not None else None
        shape = tensor.one(2) if tensor is not None else None
        if tensor is None or shape is None:
            return
        dims = [next(iter(axis.numbers(1)), 1) for axis in shape.all(1)]
        element_bytes = ELEMENT_BYTES.get(next(iter(tensor.numbers(1)), 0), 1)
        known = KnownTensor(dims, element_bytes)
        scope.keep(name, known)
        self._check(known.size, f"the tensor {name!r:.100} of {dims} takes")


def _mib(size: float) -> str:
    return f"{size / (1 << 20):.0f}"
