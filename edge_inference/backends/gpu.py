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


@dataclass(frozen=True)
class GpuMemory:
    """Memory of a GPU that is in use, by all processes, in MiB."""

    used_mib: float
    total_mib: float


def find_gpu(index: int = 0) -> Gpu:
    """Return a GPU by its number. Raises BackendError where driver or GPU is missing.

    ONNX Runtime with CUDA and TensorRT can be installed on machines without a GPU.
    """
    driver = _load_driver()
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


def gpu_memory(index: int = 0) -> GpuMemory:
    """Return the memory in use on a GPU that this process uses already.

    Raises BackendError where driver or GPU is missing, and where this process has no context on
    the GPU: one made for the purpose would take hundreds of MiB itself.
    """
    find_gpu(index)
    driver = _load_driver()
    device, context = ctypes.c_int(0), ctypes.c_void_p()
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    status = driver.cuDeviceGet(ctypes.byref(device), index)
    flags, is_active = ctypes.c_uint(0), ctypes.c_int(0)
    status = status or driver.cuDevicePrimaryCtxGetState(
        device, ctypes.byref(flags), ctypes.byref(is_active)
    )
    if status == 0 and not is_active.value:
        raise BackendError(f"this process does not use GPU {index}")
    status = status or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    if status != 0:
        raise BackendError(f"GPU {index} does not respond (the driver returns error {status})")
    try:
        status = driver.cuCtxPushCurrent_v2(context)
        if status == 0:
            status = driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
            driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)
    if status != 0:
        raise BackendError(f"GPU {index} does not tell its memory (the driver returns {status})")
    return GpuMemory((total.value - free.value) / 2**20, total.value / 2**20)


def _load_driver() -> ctypes.CDLL:
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError as error:
        raise BackendError(f"no NVIDIA driver ({DRIVER_LIBRARY} cannot be loaded)") from error
    status = driver.cuInit(0)
    if status != 0:
        raise BackendError(f"the NVIDIA driver does not start (cuInit returns error {status})")
    return driver
