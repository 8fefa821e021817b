"""NVIDIA's runtime compiler compiles the image kernel for every supported GPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_inference.backends.trt import image_kernel
from edge_inference.backends.trt.nvrtc import compile_ptx
from edge_inference.errors import BackendError

KIT = (
    Path(__file__).resolve().parent.parent.parent
    / ".cache"
    / "gpu_test_kit"
    / f"cp{sys.version_info[0]}{sys.version_info[1]}"
    / "cuda"
)
#: Xavier, PCs, Orin, Hopper, Thor; and the releases of CUDA that support them.
GPUS = {
    "7.2": ("12",),
    "7.5": ("12", "13"),
    "8.7": ("12", "13"),
    "9.0": ("12", "13"),
    "11.0": ("13",),
}


def compiler(release: str) -> str:
    """Return the compiler of a CUDA release in the test kit; skips where it is missing."""
    found = sorted(KIT.glob(f"nvidia/*/lib/libnvrtc.so.{release}"))
    if not found:
        pytest.skip(f"the test kit has no run-time compiler of CUDA {release}")
    return str(found[0])


@pytest.mark.parametrize(
    ("gpu", "release"), [(gpu, release) for gpu, releases in GPUS.items() for release in releases]
)
def test_the_kernel_compiles(gpu: str, release: str) -> None:
    source = Path(image_kernel.__file__).with_suffix(".cu").read_text(encoding="utf-8")
    text = compile_ptx(source, gpu, compiler(release)).decode()
    assert f".target sm_{gpu.replace('.', '')}" in text
    assert f".visible .entry {image_kernel.NAME}(" in text
    # GPUs of robots compute doubles slowly; the kernel must have none.
    assert ".f64" not in text


@pytest.mark.parametrize("release", ["12", "13"])
def test_an_error_has_the_first_line_of_the_compiler(release: str) -> None:
    with pytest.raises(BackendError, match=r"cannot compile for compute_87: .*error") as caught:
        compile_ptx("this is no CUDA", "8.7", compiler(release))
    assert "\n" not in str(caught.value)


def test_an_unknown_compute_capability() -> None:
    with pytest.raises(BackendError, match="cannot compile for compute_72"):
        compile_ptx("__global__ void f() {}", "7.2", compiler("13"))
