"""Backends on the doubles, for tests in a process that has loaded them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnxruntime

import tensorrt_double
from edge_inference.backends.trt.backend import TrtBackend
from edge_inference.backends.trt.metadata import EngineMetadata, Environment, write_sidecar
from edge_inference.backends.trt.vendor import Vendor, import_tensorrt

MODULE = "tensorrt_double"


def vendor() -> Vendor:
    """Return the double as the vendor of the backend."""
    return import_tensorrt((MODULE,))


def write_plan(onnx_file: Path, *, metadata: dict[str, Any] | None = None, **header: Any) -> Path:
    """Write a plan and its sidecar beside an ONNX file.

    ``make_plan`` describes ``header``; a dynamic axis has 1 to 4 elements unless ``profiles``
    sets another range. ``metadata`` replaces fields of the sidecar.
    """
    session = onnxruntime.InferenceSession(str(onnx_file))
    profiles = {
        node.name: [_filled(node.shape, length) for length in (1, 1, 4)]
        for node in session.get_inputs()
        if any(not isinstance(length, int) for length in node.shape)
    }
    content = tensorrt_double.make_plan(
        onnx_file, **{**header, "profiles": {**profiles, **header.get("profiles", {})}}
    )
    plan = onnx_file.with_suffix(".plan")
    plan.write_bytes(content)
    here = Environment.here(MODULE, tensorrt_double.__version__, "Double", "8.7")
    fields: dict[str, Any] = {
        "environment": here,
        "precision": "fp32",
        "model": "tiny",
        "onnx_sha256": "",
        "plan_sha256": hashlib.sha256(content).hexdigest(),
        "plan_bytes": len(content),
        "inputs": {node.name: _describe(node) for node in session.get_inputs()},
        "outputs": {node.name: _describe(node) for node in session.get_outputs()},
    }
    write_sidecar(plan, EngineMetadata(**{**fields, **(metadata or {})}))
    return plan


def make_backend(onnx_file: Path, *, header: dict[str, Any] | None = None, **settings: Any) -> Any:
    """Return a closed backend of an ONNX file, on the doubles."""
    return TrtBackend(write_plan(onnx_file, **(header or {})), vendor=vendor(), **settings)


def _filled(shape: list[Any], length: int) -> list[int]:
    return [axis if isinstance(axis, int) else length for axis in shape]


def _describe(node: Any) -> list[Any]:
    onnx_type = node.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(onnx_type, onnx_type)
    return [dtype, *_filled(node.shape, -1)]
