"""Converts tensors with DLPack's fields: TensorBatch."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.image_header import MAX_SIDE
from edge_inference.core.tensors import TensorBatch
from edge_inference.errors import TensorError
from edge_inference.msg import Tensor, TensorGeometry, TensorList
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.numbers import NumberRange

_CODES = {
    "i": Tensor.DTYPE_INT,
    "u": Tensor.DTYPE_UINT,
    "f": Tensor.DTYPE_FLOAT,
    "b": Tensor.DTYPE_BOOL,
}
_KINDS = {code: kind for kind, code in _CODES.items()}
_WIDTHS = {"i": (8, 16, 32, 64), "u": (8, 16, 32, 64), "f": (16, 32, 64), "b": (8,)}
_MAX_AXES = 16
_SCALE = NumberRange(1e-6, 1e6)
_OFFSET = NumberRange(-1e6, 1e6)
_MAX_SKIPPED = 1_000_000
# Masks and depth maps are as large as their source, whose size in a message is not limited.
_MAX_PIXELS = 1 << 25


class TensorListAdapter(Adapter[TensorBatch]):
    """TensorBatch as ``edge_inference/TensorList``."""

    message_type = TensorList
    bounds = MessageBounds(
        size=64 << 20,
        counts={"tensors": 256, "geometry": 256, "shape": _MAX_AXES, "strides": _MAX_AXES},
    )

    def to_message(self, item: TensorBatch) -> TensorList:
        """Build the message; one copy of every tensor, row-major."""
        return TensorList(
            header=to_header(item.stamp_ns, item.frame_id),
            model=item.model,
            skipped=item.skipped,
            tensors=[_to_tensor(name, tensor) for name, tensor in item.tensors.items()],
            geometry=[
                TensorGeometry(
                    source_width=geometry.source_width,
                    source_height=geometry.source_height,
                    scale_x=geometry.scale_x,
                    scale_y=geometry.scale_y,
                    offset_x=geometry.offset_x,
                    offset_y=geometry.offset_y,
                )
                for geometry in item.geometry
            ],
        )

    def from_message(self, message: TensorList) -> TensorBatch:
        """View the tensors; raises TensorError where fields and bytes do not match."""
        names = [tensor.name for tensor in message.tensors]
        if len(set(names)) < len(names):
            raise TensorError(f"TensorList: expected distinct tensor names, got {names}")
        if message.skipped > _MAX_SKIPPED:
            raise TensorError(
                f"TensorList: skipped: expected at most {_MAX_SKIPPED} images, got "
                f"{message.skipped}"
            )
        geometry = tuple(_from_geometry(geometry) for geometry in message.geometry)
        pixels = sum(each.source_width * each.source_height for each in geometry)
        if pixels > _MAX_PIXELS:
            raise TensorError(
                f"TensorList: geometry: expected sources of at most {_MAX_PIXELS} pixels in all, "
                f"got {pixels} in {len(geometry)}; for more, load preprocess, inference and decode "
                "into one container, where outputs are passed by reference"
            )
        return TensorBatch(
            tensors={tensor.name: _from_tensor(tensor) for tensor in message.tensors},
            geometry=geometry,
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
            skipped=message.skipped,
        )


def _to_tensor(name: str, tensor: NDArray[Any]) -> Tensor:
    kind = tensor.dtype.kind
    if kind not in _CODES:
        raise TensorError(f"tensor {name!r}: dtype {tensor.dtype} has no DLPack code in TensorList")
    return Tensor(
        name=name,
        dtype_code=_CODES[kind],
        dtype_bits=tensor.dtype.itemsize * 8,
        dtype_lanes=1,
        shape=list(tensor.shape),
        data=array("B", tensor.tobytes()),
    )


def _from_tensor(message: Tensor) -> NDArray[Any]:
    name = message.name
    kind = _KINDS.get(message.dtype_code)
    if kind is None or message.dtype_bits not in _WIDTHS[kind] or message.dtype_lanes != 1:
        raise TensorError(
            f"tensor {name!r}: dtype code {message.dtype_code} with {message.dtype_bits} bits and "
            f"{message.dtype_lanes} lanes is not supported; expected integer, float or bool, 1 lane"
        )
    dtype = np.dtype(f"<{kind}{message.dtype_bits // 8}")
    shape = tuple(message.shape)
    if len(shape) > _MAX_AXES:
        raise TensorError(f"tensor {name!r}: expected at most {_MAX_AXES} axes, got {len(shape)}")
    strides = tuple(message.strides) or _row_major(shape)
    if (
        any(length < 0 for length in shape)
        or len(strides) != len(shape)
        or min(strides, default=0) < 0
    ):
        raise TensorError(f"tensor {name!r}: shape {shape} and strides {strides} do not match")
    elements = math.prod(shape)
    if not elements:
        return _empty(name, shape, dtype)
    last = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    # With overlapping elements, a few bytes could stand for a tensor of any size.
    needed = message.byte_offset + max(last + 1, elements) * dtype.itemsize
    if needed > len(message.data):
        raise TensorError(
            f"tensor {name!r}: {dtype} {list(shape)} needs {needed} bytes, the message has "
            f"{len(message.data)}"
        )
    data = np.frombuffer(message.data, dtype=np.uint8)[message.byte_offset : needed]
    steps = [
        stride * dtype.itemsize if length > 1 else dtype.itemsize
        for length, stride in zip(shape, strides, strict=True)
    ]
    view: NDArray[Any] = np.ndarray(shape, dtype, buffer=data, strides=steps)
    if not view.flags.aligned:
        view = view.copy()
    view.flags.writeable = False
    return view


def _empty(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        return np.empty(shape, dtype)
    except ValueError as error:  # the other axes are too long for numpy
        raise TensorError(f"tensor {name!r}: shape {shape}: {error}") from error


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _from_geometry(message: TensorGeometry) -> Geometry:
    scales = (message.scale_x, message.scale_y)
    offsets = (message.offset_x, message.offset_y)
    sides = (message.source_width, message.source_height)
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise TensorError(
            f"tensor geometry: expected a source of 1 to {MAX_SIDE} pixels per side, got "
            f"{sides[0]}x{sides[1]}"
        )
    if not all(_SCALE.contains(value) for value in scales) or not all(
        map(_OFFSET.contains, offsets)
    ):
        raise TensorError(
            f"tensor geometry: expected as scale {_SCALE} and as offset {_OFFSET}, got scale "
            f"{scales} and offset {offsets}"
        )
    return Geometry(*sides, *scales, *offsets)
