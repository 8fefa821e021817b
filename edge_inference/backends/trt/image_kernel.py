"""Preprocessing on the GPU: supported images, and the parameters of the kernel for an image.

The kernel replaces ``core.images.preprocess.Preprocessor``. Both tensors differ by at most one
of 256 levels of a pixel: interpolation weights have 11 fractional bits there and 24 here.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from ctypes import c_int, c_uint64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.trt.bindings import Binding
from edge_inference.backends.trt.cuda import CudaProvider, Kernel
from edge_inference.backends.trt.nvrtc import compile_ptx
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec, Placement, place
from edge_inference.errors import BackendError

NAME = "image_to_tensor"
BLOCK = (32, 8)

#: The table precedes the image, so that one copy moves both to the GPU.
TABLE_BYTES = 3 * 256 * 4

#: The kernel's numbers. Area interpolation is not supported; the CPU does it.
_INTERPOLATIONS = {"nearest": 0, "linear": 1, "cubic": 2}
_INTERLEAVED, _LUMA_CHROMA = 0, 1
_COLORS = ("RGB", "BGR", "GRAY")
_DTYPES = ("float32", "float16", "uint8", "int32")


@dataclass(frozen=True)
class _Storage:
    """The memory layout of an encoding; ``offsets`` are fields of the kernel's structure."""

    kind: int
    pixel_bytes: int
    offsets: Mapping[str, int]
    separate_chroma: bool = field(default=False)


def _pixels(size: int, red: int, green: int, blue: int) -> _Storage:
    return _Storage(_INTERLEAVED, size, {"red": red, "green": green, "blue": blue})


def _pairs(luma: int, u: int, v: int) -> _Storage:
    return _Storage(_LUMA_CHROMA, 2, {"luma": luma, "chroma_u": u, "chroma_v": v})


def _planes(u: int, v: int) -> _Storage:
    offsets = {"luma": 0, "chroma_u": u, "chroma_v": v, "chroma_shift": 1}
    return _Storage(_LUMA_CHROMA, 1, offsets, separate_chroma=True)


_STORAGES: Mapping[str, _Storage] = {
    "rgb8": _pixels(3, 0, 1, 2),
    "bgr8": _pixels(3, 2, 1, 0),
    "8UC3": _pixels(3, 2, 1, 0),
    "rgba8": _pixels(4, 0, 1, 2),
    "bgra8": _pixels(4, 2, 1, 0),
    "8UC4": _pixels(4, 2, 1, 0),
    "mono8": _pixels(1, 0, 0, 0),
    "8UC1": _pixels(1, 0, 0, 0),
    "yuyv": _pairs(0, 1, 3),
    "yuv422_yuy2": _pairs(0, 1, 3),
    "uyvy": _pairs(1, 0, 2),
    "yuv422": _pairs(1, 0, 2),
    "nv12": _planes(0, 1),
    "nv21": _planes(1, 0),
}

_INTEGERS = (
    "step",
    *("from_x", "from_y", "from_width", "from_height"),
    *("to_x", "to_y", "to_width", "to_height"),
    *("width", "height", "channels"),
    *("planar", "blue_first", "element_size", "pad_value", "interpolation", "storage"),
    *("pixel_bytes", "red", "green", "blue", "luma", "chroma_u", "chroma_v"),
    *("chroma_start", "chroma_shift"),
)


class KernelImage(ctypes.Structure):
    """The kernel's parameter; the same fields in the same order as in image_kernel.cu."""

    _fields_ = [
        ("bytes", c_uint64),
        ("table", c_uint64),
        ("tensor", c_uint64),
        *((name, c_int) for name in _INTEGERS),
    ]


def load_image_kernel(
    provider: CudaProvider, compute_capability: str, library: str | None = None
) -> Kernel:
    """Compile and load the kernel. Raises BackendError without a compiler, or where it fails."""
    file = Path(__file__).with_suffix(".cu")
    try:
        source = file.read_text(encoding="utf-8")
    except OSError as error:
        raise BackendError(f"{file}: cannot be read ({error.strerror})") from error
    return provider.load_kernel(compile_ptx(source, compute_capability, library), NAME)


def supports(image: Frame, spec: InputSpec) -> bool:
    """Tell whether the kernel supports the image's encoding and makes tensors like the spec's."""
    return (
        image.encoding in _STORAGES
        and spec.interpolation in _INTERPOLATIONS
        and spec.color in _COLORS
        and spec.dtype in _DTYPES
    )


def fits_binding(spec: InputSpec, binding: Binding) -> bool:
    """Tell whether the engine's input accepts tensors of a spec."""
    rank_fits = len(binding.shape) == len(spec.shape)
    return (
        spec.name == binding.name
        and np.dtype(spec.dtype) == binding.spec.dtype
        and not binding.on_host
        and rank_fits
        and all(
            low <= length <= high
            for low, length, high in zip(
                binding.min_shape, spec.shape, binding.max_shape, strict=True
            )
        )
    )


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """The kernel's parameters for images of one encoding and size, except the addresses.

    ``table`` has the bytes of a tensor element for every pixel value, channel by channel.
    Several images share it: do not write to it.
    """

    parameter: KernelImage
    table: NDArray[np.uint8]
    geometry: Geometry


def prepare(image: Frame, spec: InputSpec, binding: Binding) -> PreparedImage:
    """Return the kernel's parameters for an image; they are cached."""
    size = (image.width, image.height)
    return _prepare(image.encoding, size, image.step, spec, binding)


@functools.lru_cache(maxsize=32)
def _prepare(
    encoding: str, size: tuple[int, int], step: int, spec: InputSpec, binding: Binding
) -> PreparedImage:
    placement = place(spec, *size)
    parameter = _describe(encoding, size[1], step, spec, placement)
    parameter.element_size = binding.stored.itemsize
    return PreparedImage(parameter, _make_table(spec, binding), placement.geometry(*size))


def _make_table(spec: InputSpec, binding: Binding) -> NDArray[np.uint8]:
    """Compute in float64 and round once, as on the CPU, then cast to the engine's type."""
    pixels = np.arange(256, dtype=np.float64)
    mean = np.broadcast_to(np.array(spec.mean), spec.channels)[:, None]
    std = np.broadcast_to(np.array(spec.std), spec.channels)[:, None]
    values = ((pixels - mean) / std).astype(spec.dtype)
    stored = np.empty(values.shape, binding.stored)
    binding.pack(values, stored)
    return stored.reshape(-1).view(np.uint8)


def _describe(
    encoding: str, height: int, step: int, spec: InputSpec, placement: Placement
) -> KernelImage:
    storage = _STORAGES[encoding]
    fields: dict[str, Any] = dict(storage.offsets)
    for prefix, rectangle in (("from", placement.source), ("to", placement.target)):
        names = (f"{prefix}_{part}" for part in ("x", "y", "width", "height"))
        fields.update(zip(names, rectangle, strict=True))
    if storage.separate_chroma:
        fields["chroma_start"] = height * step
    return KernelImage(
        step=step,
        width=spec.width,
        height=spec.height,
        channels=spec.channels,
        planar=spec.is_planar,
        blue_first=spec.color == "BGR",
        pad_value=spec.pad_value,
        interpolation=_INTERPOLATIONS[spec.interpolation],
        storage=storage.kind,
        pixel_bytes=storage.pixel_bytes,
        **fields,
    )


def grid_for(spec: InputSpec) -> tuple[int, int]:
    """Return the number of blocks that cover the tensor."""
    return -(-spec.width // BLOCK[0]), -(-spec.height // BLOCK[1])
