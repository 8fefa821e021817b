"""Turns TensorRT's error reports into one sentence with a hint."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.vendor import first_reason

# "IBuilder::build…: Error Code 4: API Usage Error (The cause. In validate at /_src/…:4023)"
_ERROR_CODE = re.compile(r"Error Code \d+: [^(]*\((?P<cause>.*)\)$")
_SOURCE_AFTER = re.compile(r"\.? In \S+ at \S+:\d+\b")
_SOURCE_BEFORE = re.compile(r"\[[^\]\s]+:\d+: \w+\] ")
_QUOTED = re.compile(r'"([^"]+)"')
_ASSERTION = re.compile(r"^Assertion failed: [^:]*(?:::[^:]*)*: ")
_PARSED_NODE = re.compile(r"node number (?P<number>\d+) \[(?P<operator>\w+)")
_NODE_NAME = re.compile(r'^\s*(?:Node )?name: "?(?P<name>[^"\n]+)', re.MULTILINE)
_MISSING_WEIGHTS = re.compile(r"[Ff]ailed to open file:? (?P<file>.+?)\s*$", re.MULTILINE)

_HINTS = (
    (
        r"out of memory|bad_alloc|OutOfMemory|insufficient memory|could not be allocated",
        "close other programs, or lower workspace_mib, batch or optimization_level",
    ),
    (r"workspace", "raise workspace_mib, or leave it at 0"),
    (r"lean", "set exclude_lean_runtime, or install TensorRT's lean runtime"),
    (r"[Hh]ardware compatib", "set hardware to 'same'"),
    (
        r"driver|no CUDA-capable|CUDA initialization",
        "build on the machine with the GPU that will run it, or install NVIDIA's driver",
    ),
    (r"DLA", "set device to 'gpu'"),
)
_DEFAULT_HINT = "logging at level debug shows all messages of TensorRT"


def explain_parse_failure(onnx_file: Path, title: str, parser: Any, lines: Sequence[str]) -> str:
    """Return the reason why TensorRT's parser refused an ONNX file.

    ``lines`` are the errors that TensorRT logged during the parsing; up to TensorRT 8 only
    they name the node.
    """
    log = "\n".join(lines)
    missing = _MISSING_WEIGHTS.search(log)
    if missing:
        return (
            f"{onnx_file}: the file of its weights, {Path(missing['file']).name!r}, cannot be "
            f"opened; put it beside the ONNX"
        )
    if not parser.num_errors:
        return f"{onnx_file}: {title} cannot parse it: {cause_of(lines)}"
    error = parser.get_error(0)
    code = getattr(error.code(), "name", "")
    if code == "MODEL_DESERIALIZE_FAILED":
        return (
            f"{onnx_file}: not a complete ONNX model (cut off or altered); copy or export it again"
        )
    name, operator = _failed_node(error, log)
    reason = _parser_reason(error.desc(), code)
    if not name and not operator:
        return f"{onnx_file}: {title} cannot parse it: {reason}; export it again"
    return (
        f"{onnx_file}: {title} cannot parse the node {name!r} ({operator or 'operator unknown'}):"
        f" {reason}; export the model without it, or run it on ONNX Runtime"
    )


def explain_build_failure(onnx_file: Path, title: str, lines: Sequence[str]) -> str:
    """Return the reason why a build failed, from the errors that TensorRT logged."""
    return f"{onnx_file}: {title} built no engine: {cause_of(lines)}; {hint_for(lines)}"


def cause_of(lines: Sequence[str]) -> str:
    """Return the first error without TensorRT's source positions and error numbers."""
    reason = first_reason(lines, "TensorRT gave no reason")
    found = _ERROR_CODE.search(reason)
    cause = (found["cause"] if found else reason).partition("; ")[0]
    return _SOURCE_BEFORE.sub("", _SOURCE_AFTER.sub("", cause)).strip().rstrip(".;")


def hint_for(lines: Sequence[str]) -> str:
    """Return the hint for the logged errors."""
    log = "\n".join(lines)
    return next((hint for pattern, hint in _HINTS if re.search(pattern, log)), _DEFAULT_HINT)


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
    quoted = _QUOTED.search(description)
    if quoted:
        return quoted[1].rstrip(".")
    plain = _ASSERTION.sub("", description).strip().rstrip(".")
    if plain in ("", "false"):  # a bare assertion: the code says more
        return code.replace("_", " ").lower() or "not supported"
    return plain
