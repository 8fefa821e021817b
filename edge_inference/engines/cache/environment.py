"""The machine and the libraries of a measurement; missing libraries are left out."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from contextlib import suppress
from pathlib import Path

from edge_inference.backends.cpu_instructions import CPU_FILE, UNKNOWN, find_cpu_instructions
from edge_inference.backends.gpu import find_gpu
from edge_inference.errors import BackendError

#: Each library, and the packages that provide it.
_LIBRARIES = {
    "numpy": ("numpy",),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "onnx": ("onnx",),
    "tensorrt": ("tensorrt", "tensorrt-rtx", "tensorrt-cu12", "tensorrt-cu13"),
}
#: The libraries that compute an inference.
_COMPUTING = ("onnxruntime", "tensorrt")
#: Fields of /proc/cpuinfo that identify a core, on x86 and on ARM.
_CORE_FIELDS = ("cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU variant")
#: Instruction sets that choose a kernel; other flags depend on the version of Linux.
_INSTRUCTIONS = re.compile(
    r"(sse|ssse|avx|fma|f16c|amx|bf16|i8mm|asimd|neon|vfp|sve|sme(?!p)|fphp|half).*"
)


def machine_facts(cpu_file: Path = CPU_FILE) -> dict[str, str]:
    """Return facts by name; ``cpu_file`` is /proc/cpuinfo.

    ``instructions`` names the instruction set that multiplies bytes.
    """
    facts = {
        "cpu": _cpu(cpu_file) or platform.machine(),
        "instructions": find_cpu_instructions(cpu_file).instruction_set,
        "cores": str(_cores()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    if facts["instructions"] == UNKNOWN:
        del facts["instructions"]
    with suppress(BackendError):
        facts["gpu"] = find_gpu().name
    return facts | _libraries()


def machine_identity(cpu_file: Path = CPU_FILE) -> dict[str, str]:
    """Return everything that changes an inference's time on this machine, without the GPU."""
    lines = _entries(cpu_file)
    kinds = {f"{key} {value}" for key, value in lines if key in _CORE_FIELDS}
    flags = {flag for key, value in lines if key in ("flags", "Features") for flag in value.split()}
    libraries = {name: found for name, found in _libraries().items() if name in _COMPUTING}
    return {
        "cpu": _cpu(cpu_file) or platform.machine(),
        "kind": ", ".join(sorted(kinds)),
        "instructions": " ".join(sorted(filter(_INSTRUCTIONS.fullmatch, flags))),
        "cores": str(os.cpu_count() or 1),
        **libraries,
    }


def _libraries() -> dict[str, str]:
    found = {}
    for library, packages in _LIBRARIES.items():
        versions = (_version(package) for package in packages)
        version = next((version for version in versions if version), None)
        if version is not None:
            found[library] = version
    return found


def _cpu(file: Path) -> str | None:
    known = (value for key, value in _entries(file) if key in ("model name", "Model"))
    return next(known, None)


def _entries(file: Path) -> list[tuple[str, str]]:
    """Return the ``key : value`` lines; none where the file cannot be read."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
