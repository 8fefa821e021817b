"""The machine and the libraries that a figure was measured with; what is not there is left out."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from contextlib import suppress
from pathlib import Path

from edge_inference.backends.gpu import find_gpu
from edge_inference.errors import BackendError

#: A library, and the packages that it may have come with.
_LIBRARIES = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "onnx": ("onnx",),
    "tensorrt": ("tensorrt", "tensorrt-rtx", "tensorrt-cu12", "tensorrt-cu13"),
}


def machine_facts(cpu_file: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Return facts by name; ``cpu_file`` is where Linux tells the processor's name."""
    facts = {
        "cpu": _cpu(cpu_file) or platform.machine(),
        "cores": str(_cores()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    with suppress(BackendError):
        facts["gpu"] = find_gpu().name
    for library, packages in _LIBRARIES.items():
        versions = (_version(package) for package in packages)
        found = next((version for version in versions if version), None)
        if found is not None:
            facts[library] = found
    return facts


def _cpu(file: Path) -> str | None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return None


def _cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
