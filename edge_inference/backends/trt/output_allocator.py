"""Room for outputs whose shape TensorRT knows only while it computes them."""

from __future__ import annotations

from typing import Any

from edge_inference.backends.trt.buffers import Buffers
from edge_inference.errors import BackendError


def make_output_allocator(trt: Any, buffers: Buffers) -> Any:
    """Return an allocator for TensorRT that takes memory from the buffers by tensor name.

    ``shapes`` holds the latest shape of each tensor, ``error`` what kept the
    latest allocation from happening: TensorRT itself only says that it failed.
    """

    class OutputAllocator(trt.IOutputAllocator):  # type: ignore[misc]
        """Called by TensorRT, on the thread that runs the model."""

        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.shapes: dict[str, tuple[int, ...]] = {}
            self.error: BackendError | None = None

        def reallocate_output(
            self, tensor_name: str, memory: int, size: int, alignment: int
        ) -> int:
            """Return an address with room for ``size`` bytes, 0 where there is none."""
            try:
                return buffers.reserve(tensor_name, size).address
            except BackendError as error:  # an exception must not pass through TensorRT
                self.error = error
                return 0

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            """Do the same; newer versions call this one."""
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            """Remember the shape of an output."""
            self.shapes[tensor_name] = tuple(shape)

    return OutputAllocator()
