"""Finds the NVIDIA GPU of this machine through the driver library, without any package."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from edge_inference.errors import BackendError

DRIVER_LIBRARY = "libcuda.so.1"

# From cuda.h: CUdevice_attribute.
_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76
_MAX_NAME = 256


@dataclass(frozen=True)
class Gpu:
    """A GPU; ``compute_capability`` as in "8.7"."""

    index: int
    name: str
    compute_capability: str


def find_gpu(index: int = 0) -> Gpu:
    """Return a GPU by its number. Raises BackendError where driver or GPU is missing.

    ONNX Runtime with CUDA and TensorRT can be installed on machines without a GPU.
    """
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError as error:
        raise BackendError(f"no NVIDIA driver ({DRIVER_LIBRARY} cannot be loaded)") from error
    status = driver.cuInit(0)
    if status != 0:
        raise BackendError(f"the NVIDIA driver does not start (cuInit returns error {status})")
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value == 0:
        raise BackendError("the NVIDIA driver finds no GPU")
    if not 0 <= index < count.value:
        raise BackendError(
            f"GPU {index}: expected a number below {count.value}, the number of GPUs"
        )
    device = ctypes.c_int(0)
    name = ctypes.create_string_buffer(_MAX_NAME)
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    status = (
        driver.cuDeviceGet(ctypes.byref(device), index)
        or driver.cuDeviceGetName(name, len(name), device)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device)
    )
    if status != 0:
        raise BackendError(f"GPU {index} does not respond (the driver returns error {status})")
    return Gpu(index, name.value.decode(errors="replace"), f"{major.value}.{minor.value}")
