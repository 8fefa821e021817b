"""The inputs and outputs of a plan: what callers pass, and what the engine really takes.

Callers keep the ONNX file's types whatever the plan was built for: TensorRT 8.6
has no 64-bit integers, and a plan may take half precision. The difference is
cast while a tensor is copied to or from page-locked memory, which happens anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import TensorSpec
from edge_inference.backends.trt.metadata import HOW_TO_REBUILD, EngineMetadata
from edge_inference.backends.trt.vendor import enum_member
from edge_inference.errors import BackendError, TensorError

#: TensorRT's name of a type, and what numpy stores it as. bfloat16 is cast to
#: and from float32 by hand: it is the upper half of its bits.
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

    ``spec`` is what callers see, ``stored`` what the engine reads or writes
    (bfloat16 as uint16). ``shape`` has -1 for a dynamic axis, whose length lies
    between ``shortest`` and ``longest``, the profile (inputs only). ``on_host``
    tensors are shapes: TensorRT reads and writes them in host memory.
    """

    spec: TensorSpec
    stored: np.dtype[Any]
    is_bfloat16: bool
    is_input: bool
    on_host: bool
    shape: tuple[int, ...]
    shortest: tuple[int, ...] = ()
    longest: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return self.spec.name

    @property
    def is_dynamic(self) -> bool:
        """Tell whether an axis may have several lengths."""
        return -1 in self.shape

    def size(self, shape: tuple[int, ...]) -> int:
        """Count the engine's bytes of a tensor of this shape."""
        count = 1
        for length in shape:
            count *= length
        return count * self.stored.itemsize

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise TensorError unless the plan's profile holds the shape."""
        for axis, length in enumerate(shape):
            if not self.shortest[axis] <= length <= self.longest[axis]:
                raise TensorError(
                    f"tensor {self.name!r}: axis {axis} is {length}, this plan was built for "
                    f"{self.shortest[axis]} to {self.longest[axis]}; pass such a length, or build "
                    "the plan with a profile that holds it"
                )

    def pack(self, values: NDArray[Any], stored: NDArray[Any]) -> None:
        """Write a caller's tensor as the engine reads it. Raises TensorError where none fits."""
        if self.is_bfloat16:
            stored[...] = _to_bfloat16(values.astype(np.float32))
            return
        if values.dtype.kind in "iu" and self.stored.itemsize < values.dtype.itemsize:
            self._check_range(values)
        np.copyto(stored, values, casting="unsafe")

    def unpack(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return a new array with what the engine wrote, in the caller's type."""
        if self.is_bfloat16:
            bits = stored.astype(np.uint32) << np.uint32(16)
            return bits.view(np.float32).astype(self.spec.dtype)
        return stored.astype(self.spec.dtype)

    def _check_range(self, values: NDArray[Any]) -> None:
        limits = np.iinfo(self.stored)
        if values.size and not limits.min <= values.min() <= values.max() <= limits.max:
            raise TensorError(
                f"tensor {self.name!r} holds {values.min()} to {values.max()}; this plan takes it "
                f"as {self.stored}, from {limits.min} to {limits.max}"
            )


def _to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to the nearest bfloat16, ties to even; NaN stays NaN."""
    bits = np.atleast_1d(values).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    upper = (rounded >> np.uint32(16)).astype(np.uint16).reshape(values.shape)
    return np.where(np.isnan(values), _SIGN_AND_QUIET, upper)


class EngineHolder(Protocol):
    """Whoever keeps the engine: a traceback may keep a function's variables for long."""

    engine: Any


def read_bindings(trt: Any, holder: EngineHolder, metadata: EngineMetadata) -> tuple[Binding, ...]:
    """Ask an engine for its inputs and outputs. Raises BackendError for one that cannot serve."""
    count = holder.engine.num_io_tensors
    names = [holder.engine.get_tensor_name(number) for number in range(count)]
    return tuple(_read_binding(trt, holder, name, metadata) for name in names)


def _read_binding(trt: Any, holder: EngineHolder, name: str, metadata: EngineMetadata) -> Binding:
    is_input = holder.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
    stored, is_bfloat16 = _stored(trt, holder.engine.get_tensor_dtype(name), name)
    if holder.engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
        raise BackendError(
            f"tensor {name!r} of this plan is stored in blocks of channels; only plain tensors "
            f"can be passed, {HOW_TO_REBUILD}"
        )
    shape = tuple(holder.engine.get_tensor_shape(name))
    on_host = holder.engine.get_tensor_location(name) == trt.TensorLocation.HOST
    shortest, longest = shape, shape
    if is_input and -1 in shape:
        low, _, high = holder.engine.get_tensor_profile_shape(name, 0)
        shortest, longest = tuple(low), tuple(high)
    told = metadata.inputs if is_input else metadata.outputs
    visible = np.dtype(np.float32) if is_bfloat16 else stored
    spec = TensorSpec(
        name,
        _onnx_dtype(told, name, visible),
        tuple(None if length < 0 else length for length in shape),
    )
    return Binding(spec, stored, is_bfloat16, is_input, on_host, shape, shortest, longest)


def _stored(trt: Any, dtype: Any, name: str) -> tuple[np.dtype[Any], bool]:
    for type_name, stored in _STORED.items():
        member = enum_member(trt.DataType, type_name)
        if member is not None and member == dtype:
            return np.dtype(stored), type_name == "BF16"
    raise BackendError(
        f"tensor {name!r} of this plan is {dtype}; only {', '.join(_STORED)} can be passed, "
        f"{HOW_TO_REBUILD}"
    )


def _onnx_dtype(
    told: Mapping[str, tuple[Any, ...]], name: str, otherwise: np.dtype[Any]
) -> np.dtype[Any]:
    """Return the type that the ONNX file has, as the sidecar tells it."""
    try:
        return np.dtype(told[name][0]) if name in told else otherwise
    except (TypeError, IndexError):  # a type of ONNX that numpy has not, such as bfloat16
        return otherwise
