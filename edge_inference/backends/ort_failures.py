"""Turns the errors of ONNX Runtime into one sentence with a hint for the cause.

Its texts name C++ functions and source files, and call most causes an invalid model. What the
file itself tells comes first (``onnx_problems``), then the patterns of known errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from edge_inference.core.onnx_format.onnx_operators import (
    explain_unknown_operator,
    find_origin,
    read_operators,
)
from edge_inference.core.onnx_format.onnx_problems import find_file_problem
from edge_inference.core.runtime.memory_limit import is_out_of_memory, memory_hint

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_LOADING = re.compile(r"^Load model from .*? failed: ?")
_SOURCE = re.compile(r"\S*\.(?:cc|cpp|cu|cuh|h|hpp):\d+:? ")
_FUNCTION = re.compile(r"[^()]*\w::[\w:~<>=!+*-]*\(|[\w:~]+\(|[A-Z]\w+ (?=[A-Z])")
_AFTER_FUNCTION = re.compile(r"(?: const)?(?: \[with [^\]]*\])? ")
_RUNNING = re.compile(
    r"^Non-zero status code returned while running (?P<operator>\w+) node\. "
    r"Name:'(?P<name>[^']*)' Status Message: (?P<reason>.*)$"
)
_SHAPES = re.compile(r"broadcast|reshape|dimension", re.IGNORECASE)
_MAX_REASON = 400
#: Maximum length of a text that is searched, which may quote names of any length: some of the
#: expressions need quadratic time.
_MAX_TEXT = 4000


class _Failure(NamedTuple):
    """A refused file: what the error's pattern matched, and ONNX Runtime's module."""

    file: Path
    found: re.Match[str]
    onnxruntime: Any

    @property
    def engine(self) -> str:
        return f"ONNX Runtime {self.onnxruntime.__version__}"

    @property
    def reason(self) -> str:
        return _shorten(self.found["reason"])

    @property
    def node(self) -> str:
        """Name a node; errors without its name have the operator and domain only."""
        found = self.found.groupdict()
        name, operator = found.get("name"), found["operator"]
        if name is None:
            nodes = read_operators(self.file).nodes
            name = next((node[0] for node in nodes if node[1:] == (operator, found["domain"])), "")
        return f"its node {name!r:.200} ({operator:.200})"


#: A function that completes the sentence "<file>: …".
_Explain = Callable[[_Failure], str]


def explain_open_failure(file: Path, error: Exception, onnxruntime: Any) -> str:
    """Return why ONNX Runtime cannot open a file, as one sentence with a hint."""
    if is_out_of_memory(error):
        return f"{file}: ONNX Runtime cannot open it: {describe_error(error)}"
    problem = find_file_problem(file, takes_ort=True)
    if problem is not None:
        return problem
    text = _without_prefix(" ".join(str(error).split()))
    for pattern, explain in _OPENING:
        found = pattern.search(text)
        if found:
            return f"{file}: {explain(_Failure(file, found, onnxruntime))}"
    return (
        f"{file}: ONNX Runtime {onnxruntime.__version__} cannot open it: {describe_error(error)}; "
        "check the network with python -m onnx.checker, or export it again with another opset"
    )


def explain_run_failure(file: Path, error: Exception) -> str:
    """Return why a run failed, as one sentence."""
    reason = describe_error(error)
    hint = ""
    if _SHAPES.search(reason):  # it declares any size, but its network needs one
        hint = (
            "; set input.width and input.height to the size of the export, or export it with the "
            "size that it shall run with"
        )
    return f"{file}: ONNX Runtime failed to run it: {reason}{hint}"


def describe_error(error: BaseException) -> str:
    """Return the reason of an error of ONNX Runtime or onnx as one line, and no full stop.

    Error codes, C++ functions and source files of the library are left out.
    """
    if is_out_of_memory(error):
        return f"not enough memory: {memory_hint()}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = _without_prefix(lines[0]) if lines else type(error).__name__
    running = _RUNNING.match(text)
    if running:
        reason = _without_source(running["reason"])
        return f"the node {running['name']!r:.200} ({running['operator']}): {_shorten(reason)}"
    return _shorten(_without_source(text))


def _without_prefix(text: str) -> str:
    """Leave out the code and the file, and what is too long."""
    return _LOADING.sub("", _CODE.sub("", text))[:_MAX_TEXT]


def _shorten(text: str) -> str:
    text = text.strip().rstrip(".")
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]} …"


def _without_source(text: str) -> str:
    """Leave out "file.cc:12 void name::space::function(types) condition was false."."""
    found = _SOURCE.search(text)
    while found:
        text = text[: found.start()] + _without_function(text[found.end() :])
        found = _SOURCE.search(text)
    _, failed, reason = text.partition(" was false. ")
    return reason if failed else text


def _without_function(text: str) -> str:
    found = _FUNCTION.match(text)
    if found is None:
        return text
    end = found.end()
    if found.group().endswith("("):
        depth = 1
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        after = _AFTER_FUNCTION.match(text, end)
        end = after.end() if after else end
    return text[end:]


def _explain_ir_version(failure: _Failure) -> str:
    got, newest = failure.found["got"], failure.found["newest"]
    return (
        f"its IR version is {got}, but {failure.engine} reads up to {newest}; pip install "
        f"--upgrade onnxruntime, or set ir_version of the model to {newest} with the package onnx"
    )


def _explain_opset(failure: _Failure) -> str:
    found = failure.found
    domain = "" if found["domain"] == "ai.onnx" else f" of {found['domain']}"
    return (
        f"its opset{domain} is {found['got']}, but {failure.engine} supports up to "
        f"{found['newest']}; export it with opset {found['newest']} or older, or pip install "
        "--upgrade onnxruntime"
    )


def _explain_no_opset(failure: _Failure) -> str:
    return (
        "expected the opset in its opset_import, got none; add the opset that it was exported "
        "with, with make_opsetid of the package onnx"
    )


def _explain_standard_operator(failure: _Failure) -> str:
    operator, opset = failure.found["operator"], int(failure.found["opset"])
    since = _first_version(operator, failure.onnxruntime)
    return explain_unknown_operator(failure.node, operator, opset, since, failure.engine)


def _first_version(operator: str, onnxruntime: Any) -> int | None:
    """Return the first opset with an operator, None if it is unknown or this build cannot tell."""
    try:
        schemas = onnxruntime.capi.onnxruntime_pybind11_state.get_all_operator_schema()
    except AttributeError:  # a build without schemas
        return None
    versions = [each.since_version for each in schemas if not each.domain and each.name == operator]
    return min(versions, default=None)


def _explain_no_ir_version(failure: _Failure) -> str:
    return "expected an IR version, got none; set ir_version of the model with the package onnx"


def _explain_damage(failure: _Failure) -> str:
    return "expected an ONNX model, got a damaged one; copy or download it again"


def _explain_ort_damage(failure: _Failure) -> str:
    return (
        "expected a complete model in ONNX Runtime's own format, got a damaged one, or one that "
        "was cut off; copy or download it again"
    )


def _explain_custom_operator(failure: _Failure) -> str:
    domain = failure.found["domain"]
    if domain == "com.microsoft":
        return (
            f"{failure.node} needs an operator of com.microsoft that {failure.engine} does not "
            "have; pip install --upgrade onnxruntime, or use the file from before its optimizer"
        )
    origin = find_origin(failure.found["operator"], domain)
    if origin is None:
        return (
            f"{failure.node} needs an operator that {failure.engine} does not know; export it with "
            "standard operators"
        )
    return f"{failure.node} is {origin.owner}, and ONNX Runtime has none of these; {origin.hint}"


def _explain_no_kernel(failure: _Failure) -> str:
    origin = find_origin(failure.found["operator"], "")
    if origin is not None:
        return f"{failure.node} is {origin.owner}; {origin.hint}"
    return (
        f"{failure.engine} cannot compute {failure.node} in the types of its tensors; export it "
        "in float32"
    )


def _explain_two_types(failure: _Failure) -> str:
    found = failure.found
    return (
        f"{failure.node} has inputs of two types, {found['one']} and {found['other']}; export it "
        "in float32: other precisions are derived from that"
    )


def _explain_two_names(failure: _Failure) -> str:
    return (
        f"two of its nodes have the name {failure.found['name']!r:.200}; give each node its own "
        "name, or none"
    )


def _explain_types(failure: _Failure) -> str:
    return (
        f"types in its network contradict each other: {failure.reason}; export it in float32: "
        "other precisions are derived from that"
    )


def _explain_type(failure: _Failure) -> str:
    return (
        f"{failure.engine} does not have the type {failure.found['type']} of its tensors; export "
        "it in float32"
    )


def _explain_edited(failure: _Failure) -> str:
    return (
        f"its network is not consistent: {failure.reason}; use the file from before it was cut or "
        "edited, or export it again"
    )


def _explain_shapes(failure: _Failure) -> str:
    return (
        f"the shapes at {failure.node} contradict each other: {failure.reason}; export it with the "
        "input size that it shall run with"
    )


def _explain_node(failure: _Failure) -> str:
    origin = find_origin(failure.found["operator"], "")
    if origin is not None:
        return f"{failure.node} is {origin.owner}; {origin.hint}"
    return (
        f"{failure.node} is not valid: {failure.reason}; export it with another opset, or correct "
        "the node"
    )


def _explain_shared_weights(failure: _Failure) -> str:
    # converting signed weights to unsigned ones
    return (
        "ONNX Runtime cannot open it: this CPU has no VNNI, and ONNX Runtime computes int8 exactly "
        "on it only if no two layers share weights or a zero point; give every layer its own copy, "
        "or use another precision"
    )


_NODE = r'In Node, \("(?P<name>[^"]*)", (?P<operator>[^,]+), "[^"]*", -?\d+\)'
_OPENING: tuple[tuple[re.Pattern[str], _Explain], ...] = tuple(
    (re.compile(pattern), explain)
    for pattern, explain in (
        (r"AddInitializedOrtValue", _explain_shared_weights),
        (
            r"Unsupported model IR version: (?P<got>\d+), "
            r"max supported IR version: (?P<newest>\d+)",
            _explain_ir_version,
        ),
        (
            r"Opset (?P<got>\d+) is under development.*official support for domain "
            r"(?P<domain>\S+) is till opset (?P<newest>\d+)",
            _explain_opset,
        ),
        (r"Missing opset in the model", _explain_no_opset),
        (r"Missing model IR version", _explain_no_ir_version),
        (r"ORT model verification failed", _explain_ort_damage),
        (r"Protobuf parsing failed|codec can't decode|Invalid tensor data type", _explain_damage),
        (
            _NODE + r".*Error (?:No )?Op registered for \S+ (?:with|is deprecated in) "
            r"domain_version of (?P<opset>\d+)",
            _explain_standard_operator,
        ),
        (
            _NODE + r".*Error No opset import for domain '(?P<domain>[^']*)'",
            _explain_custom_operator,
        ),
        (
            r"(?P<domain>[^\s:]*):(?P<operator>[^\s:(]+)\(-?\d+\) is not a registered function/op",
            _explain_custom_operator,
        ),
        (
            r"Could not find an implementation for (?P<operator>[^\s(]+)\(\d+\) node with name "
            r"'(?P<name>[^']*)'",
            _explain_no_kernel,
        ),
        (
            r"Optype \((?P<operator>\w+)\) bound to different types \(tensor\((?P<one>\w+)\) and "
            r"tensor\((?P<other>\w+)\) in node \((?P<name>[^)]*)\)",
            _explain_two_types,
        ),
        (r"Type Error: (?P<reason>.*)", _explain_types),
        (r"two nodes with same node name \((?P<name>[^)]*)\)", _explain_two_names),
        (r"MLDataType for: tensor\((?P<type>\w+)\)", _explain_type),
        (
            r"Node \((?P<name>[^)]*)\) Op \((?P<operator>[^)]*)\) "
            r"\[(?:Shape|Type)InferenceError\] (?P<reason>.*)",
            _explain_shapes,
        ),
        (
            r"(?P<reason>Node input '[^']*' is not a graph input.*"
            r"|Graph output \([^)]*\) does not exist in the graph"
            r"|Duplicate definition of name .*"
            r"|Graph must be in single static assignment .*"
            r"|This is an invalid model\. Error: the graph is not acyclic.*)",
            _explain_edited,
        ),
        (_NODE + r".*, Error (?P<reason>.*)", _explain_node),
    )
)
