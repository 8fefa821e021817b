"""Turns the errors of TensorRT's ONNX parser into one sentence with a hint for the cause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge_inference.core.onnx_format.onnx_operators import (
    OnnxOperators,
    find_origin,
    read_operators,
)
from edge_inference.core.onnx_format.onnx_problems import find_file_problem
from edge_inference.engines.build.build_failures import cause_of

# "Assertion failed: condition: Reason", 'condition && "Reason"'
_ASSERTION = re.compile(r'^Assertion failed: .*?(?:: | && ")(?P<reason>[A-Z][^"]*)"?$', re.DOTALL)
_QUOTED = re.compile(r'&& "(?P<reason>[^"]+)"')
_IN_NODE = re.compile(r"In node -?\d+ with name: .*? and operator: .*? \(\w+\): [A-Z_]+: ")
_INVALID = re.compile(r"^Invalid Node - .*")
_PARSED_NODE = re.compile(r"node number (?P<number>\d+) \[(?P<operator>\w+)")
_NODE_NAME = re.compile(r'^\s*(?:Node )?name: "?(?P<name>[^"\n]+)', re.MULTILINE)
_MISSING_WEIGHTS = re.compile(r"[Ff]ailed to open file:? (?P<file>.+?)\s*$", re.MULTILINE)
_MISSING_OPERATOR = re.compile(
    r"[Pp]lugin not found|[Nn]o such plugin|plugin creator version"
    r"|^(unsupported node|not supported)$"
)

#: Maximum length of a line that is searched, which may quote names of any length.
_MAX_LINE = 4000
_SERVE_ORT = "serve it with the backend ort"
_EDITED = f"use the file from before it was cut or edited, or {_SERVE_ORT} if that opens it"
_FROM_FP32 = "give the fp32 model, from which int8 is derived for TensorRT"


class _Failure(NamedTuple):
    """A failed node: its name and operator, both empty where unknown, and the reason."""

    name: str
    operator: str
    reason: str


def explain_parse_failure(onnx_file: Path, title: str, parser: Any, lines: Sequence[str]) -> str:
    """Return the reason why TensorRT's parser refused an ONNX file, as one sentence.

    ``lines`` are the errors that TensorRT logged during the parsing; up to TensorRT 8 only
    they name the node.
    """
    problem = find_file_problem(onnx_file)
    if problem is not None:
        return problem
    missing = _MISSING_WEIGHTS.search("\n".join(lines))
    if missing:
        return (
            f"{onnx_file}: {title} cannot open the file of its weights, "
            f"{Path(missing['file']).name!r}; put it beside the ONNX"
        )
    if not parser.num_errors:
        return f"{onnx_file}: {title} cannot parse it: {cause_of(lines)}; {_SERVE_ORT}"
    error = parser.get_error(0)
    code = getattr(error.code(), "name", "")
    if code == "MODEL_DESERIALIZE_FAILED":
        return (
            f"{onnx_file}: {title} cannot read it as an ONNX model; check the network with "
            "python -m onnx.checker"
        )
    name, operator = _failed_node(error, "\n".join(lines))
    failure = _Failure(name, operator, _parser_reason(error.desc(), code))
    return f"{onnx_file}: {_explain(failure, title, read_operators(onnx_file))}"


def _explain(failure: _Failure, title: str, operators: OnnxOperators) -> str:
    name, operator, reason = failure
    if operator and _MISSING_OPERATOR.search(reason):
        return _explain_operator(failure, title, operators.domain_of(name, operator))
    if "date type" in reason:  # TensorRT's spelling
        return _explain_input_types(title, operators)
    node = "it"
    if name or operator:
        node = f"its node {name!r:.200} ({operator or 'operator unknown'})"
    reason = reason.removeprefix(f"{name}: ")
    reason = next((plain for pattern, plain in _PLAIN if re.search(pattern, reason)), reason)
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, reason)), _DEFAULT_HINT)
    return f"{title} cannot parse {node}: {reason}; {hint}"


def _explain_operator(failure: _Failure, title: str, domain: str | None) -> str:
    name, operator, _ = failure
    node = f"its node {name!r:.200} ({operator})"
    missing = f"{node} needs an operator that {title} does not have"
    origin = find_origin(operator, domain or "")
    if origin is None:
        return f"{missing}; export the model without it, or {_SERVE_ORT}"
    return f"{node} is {origin.owner}, and {title} does not have it; {origin.hint}"


def _explain_input_types(title: str, operators: OnnxOperators) -> str:
    for name, kind in operators.inputs.items():
        if kind in _NOT_IN_TENSORRT:
            return (
                f"its input {name!r} is {kind}, a type that {title} does not have; export it with "
                f"float32 inputs, or {_SERVE_ORT}"
            )
    return f"{title} does not have a type of its tensors; export it in float32, or {_SERVE_ORT}"


_NOT_IN_TENSORRT = (
    *("uint16", "int16", "uint32", "uint64", "string", "complex64", "complex128"),
    *("float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"),
)

#: Reasons that name C++ or flags of TensorRT, in plain words.
_PLAIN = (
    (r"does not support UINT8 types", "TensorRT computes nothing in uint8"),
    (r"Non-zero zero point", "its zero point is not 0, and TensorRT quantizes symmetrically only"),
    (r"^invalid node$|^$", "its attributes or inputs are not valid"),
    (r"Node input was not registered", "no node computes one of its inputs"),
    (r"null tensor", "no node computes one of its outputs"),
    (r"sort the model topologically", "its nodes need each other, or two have the same output"),
    (r"ONNX dimensions to TensorRT", "an input has more than the 8 axes that TensorRT has"),
    (r"isInFlight", "a size depends on values that are known only at run time"),
)
_HINTS = (
    (r"nothing in uint8", "cast to float32 first when you export it"),
    (r"symmetrically only", f"quantize with zero point 0, or {_FROM_FP32}"),
    (r"^no node computes|^its nodes need", _EDITED),
    (r"same input types|requires inputs with type", "export it in float32"),
    (r"8 axes", "export it with fewer axes"),
    (r"dimension", "export it with the input size that it shall run with"),
    (r"^its attributes", "export it with another opset, or correct the node"),
    (r"known only at run", f"export it with a fixed size there, or {_SERVE_ORT}"),
)
_DEFAULT_HINT = f"export the model without this node, or {_SERVE_ORT}"


def _failed_node(error: Any, log: str) -> tuple[str, str]:
    named = _NODE_NAME.search(log)
    parsed = _PARSED_NODE.search(log)
    number = f"number {parsed['number']}" if parsed else ""
    name = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    return (
        name or (named["name"].strip() if named else "") or number,
        operator or (parsed["operator"] if parsed else ""),
    )


def _parser_reason(description: str, code: str) -> str:
    """Return the reason without conditions in C++, names of functions, and a full stop."""
    lines = [line.strip()[:_MAX_LINE] for line in description.splitlines()]
    causes = [line for line in lines if "Error Code" in line]
    if causes:
        return cause_of(causes)
    plain = _IN_NODE.sub("", _INVALID.sub("", lines[0] if lines else ""))
    found = _ASSERTION.search(plain) or _QUOTED.search(plain)
    plain = (found["reason"] if found else plain).strip().rstrip(".")
    if plain in ("", "false"):  # a bare assertion: the code says more
        return code.replace("_", " ").lower() or "not supported"
    return plain
