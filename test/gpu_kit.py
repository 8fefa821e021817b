"""The kit for tests of GPU code without a GPU, which ``scripts/gpu_test_kit.py`` makes."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from edge_inference.backends.trt.vendor import Vendor, import_tensorrt
from edge_inference.errors import BackendError

ROOT = Path(__file__).resolve().parent.parent
KIT = ROOT / ".cache" / "gpu_test_kit" / f"cp{sys.version_info[0]}{sys.version_info[1]}"
NOT_MADE = "the kit for tests of GPU code was not made: make test makes it"
#: TensorRT's releases whose Python bindings are in the kit: JetPack 6.0, 6.1, 7.0 and 7.2.
BINDINGS = ("8.6.1", "10.3.0", "10.13.3.9", "11.4.0.106")
# Parts with a module of the same name, for all tests.
MODULES = ("pycuda", "tensorrt_rtx")


def missing(part: str) -> str:
    """Return why a part is missing; "" if it exists."""
    if (KIT / part).is_dir():
        return ""
    state = _state()
    return str(state.get(part, state.get("", {})).get("missing", NOT_MADE))


def folder_of(part: str) -> Path:
    """Return a part's folder; skip the test, with the reason, if it is missing."""
    reason = missing(part)
    if reason:
        pytest.skip(reason)
    return KIT / part


def nvrtc_library(cuda: int) -> Path:
    """Return CUDA 12's or 13's runtime compiler. Skips the test if it is missing."""
    return next(folder_of("cuda").glob(f"nvidia/*/lib/libnvrtc.so.{cuda}"))


def cuda_headers() -> Path:
    """Return the folder of CUDA 12's ``cuda.h``. Skips the test if it is missing."""
    return folder_of("cuda") / "nvidia" / "cuda_runtime" / "include"


def tensorrt_rtx() -> Vendor:
    """Return TensorRT-RTX, which builds without a GPU. Skips the test where it is absent."""
    try:
        found = import_tensorrt()
    except BackendError as error:
        pytest.skip(str(error))
    if found.library != "tensorrt_rtx":
        pytest.skip(f"{found.title} is installed; it is TensorRT-RTX that builds without a GPU")
    return found


def put_on_path() -> None:
    """Let this process and its children import pycuda and TensorRT-RTX.

    Packages of the environment have priority.
    """
    added = [str(KIT / m) for m in MODULES if (KIT / m).is_dir() and _is_absent(m)]
    sys.path += added
    before = [folder for folder in (os.environ.get("PYTHONPATH"),) if folder]
    if added:
        os.environ["PYTHONPATH"] = os.pathsep.join(before + added)


def _is_absent(module: str) -> bool:
    return importlib.util.find_spec(module) is None


@functools.cache
def _state() -> dict[str, dict[str, str]]:
    try:
        return dict(json.loads((KIT / "kit.json").read_text()))
    except OSError:
        return {}
