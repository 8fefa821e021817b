"""A worker that runs a plan: a stream, buffers and execution contexts."""

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
from edge_inference.backends.trt.device_timer import DeviceTimer
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

#: Sets of input shapes that stay prepared, each with its own execution context: another shape
#: in the same context would invalidate its recorded graphs.
MAX_SLOTS = 4

#: Name of the image's buffer; no tensor can have this name.
_IMAGE = "\0image"


class InferenceWorker:
    """Runs a plan for one thread at a time. Use it inside the provider's ``current``."""

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
        self._timer = DeviceTimer(provider, self._stream)
        #: For how long the GPU worked in the last run, copies included; None if unknown.
        self.device_ms: float | None = None
        self._recorded_generation = self._buffers.generation
        if any(binding.on_host for binding in plan.bindings):
            # TensorRT reads and writes these when a run is queued, not when a graph is launched.
            switch.turn_off("a tensor in host memory")

    def open(self) -> None:
        """Make the first execution context; raises BackendError without free memory."""
        self._slots[None] = self._make_slot()
        self._timer.open()

    def close(self) -> None:
        """Free everything, also after a failed ``open``, and if a part of it fails."""
        with ExitStack() as resources:
            resources.callback(self._provider.drop_stream, self._stream)
            resources.callback(self._timer.close)
            resources.callback(self._buffers.close)
            while self._slots:
                resources.callback(self._slots.popitem()[1].close)
            resources.callback(self._graphs.drop)

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
        """Preprocess a checked image on the GPU into the only input, and run once."""
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
        self.device_ms = None
        try:
            with self._timer.around():
                if self._switch.is_on and slot.can_be_recorded(stream.handle):
                    self._graphs.run((slot.key, parameter), queue)
                else:
                    queue()
            self._provider.synchronize(stream)
            self.device_ms = self._timer.read_ms()
            remaining = self._fetch_data_dependent(slot) if slot.has_data_dependent_outputs else {}
        except BackendError:
            # Work queued before the failure still uses the buffers.
            with suppress(BackendError):
                self._provider.synchronize(stream)
            raise
        views = {**slot.outputs, **remaining}
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

    def _fetch_data_dependent(self, slot: ExecutionSlot) -> dict[str, NDArray[Any]]:
        views = slot.view_data_dependent_outputs()
        for binding in self._outputs:
            if binding.name in views:
                self._copy_out(binding, views[binding.name])
        self._provider.synchronize(self._stream)
        return views

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
        """Return a slot prepared for these shapes and these values of host tensors."""
        key = tuple(
            (shapes[binding.name], tensors[binding.name].tobytes() if binding.on_host else None)
            for binding in self._inputs
        )
        slot = self._slots.get(key)
        if slot is None:
            for binding in self._inputs:
                binding.check_shape(shapes[binding.name])
            slot = self._free_slot()
        elif slot.generation == self._buffers.generation:
            self._slots.move_to_end(key)
            return slot
        self._prepare(slot, key, shapes, tensors)
        return slot

    def _prepare(
        self,
        slot: ExecutionSlot,
        key: Hashable,
        shapes: Mapping[str, tuple[int, ...]],
        tensors: Mapping[str, NDArray[Any]],
    ) -> None:
        """Prepare a slot; after a failure the slot remains usable for other shapes."""
        slot.key = key
        self._slots[key] = slot
        self._slots.move_to_end(key)
        try:
            slot.prepare(shapes, tensors)
            if slot.has_data_dependent_outputs:
                self._switch.turn_off("an output whose shape depends on the data")
        finally:
            if self._recorded_generation != self._buffers.generation:
                self._graphs.drop()  # they hold old addresses
                self._recorded_generation = self._buffers.generation

    def _free_slot(self) -> ExecutionSlot:
        """Return a slot for new shapes: an unused one, a new one, or the oldest."""
        oldest = next(iter(self._slots))
        max_slots = MAX_SLOTS if self._switch.is_on else 1
        if self._slots[oldest].generation is not None and len(self._slots) < max_slots:
            # Without memory for one more context the oldest one is reused.
            with suppress(BackendError):
                return self._make_slot()
        slot = self._slots.pop(oldest)
        self._graphs.drop(oldest)
        return slot

    def _make_slot(self) -> ExecutionSlot:
        with self._plan.vendor.errors.collect() as lines:
            context = self._plan.make_context(self._stream.handle)
        if context is None:
            reason = first_reason(lines, "it gives no reason")
            raise BackendError(
                f"{self._plan.file}: TensorRT cannot make another execution context: {reason}; "
                "close other models, or use fewer contexts"
            )
        return ExecutionSlot(self._plan, context, self._buffers)
