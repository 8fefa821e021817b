"""Memory for outputs whose shape is known only during a run."""

from __future__ import annotations

from typing import Any

from edge_inference.backends.trt.buffers import Buffers
from edge_inference.errors import BackendError


def make_output_allocator(trt: Any, buffers: Buffers) -> Any:
    """Return an allocator for TensorRT that reserves the buffers of output tensors.

    ``shapes`` holds the latest shape of each tensor, ``error`` the error of the latest failed
    allocation: TensorRT itself reports only that it failed.
    """

    class OutputAllocator(trt.IOutputAllocator):  # type: ignore[misc]
        """TensorRT calls it in the thread that runs the model."""

        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.shapes: dict[str, tuple[int, ...]] = {}
            self.error: BackendError | None = None

        def reallocate_output(
            self, tensor_name: str, memory: int, size: int, alignment: int
        ) -> int:
            """Return the address of ``size`` bytes, 0 without free memory."""
            try:
                return buffers.reserve(tensor_name, size).address
            except BackendError as error:  # an exception must not pass through TensorRT
                self.error = error
                return 0

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            """Reserve memory as above; newer versions call this method."""
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            """Store the shape of an output."""
            self.shapes[tensor_name] = tuple(shape)

    return OutputAllocator()
