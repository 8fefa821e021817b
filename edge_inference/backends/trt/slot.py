"""One execution context, set up for one set of input shapes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.trt.bindings import Binding
from edge_inference.backends.trt.buffers import Buffers
from edge_inference.backends.trt.output_allocator import make_output_allocator
from edge_inference.backends.trt.plan import LoadedPlan
from edge_inference.backends.trt.vendor import first_reason
from edge_inference.errors import BackendError, TensorError


class ExecutionSlot:
    """Addresses and views for one set of input shapes. Use it inside the provider's ``current``.

    ``inputs`` and ``outputs`` are views of page-locked memory in the engine's types; an output
    whose shape depends on the data is not in ``outputs``. The views are valid for one
    ``generation`` of the buffers.
    """

    def __init__(self, plan: LoadedPlan, context: Any, buffers: Buffers) -> None:
        self.key: Hashable = None
        self.generation: int | None = None
        self.inputs: dict[str, NDArray[Any]] = {}
        self.outputs: dict[str, NDArray[Any]] = {}
        self._plan = plan
        self._context = context
        self._buffers = buffers
        self._allocator: Any = None

    @property
    def has_data_dependent_outputs(self) -> bool:
        """Tell whether the shape of an output is known only after a run."""
        return len(self.outputs) < sum(not binding.is_input for binding in self._plan.bindings)

    def can_be_recorded(self, stream: int) -> bool:
        """Tell whether a run can be recorded now."""
        # TensorRT-RTX compiles during its first runs and reports when it has finished.
        capturable = getattr(self._context, "is_stream_capturable", None)
        return capturable is None or bool(capturable(stream))

    def prepare(
        self, shapes: Mapping[str, tuple[int, ...]], on_host: Mapping[str, NDArray[Any]]
    ) -> None:
        """Set shapes and addresses in the context, and infer the outputs' shapes.

        ``on_host`` are the inputs that TensorRT reads for the inference of shapes. Raises
        TensorError for shapes that do not fit together, BackendError without free memory.
        """
        self.generation = None
        self.outputs = {}
        inputs = [binding for binding in self._plan.bindings if binding.is_input]
        with self._plan.vendor.errors.collect() as lines:
            accepted = all(self._set_input(binding, shapes, on_host) for binding in inputs)
            accepted = accepted and self._infer_shapes()
        if not accepted:
            got = "; ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            reason = first_reason(lines, "it gives no reason")
            raise TensorError(
                f"{self._plan.file}: the inputs' shapes do not fit together ({got}): {reason}; "
                "pass shapes that the model accepts together"
            )
        for binding in self._plan.bindings:
            if not binding.is_input:
                self._set_output(binding)
        self.generation = self._buffers.generation

    def execute(self, stream: int) -> None:
        """Queue one run. Raises BackendError where TensorRT refuses it."""
        if self._allocator is not None:
            self._allocator.error = None
        with self._plan.vendor.errors.collect() as lines:
            queued = self._context.execute_async_v3(stream)
        if self._allocator is not None and self._allocator.error is not None:
            raise self._allocator.error
        if not queued:
            reason = first_reason(lines, "it gives no reason")
            raise BackendError(f"{self._plan.file}: TensorRT failed to run it: {reason}")

    def view_data_dependent_outputs(self) -> dict[str, NDArray[Any]]:
        """Return views of the outputs whose shape TensorRT reported during the run."""
        views = {}
        for binding in self._plan.bindings:
            if not binding.is_input and binding.name not in self.outputs:
                shape = self._allocator.shapes[binding.name]
                buffer = self._buffers.reserve(binding.name, binding.size(shape))
                views[binding.name] = _view(buffer.host, binding, shape)
        # The allocator gave TensorRT the addresses of buffers that grew during the run.
        self.generation = self._buffers.generation
        return views

    def close(self) -> None:
        """Free the execution context."""
        self._context = None
        self._allocator = None
        self.inputs, self.outputs = {}, {}

    def _set_input(
        self,
        binding: Binding,
        shapes: Mapping[str, tuple[int, ...]],
        on_host: Mapping[str, NDArray[Any]],
    ) -> bool:
        shape = shapes[binding.name]
        size = binding.size(shape)
        buffer = self._buffers.reserve(binding.name, size, on_host=binding.on_host)
        self.inputs[binding.name] = view = _view(buffer.host, binding, shape)
        if binding.on_host:
            binding.pack(on_host[binding.name], view)
        accepted = not binding.is_dynamic or self._context.set_input_shape(binding.name, shape)
        return bool(accepted and self._context.set_tensor_address(binding.name, buffer.address))

    def _infer_shapes(self) -> bool:
        try:
            return not self._context.infer_shapes()
        except RuntimeError:  # later versions raise where earlier ones only log
            return False

    def _set_output(self, binding: Binding) -> None:
        shape = tuple(self._context.get_tensor_shape(binding.name))
        if -1 in shape:
            if self._allocator is None:
                self._allocator = make_output_allocator(self._plan.vendor.trt, self._buffers)
            self._context.set_output_allocator(binding.name, self._allocator)
            # TensorRT calls the allocator if it needs more memory.
            address = self._buffers.reserve(binding.name, 0).address
        else:
            buffer = self._buffers.reserve(
                binding.name, binding.size(shape), on_host=binding.on_host
            )
            self.outputs[binding.name] = _view(buffer.host, binding, shape)
            address = buffer.address
        if not self._context.set_tensor_address(binding.name, address):
            raise BackendError(
                f"{self._plan.file}: TensorRT refuses the address of output {binding.name!r}"
            )


def _view(host: NDArray[np.uint8], binding: Binding, shape: tuple[int, ...]) -> NDArray[Any]:
    return host[: binding.size(shape)].view(binding.stored).reshape(shape)
