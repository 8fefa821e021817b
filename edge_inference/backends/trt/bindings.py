"""The inputs and outputs of a plan: the types of the caller, and those of the engine.

Callers always use the types of the ONNX file. The plan's may differ: TensorRT 8.6 has no
64-bit integers, and a plan may use half precision. The copy to or from page-locked memory,
which every tensor needs, also casts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import TensorSpec
from edge_inference.backends.trt.metadata import REBUILD_HINT, EngineMetadata
from edge_inference.backends.trt.vendor import enum_member
from edge_inference.errors import BackendError, TensorError

#: TensorRT's name of each type, and the numpy type that stores it. numpy has no bfloat16: it
#: is the upper half of the bits of a float32.
_STORED = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "uint16",
    "INT64": "int64",
    "INT32": "int32",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}
_SIGN_AND_QUIET = np.uint16(0x7FC0)


@dataclass(frozen=True)
class Binding:
    """One input or output of a plan.

    ``spec`` is the caller's view, ``stored`` the type that the engine reads or writes
    (bfloat16 as uint16). ``shape`` has -1 for a dynamic axis; the profile of an input limits
    its length to the range from ``min_shape`` to ``max_shape``. Tensors with ``on_host`` hold
    shapes: TensorRT reads and writes them in host memory.
    """

    spec: TensorSpec
    stored: np.dtype[Any]
    is_bfloat16: bool
    is_input: bool
    on_host: bool
    shape: tuple[int, ...]
    min_shape: tuple[int, ...] = ()
    max_shape: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return self.spec.name

    @property
    def is_dynamic(self) -> bool:
        """Tell whether an axis may have several lengths."""
        return -1 in self.shape

    def size(self, shape: tuple[int, ...]) -> int:
        """Return the engine's bytes of a tensor of this shape."""
        count = 1
        for length in shape:
            count *= length
        return count * self.stored.itemsize

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise TensorError for a shape outside the plan's profile."""
        for axis, length in enumerate(shape):
            if not self.min_shape[axis] <= length <= self.max_shape[axis]:
                raise TensorError(
                    f"tensor {self.name!r}: expected a length of {self.min_shape[axis]} to "
                    f"{self.max_shape[axis]} on axis {axis}, got {length}; pass such a length, or "
                    "build the plan with a profile that includes it"
                )

    def pack(self, values: NDArray[Any], stored: NDArray[Any]) -> None:
        """Write a caller's tensor in the engine's type. Raises TensorError for unfit values."""
        if self.is_bfloat16:
            stored[...] = _to_bfloat16(values.astype(np.float32))
            return
        if values.dtype.kind in "iu" and self.stored.itemsize < values.dtype.itemsize:
            self._check_range(values)
        np.copyto(stored, values, casting="unsafe")

    def unpack(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the engine's output as a new array in the caller's type."""
        if self.is_bfloat16:
            bits = stored.astype(np.uint32) << np.uint32(16)
            return bits.view(np.float32).astype(self.spec.dtype)
        return stored.astype(self.spec.dtype)

    def _check_range(self, values: NDArray[Any]) -> None:
        limits = np.iinfo(self.stored)
        if values.size and not limits.min <= values.min() <= values.max() <= limits.max:
            raise TensorError(
                f"tensor {self.name!r}: expected values from {limits.min} to {limits.max}, as this "
                f"plan uses {self.stored}, got {values.min()} to {values.max()}"
            )


def _to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to the nearest bfloat16, ties to even; NaN stays NaN."""
    bits = np.atleast_1d(values).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    upper = (rounded >> np.uint32(16)).astype(np.uint16).reshape(values.shape)
    return np.where(np.isnan(values), _SIGN_AND_QUIET, upper)


class EngineHolder(Protocol):
    """The owner of an engine. Pass it on, not the engine: tracebacks keep local variables alive."""

    engine: Any


def read_bindings(trt: Any, holder: EngineHolder, metadata: EngineMetadata) -> tuple[Binding, ...]:
    """Return an engine's inputs and outputs. Raises BackendError for an unsupported tensor."""
    count = holder.engine.num_io_tensors
    names = [holder.engine.get_tensor_name(number) for number in range(count)]
    return tuple(_read_binding(trt, holder, name, metadata) for name in names)


def _read_binding(trt: Any, holder: EngineHolder, name: str, metadata: EngineMetadata) -> Binding:
    is_input = holder.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
    stored, is_bfloat16 = _stored_type(trt, holder.engine.get_tensor_dtype(name), name)
    if holder.engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
        raise BackendError(
            f"tensor {name!r} of this plan: expected a linear layout, got blocks of channels; "
            f"{REBUILD_HINT}"
        )
    shape = tuple(holder.engine.get_tensor_shape(name))
    on_host = holder.engine.get_tensor_location(name) == trt.TensorLocation.HOST
    min_shape, max_shape = shape, shape
    if is_input and -1 in shape:
        low, _, high = holder.engine.get_tensor_profile_shape(name, 0)
        min_shape, max_shape = tuple(low), tuple(high)
    declared = metadata.inputs if is_input else metadata.outputs
    default = np.dtype(np.float32) if is_bfloat16 else stored
    spec = TensorSpec(
        name,
        _onnx_dtype(declared, name, default),
        tuple(None if length < 0 else length for length in shape),
    )
    return Binding(spec, stored, is_bfloat16, is_input, on_host, shape, min_shape, max_shape)


def _stored_type(trt: Any, dtype: Any, name: str) -> tuple[np.dtype[Any], bool]:
    for type_name, stored in _STORED.items():
        member = enum_member(trt.DataType, type_name)
        if member is not None and member == dtype:
            return np.dtype(stored), type_name == "BF16"
    raise BackendError(
        f"tensor {name!r} of this plan: expected one of {', '.join(_STORED)}, got {dtype}; "
        f"{REBUILD_HINT}"
    )


def _onnx_dtype(
    declared: Mapping[str, tuple[Any, ...]], name: str, default: np.dtype[Any]
) -> np.dtype[Any]:
    """Return the type of the ONNX file, from the sidecar."""
    try:
        return np.dtype(declared[name][0]) if name in declared else default
    except (TypeError, IndexError):  # numpy lacks the type, as with bfloat16
        return default
