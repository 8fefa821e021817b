"""NVIDIA's runtime compiler through ctypes: compiles CUDA source to PTX, without nvcc."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.util
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from edge_inference.errors import BackendError

_VERSIONS = ("", ".13", ".12", ".11.2")
_FOLDERS = ("", "/usr/local/cuda/lib64/")

_SIGNATURES: dict[str, Sequence[Any]] = {
    "nvrtcCreateProgram": (POINTER(c_void_p), c_char_p, c_char_p, c_int, c_void_p, c_void_p),
    "nvrtcCompileProgram": (c_void_p, c_int, POINTER(c_char_p)),
    "nvrtcGetPTXSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetPTX": (c_void_p, c_char_p),
    "nvrtcGetProgramLogSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetProgramLog": (c_void_p, c_char_p),
    "nvrtcDestroyProgram": (POINTER(c_void_p),),
}


@functools.lru_cache(maxsize=16)
def compile_ptx(source: str, compute_capability: str, library: str | None = None) -> bytes:
    """Compile CUDA source for GPUs of a compute capability such as "8.7".

    ``library`` is a file to use instead of the installed one. Raises BackendError without a
    compiler, and where the source does not compile.
    """
    nvrtc = _load(library)
    program = c_void_p()
    _call(nvrtc, "nvrtcCreateProgram", byref(program), source.encode(), None, 0, None, None)
    try:
        architecture = "compute_" + compute_capability.replace(".", "")
        options = (c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
        if nvrtc.nvrtcCompileProgram(program, 1, options):
            raise BackendError(
                f"the CUDA compiler cannot compile for {architecture}: "
                f"{_first_line(_text(nvrtc, 'nvrtcGetProgramLog', program))}"
            )
        return _text(nvrtc, "nvrtcGetPTX", program)
    finally:
        nvrtc.nvrtcDestroyProgram(byref(program))


def _load(library: str | None) -> Any:
    names = [library] if library else _candidates()
    for name in names:
        try:
            nvrtc = ctypes.CDLL(name)
        except OSError:
            continue
        for function, arguments in _SIGNATURES.items():
            getattr(nvrtc, function).argtypes = arguments
            getattr(nvrtc, function).restype = c_int
        return nvrtc
    raise BackendError("libnvrtc, the CUDA runtime compiler, is not installed")


def _candidates() -> list[str]:
    found = ctypes.util.find_library("nvrtc")
    names = [f"{folder}libnvrtc.so{version}" for folder in _FOLDERS for version in _VERSIONS]
    return ([found] if found else []) + names + _in_packages()


def _in_packages() -> list[str]:
    """Find the compiler in NVIDIA's Python packages, newest first."""
    package = importlib.util.find_spec("nvidia")
    folders = package.submodule_search_locations if package else None
    found = (Path(folder).glob("*/lib/libnvrtc.so.*") for folder in folders or ())
    return sorted((str(file) for files in found for file in files), reverse=True)


def _call(nvrtc: Any, name: str, *arguments: Any) -> None:
    code = getattr(nvrtc, name)(*arguments)
    if code:
        raise BackendError(f"the CUDA compiler failed in {name} (error {code})")


def _text(nvrtc: Any, name: str, program: c_void_p) -> bytes:
    size = c_size_t()
    _call(nvrtc, name + "Size", program, byref(size))
    text = ctypes.create_string_buffer(size.value)
    _call(nvrtc, name, program, text)
    return text.value


def _first_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else "it gives no reason"
