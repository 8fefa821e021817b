"""Turns the errors of the checker of the package onnx into one sentence with a hint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edge_inference.backends.ort_failures import describe_error
from edge_inference.core.onnx_format.onnx_operators import (
    explain_unknown_operator,
    find_origin,
    read_operators,
)
from edge_inference.core.onnx_format.onnx_problems import find_file_problem

_NEWER_IR = re.compile(r"ir_version (?P<got>\d+) is higher than the checker's \((?P<newest>\d+)\)")
_UNKNOWN_OPERATOR = re.compile(
    r"Op registered for (?P<operator>\S+) (?:with|is deprecated in) "
    r"domain_version of (?P<opset>\d+)"
)
_NO_SOURCE = re.compile(
    r"however input '(?P<tensor>[^']*)' of node:\s+name: (?P<name>.*?) OpType: (?P<operator>\S+)",
    re.DOTALL,
)
_UNDECLARED_DOMAIN = re.compile(r"No opset import for domain '(?P<domain>[^']+)'")
_BAD_NODE = re.compile(r"Bad node spec for node\. Name: (?P<name>.*) OpType: (?P<operator>\S+)")
_EDITED = "use the file from before it was cut or edited, or export it again"


def explain_check_failure(file: Path, error: Exception, onnx: Any) -> str:
    """Return why the checker refuses the network of a file, as one sentence with a hint."""
    problem = find_file_problem(file)
    if problem is not None:
        return problem
    return f"{file}: {_explain(file, error, onnx)}"


def _explain(file: Path, error: Exception, onnx: Any) -> str:
    text, package = str(error), f"the package onnx {onnx.__version__}"
    found = _NEWER_IR.search(text)
    if found:
        return (
            f"its IR version is {found['got']}, but {package} supports up to {found['newest']}; "
            "pip install --upgrade onnx, or export it with an older opset"
        )
    found = _UNKNOWN_OPERATOR.search(text)
    if found:
        operator, opset = found["operator"], int(found["opset"])
        nodes = read_operators(file).nodes
        name = next((node[0] for node in nodes if node[1:] == (operator, "")), "")
        schemas = onnx.defs.get_all_schemas_with_history()
        versions = [each.since_version for each in schemas if each.name == operator]
        node = f"its node {name!r:.200} ({operator})"
        return explain_unknown_operator(node, operator, opset, min(versions, default=None), package)
    found = _NO_SOURCE.search(text)
    if found:
        return (
            f"its network is not consistent: no earlier node computes the input "
            f"{found['tensor']!r:.200} of its node {found['name']!r:.200} ({found['operator']}); "
            f"{_EDITED}"
        )
    found = _UNDECLARED_DOMAIN.search(text)
    if found:
        name, operator, domain = next(
            (node for node in read_operators(file).nodes if node[2] == found["domain"]),
            ("", "", found["domain"]),
        )
        origin = find_origin(operator, domain)
        if origin is not None:
            return f"its node {name!r:.200} ({operator}) is {origin.owner}; {origin.hint}"
    found = _BAD_NODE.search(text)
    if found:
        return (
            f"its node {found['name']!r:.200} ({found['operator']}) is not valid: "
            f"{describe_error(error)}; export it with another opset, or correct the node"
        )
    if "Field 'shape' of 'type' is required" in text:
        return (
            "one of its inputs or outputs has no declared shape; declare it, for example with "
            "onnx.shape_inference.infer_shapes_path"
        )
    if "not have an ir_version" in text:
        return "expected an IR version, got none; set ir_version of the model with the package onnx"
    if "must specify opset_import" in text:
        return (
            "expected the opset in its opset_import, got none; add the opset that it was exported "
            "with, with make_opsetid of the package onnx"
        )
    return f"its network is not valid: {describe_error(error)}; {_EDITED}"
