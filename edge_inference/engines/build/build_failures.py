"""Turns TensorRT's error reports into one sentence with a hint."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edge_inference.backends.trt.vendor import first_reason

# "IBuilder::build…: Error Code 4: API Usage Error (The cause. In validate at /_src/…:4023)"
_ERROR_CODE = re.compile(r"Error Code \d+: [^(]*\((?P<cause>.*)\)$")
_SOURCE_AFTER = re.compile(r"\.? In \S+ at \S+:\d+\b")
_SOURCE_BEFORE = re.compile(r"\[[^\]\s]+:\d+: \w+\] ")
# "ITopKLayer name: name: ", "Assertion condition failed. "
_LAYER = re.compile(r"^I\w+Layer (?P<name>[^:]+): (?:(?P=name): )?")
# "kFLOAT", "but is not produced by IPluginLayer, …"
_TYPE = re.compile(r"\bk(?P<name>[A-Z][A-Z0-9]+)\b")
_ONLY_QUANTIZED = re.compile(r" but is not produced by IPlugin.*$")
_ASSERTION = re.compile(r"^Assertion .*? failed\. *")

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
    (
        r"K exceeds the maximum",
        "export it with fewer candidates or detections, or serve it with the backend ort",
    ),
    (r"datatype FP8", "cast to float32 or float16 instead when you export it"),
    (
        r"no runners that implement|API Usage Error",
        "export the model without this node, or serve it with the backend ort",
    ),
)
_DEFAULT_HINT = "logging at level debug shows all messages of TensorRT"


def explain_build_failure(onnx_file: Path, title: str, lines: Sequence[str]) -> str:
    """Return the reason why a build failed, from the errors that TensorRT logged."""
    return f"{onnx_file}: {title} built no engine: {cause_of(lines)}; {hint_for(lines)}"


def cause_of(lines: Sequence[str]) -> str:
    """Return the first error without TensorRT's source positions and error numbers."""
    reason = first_reason(lines, "TensorRT gave no reason")
    found = _ERROR_CODE.search(reason)
    cause = (found["cause"] if found else reason).partition("; ")[0]
    cause = _SOURCE_BEFORE.sub("", _SOURCE_AFTER.sub("", cause)).strip()
    cause = _LAYER.sub(r"the layer '\g<name>': ", _ASSERTION.sub("", cause) or cause)
    cause = _TYPE.sub(r"\g<name>", _ONLY_QUANTIZED.sub(", which only QuantizeLinear makes", cause))
    return cause.strip().rstrip(".;")


def hint_for(lines: Sequence[str]) -> str:
    """Return the hint for the logged errors."""
    log = "\n".join(lines)
    return next((hint for pattern, hint in _HINTS if re.search(pattern, log)), _DEFAULT_HINT)
