"""The operators of an ONNX file, and where an operator that an engine lacks comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edge_inference.core.bounded_file import ANY_SIZE, open_regular_file
from edge_inference.core.onnx_format.onnx_reader import (
    MAX_GRAPH_DEPTH,
    TYPE_NAMES,
    ByteSource,
    LimitExceededError,
    MalformedMessageError,
    WireMessage,
    last_text,
    merge_messages,
)
from edge_inference.core.onnx_format.onnx_shapes import OnnxAttribute, OnnxNode, normalize_domain

#: Operators that TensorRT's plugin library has.
_PLUGIN = re.compile(r"TRT$|^TRT")
_PLUGIN_DOMAINS = ("TRT", "trt.plugins", "trt", "tensorrt")


class OnnxOperators(NamedTuple):
    """The versions of the operator sets by domain, the operators by node, and the inputs.

    ``nodes`` has the name, the operator and the domain of every node, those of inner graphs and
    functions included. The domain of ONNX itself is empty. ``inputs`` has the type of each
    declared input.
    """

    opsets: dict[str, int]
    nodes: list[tuple[str, str, str]]
    inputs: dict[str, str]

    def domain_of(self, name: str, operator: str) -> str | None:
        """Return the domain of a node's operator, None for an unknown one."""
        found = [node for node in self.nodes if node[1] == operator]
        named = [node for node in found if node[0] == name]
        return next((domain for _, _, domain in named or found), None)


def read_operators(file: Path) -> OnnxOperators:
    """Read the operators of a file; those that can be read of a damaged one. Raises OSError."""
    opsets: dict[str, int] = {}
    nodes: list[tuple[str, str, str]] = []
    inputs: dict[str, str] = {}
    with open_regular_file(file, ANY_SIZE) as stream:
        try:
            parts = WireMessage(ByteSource(stream.fileno())).parts(7, 8, 25)
            for entry in parts[8]:
                domain = normalize_domain(last_text(entry.parts(1)[1]))
                opsets[domain] = max([*entry.numbers(2), opsets.get(domain, 0)])
            for function in parts[25]:
                nodes.extend(_nodes_of(function.parts(7)[7], 0))
            graph = merge_messages(parts[7])
            if graph is not None:
                nodes.extend(_nodes_of(graph.parts(1)[1], 0))
                inputs.update(_type_of(value) for value in graph.all(11))
        except (LimitExceededError, MalformedMessageError):
            pass
    return OnnxOperators(opsets, nodes, inputs)


def _type_of(value: WireMessage) -> tuple[str, str]:
    """Return the name of an input and the name of its type, which is empty for no tensor."""
    parts = value.parts(1, 2)
    kind = merge_messages(parts[2])
    tensor = kind.one(1) if kind is not None else None
    number = next(iter(tensor.numbers(1)), 0) if tensor is not None else 0
    return last_text(parts[1]), TYPE_NAMES.get(number, "")


def _nodes_of(messages: list[WireMessage], depth: int) -> Iterator[tuple[str, str, str]]:
    for message in messages:
        node = OnnxNode(message)
        yield last_text(message.parts(3)[3]), node.kind, node.domain
        if depth < MAX_GRAPH_DEPTH:
            for attribute in node.attributes:
                for graph in OnnxAttribute(attribute).graphs:
                    yield from _nodes_of(graph.parts(1)[1], depth + 1)


class OperatorOrigin(NamedTuple):
    """Whose operator it is, as part of a sentence, and what to do where it is missing."""

    owner: str
    hint: str


def find_origin(operator: str, domain: str) -> OperatorOrigin | None:
    """Return where an operator that an engine lacks comes from.

    None for one of ONNX's own domain, unless TensorRT's plugins have its name.
    """
    if domain in _PLUGIN_DOMAINS or (domain in ("", "mmdeploy") and _PLUGIN.search(operator)):
        return OperatorOrigin(
            "a plugin of TensorRT",
            "export the model without it: raw outputs without NMS, which the decoder does",
        )
    if domain in _ORIGINS:
        return _ORIGINS[domain]
    for prefix, origin in _ORIGINS.items():
        if domain.startswith(f"{prefix}."):
            return origin
    if domain == "":
        return None
    return OperatorOrigin(
        f"a custom operator of the domain {domain!r:.100}",
        "export the model with standard operators instead",
    )


def explain_unknown_operator(
    node: str, operator: str, opset: int, since: int | None, library: str
) -> str:
    """Return why a library does not know an operator of the ONNX domain.

    ``node`` names the node. ``since`` is the first opset in which the library knows the operator,
    None where it knows it in no opset.
    """
    if since is not None and since > opset:
        return (
            f"{node} needs an operator that its opset {opset} does not have; export it with opset "
            f"{since} or newer"
        )
    if since is not None:
        return (
            f"{node} needs an operator that its opset {opset} no longer has; export it with an "
            "older opset"
        )
    origin = find_origin(operator, "")
    if origin is not None:
        return f"{node} is {origin.owner}; {origin.hint}"
    return (
        f"{node} needs an operator that {library} does not know; export it with standard "
        "operators, or upgrade the package if the operator is a new one"
    )


_PYTORCH = OperatorOrigin(
    "an operator of PyTorch that its exporter did not convert",
    "export with a newer PyTorch or a newer opset, or replace it in the network",
)
_ORIGINS = {
    "com.microsoft": OperatorOrigin(
        "an operator of ONNX Runtime alone",
        "use the file from before ONNX Runtime's optimizer or quantizer, or serve it with the "
        "backend ort",
    ),
    "ai.onnx.contrib": OperatorOrigin(
        "an operator of onnxruntime-extensions",
        "export the network without its preprocessing and postprocessing",
    ),
    "ai.onnx.ml": OperatorOrigin(
        "an operator of classical machine learning (ai.onnx.ml)",
        "serve it with the backend ort, or export the network without it",
    ),
    "org.pytorch": _PYTORCH,
    "aten": _PYTORCH,
    "prim": _PYTORCH,
    "mmdeploy": OperatorOrigin(
        "a custom operator of MMDeploy",
        "export without it, with a deploy configuration that has no postprocessing",
    ),
    "mmcv": OperatorOrigin(
        "a custom operator of MMCV",
        "export with MMDeploy, or replace it in the network",
    ),
    "ai.onnx.converters.tensorflow": OperatorOrigin(
        "an operator of TensorFlow that tf2onnx did not convert",
        "convert again with a newer opset (--opset), or replace it in the network",
    ),
}
