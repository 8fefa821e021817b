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
    """Addresses and views of one set of input shapes. Use inside the provider's ``current``.

    ``inputs`` and ``outputs`` are views of page-locked memory in the engine's
    types; an output that is missing in ``outputs`` has a shape that depends on
    the data. They hold for ``generation`` of the buffers.
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
    def has_late_outputs(self) -> bool:
        """Tell whether the shape of an output is known only after a run."""
        return len(self.outputs) < sum(not binding.is_input for binding in self._plan.bindings)

    def may_be_recorded(self, stream: int) -> bool:
        """Tell whether a run can be recorded by now."""
        # TensorRT-RTX compiles while it runs, and says when that is over.
        capturable = getattr(self._context, "is_stream_capturable", None)
        return capturable is None or bool(capturable(stream))

    def prepare(
        self, shapes: Mapping[str, tuple[int, ...]], on_host: Mapping[str, NDArray[Any]]
    ) -> None:
        """Give TensorRT shapes and addresses, and find out the outputs' shapes.

        ``on_host`` are the inputs that TensorRT reads to find them out. Raises
        TensorError where the shapes do not go together, BackendError without memory.
        """
        self.generation = None
        self.outputs = {}
        inputs = [binding for binding in self._plan.bindings if binding.is_input]
        with self._plan.vendor.errors.collect() as lines:
            accepted = all(self._set_input(binding, shapes, on_host) for binding in inputs)
            accepted = accepted and self._infer_shapes()
        if not accepted:
            came = "; ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            reason = first_reason(lines, "it does not say why")
            raise TensorError(
                f"{self._plan.file}: the inputs' shapes do not go together ({came}): {reason}; "
                "pass shapes that the model can take at once"
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
            reason = first_reason(lines, "it does not say why")
            raise BackendError(f"{self._plan.file}: TensorRT failed to run it: {reason}")

    def view_late_outputs(self) -> dict[str, NDArray[Any]]:
        """Return views of the outputs whose shape TensorRT has told during the run."""
        views = {}
        for binding in self._plan.bindings:
            if not binding.is_input and binding.name not in self.outputs:
                shape = self._allocator.shapes[binding.name]
                buffer = self._buffers.reserve(binding.name, binding.size(shape))
                views[binding.name] = _view(buffer.host, binding, shape)
        # What grew during the run was told to TensorRT by the allocator.
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
            # TensorRT asks for room where it needs more than it was given.
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
