"""What one thread at a time runs a plan with: a stream, buffers and execution contexts."""

from __future__ import annotations

import ctypes
import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.trt.bindings import Binding
from edge_inference.backends.trt.buffers import Buffers
from edge_inference.backends.trt.cuda import CudaProvider, Kernel
from edge_inference.backends.trt.graphs import Graphs, GraphSwitch
from edge_inference.backends.trt.image_kernel import (
    BLOCK,
    TABLE_BYTES,
    KernelImage,
    grid_for,
    prepare,
)
from edge_inference.backends.trt.plan import LoadedPlan
from edge_inference.backends.trt.slot import ExecutionSlot
from edge_inference.backends.trt.vendor import first_reason
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.errors import BackendError

#: Sets of input shapes that stay set up, each with an execution context of its own:
#: a context that runs another shape invalidates what was recorded of it.
MAX_SLOTS = 4

#: Name of the image's buffer; no tensor can be called so.
_IMAGE = "\0image"


class InferenceWorker:
    """Runs a plan for one thread at a time. Use inside the provider's ``current``."""

    def __init__(
        self, provider: CudaProvider, plan: LoadedPlan, switch: GraphSwitch, priority: str
    ) -> None:
        self._provider = provider
        self._plan = plan
        self._switch = switch
        self._inputs = [binding for binding in plan.bindings if binding.is_input]
        self._outputs = [binding for binding in plan.bindings if not binding.is_input]
        self._slots: OrderedDict[Hashable, ExecutionSlot] = OrderedDict()
        self._buffers = Buffers(provider)
        self._stream = provider.make_stream(priority)
        self._graphs = Graphs(provider, self._stream, switch)
        self._recorded_at = self._buffers.generation
        if any(binding.on_host for binding in plan.bindings):
            # TensorRT reads and writes these while it queues a run, not when a graph is launched.
            switch.turn_off("a tensor in host memory")

    def open(self) -> None:
        """Make the first execution context; raises BackendError where there is no room for it."""
        self._slots[None] = self._make_slot()

    def close(self) -> None:
        """Free everything, also after an ``open`` that failed, and whatever fails meanwhile."""
        with ExitStack() as last_first:
            last_first.callback(self._provider.drop_stream, self._stream)
            last_first.callback(self._buffers.close)
            while self._slots:
                last_first.callback(self._slots.popitem()[1].close)
            last_first.callback(self._graphs.forget)

    def run(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run checked tensors once."""
        shapes = {binding.name: tensors[binding.name].shape for binding in self._inputs}
        slot = self._slot_for(shapes, tensors)
        for binding in self._inputs:
            binding.pack(tensors[binding.name], slot.inputs[binding.name])
        queue = functools.partial(self._queue_tensors, slot)
        return self._run(slot, None, queue)

    def run_image(
        self, image: Frame, spec: InputSpec, kernel: Kernel
    ) -> tuple[dict[str, NDArray[Any]], Geometry]:
        """Make the only input from a checked image on the GPU, and run once."""
        (binding,) = self._inputs
        size = TABLE_BYTES + image.data.size
        staged = self._buffers.reserve(_IMAGE, size)
        slot = self._slot_for({binding.name: spec.shape}, {})
        prepared = prepare(image, spec, binding)
        staged.host[: prepared.table.size] = prepared.table
        staged.host[TABLE_BYTES:size] = image.data
        parameter = KernelImage.from_buffer_copy(prepared.parameter)
        parameter.table = staged.address
        parameter.bytes = staged.address + TABLE_BYTES
        parameter.tensor = self._buffers.reserve(binding.name, 0).address

        def queue() -> None:
            self._provider.copy_in(staged.address, staged.host_address, size, self._stream)
            self._provider.launch(
                kernel, grid_for(spec), BLOCK, ctypes.addressof(parameter), self._stream
            )
            self._queue_run(slot)

        return self._run(slot, bytes(parameter), queue), prepared.geometry

    def _run(
        self, slot: ExecutionSlot, parameter: bytes | None, queue: Callable[[], None]
    ) -> dict[str, NDArray[Any]]:
        stream = self._stream
        try:
            if self._switch.on and slot.may_be_recorded(stream.handle):
                self._graphs.run((slot.key, parameter), queue)
            else:
                queue()
            self._provider.synchronize(stream)
            late = self._fetch_late(slot) if slot.has_late_outputs else {}
        except BackendError:
            # What was queued before the failure still uses the buffers.
            with suppress(BackendError):
                self._provider.synchronize(stream)
            raise
        views = {**slot.outputs, **late}
        return {binding.name: binding.unpack(views[binding.name]) for binding in self._outputs}

    def _queue_tensors(self, slot: ExecutionSlot) -> None:
        for binding in self._inputs:
            if not binding.on_host:
                self._copy_in(binding, slot.inputs[binding.name])
        self._queue_run(slot)

    def _queue_run(self, slot: ExecutionSlot) -> None:
        slot.execute(self._stream.handle)
        for binding in self._outputs:
            if not binding.on_host and binding.name in slot.outputs:
                self._copy_out(binding, slot.outputs[binding.name])

    def _fetch_late(self, slot: ExecutionSlot) -> dict[str, NDArray[Any]]:
        late = slot.view_late_outputs()
        for binding in self._outputs:
            if binding.name in late:
                self._copy_out(binding, late[binding.name])
        self._provider.synchronize(self._stream)
        return late

    def _copy_in(self, binding: Binding, view: NDArray[Any]) -> None:
        if view.nbytes:
            buffer = self._buffers.reserve(binding.name, view.nbytes)
            self._provider.copy_in(buffer.address, buffer.host_address, view.nbytes, self._stream)

    def _copy_out(self, binding: Binding, view: NDArray[Any]) -> None:
        if view.nbytes:
            buffer = self._buffers.reserve(binding.name, view.nbytes)
            self._provider.copy_out(buffer.host_address, buffer.address, view.nbytes, self._stream)

    def _slot_for(
        self, shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, NDArray[Any]]
    ) -> ExecutionSlot:
        """Return a slot that is set up for these shapes, and for these values of host tensors."""
        key = tuple(
            (shapes[binding.name], tensors[binding.name].tobytes() if binding.on_host else None)
            for binding in self._inputs
        )
        slot = self._slots.get(key)
        if slot is None:
            for binding in self._inputs:
                binding.check_shape(shapes[binding.name])
            slot = self._take_slot()
        elif slot.generation == self._buffers.generation:
            self._slots.move_to_end(key)
            return slot
        self._set_up(slot, key, shapes, tensors)
        return slot

    def _set_up(
        self,
        slot: ExecutionSlot,
        key: Hashable,
        shapes: Mapping[str, tuple[int, ...]],
        tensors: Mapping[str, NDArray[Any]],
    ) -> None:
        """Set a slot up; where that fails it stays, to be set up for other shapes."""
        slot.key = key
        self._slots[key] = slot
        self._slots.move_to_end(key)
        try:
            slot.prepare(shapes, tensors)
            if slot.has_late_outputs:
                self._switch.turn_off("an output whose shape depends on the data")
        finally:
            if self._recorded_at != self._buffers.generation:
                self._graphs.forget()  # they hold addresses of before
                self._recorded_at = self._buffers.generation

    def _take_slot(self) -> ExecutionSlot:
        """Return a slot to set up for new shapes: an unused one, a new one, or the oldest."""
        oldest = next(iter(self._slots))
        most = MAX_SLOTS if self._switch.on else 1
        if self._slots[oldest].generation is not None and len(self._slots) < most:
            # Without room for one more context the oldest serves.
            with suppress(BackendError):
                return self._make_slot()
        slot = self._slots.pop(oldest)
        self._graphs.forget(oldest)
        return slot

    def _make_slot(self) -> ExecutionSlot:
        with self._plan.vendor.errors.collect() as lines:
            context = self._plan.make_context(self._stream.handle)
        if context is None:
            reason = first_reason(lines, "it does not say why")
            raise BackendError(
                f"{self._plan.file}: TensorRT cannot make one more execution context: {reason}; "
                "close other models, or ask for fewer contexts"
            )
        return ExecutionSlot(self._plan, context, self._buffers)
