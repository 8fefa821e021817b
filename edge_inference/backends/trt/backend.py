"""TensorRT: runs a plan that was built for this GPU, through pycuda."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.base import Backend, TensorSpec
from edge_inference.backends.trt import image_kernel
from edge_inference.backends.trt.cuda import PRIORITIES, CudaProvider, DeviceInfo, Kernel
from edge_inference.backends.trt.graphs import GraphSwitch
from edge_inference.backends.trt.inference_worker import InferenceWorker
from edge_inference.backends.trt.layers import LayerPrecision, inspect_layers
from edge_inference.backends.trt.metadata import (
    REBUILD_HINT,
    EngineMetadata,
    Environment,
    read_sidecar,
    verify_plan,
)
from edge_inference.backends.trt.plan import LoadedPlan
from edge_inference.backends.trt.pycuda_provider import PycudaProvider
from edge_inference.backends.trt.vendor import Vendor, import_tensorrt
from edge_inference.core.images.encodings import check_frame
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.errors import BackendError, EngineFileError

_log = logging.getLogger(__name__)


class TrtBackend(Backend):
    """Runs the plan at ``plan``; its sidecar is in the same folder.

    At most ``contexts`` calls run at a time, each with its own execution context, stream and
    buffers. ``stream_priority`` is one of "low", "normal" and "high". With ``use_graph`` a
    repeated run is recorded as a CUDA graph and launched as a whole. The plan must have one
    optimization profile; the builder makes no others. ``vendor`` and ``cuda`` replace the
    installed TensorRT and pycuda.

    Tensors have the types of the ONNX file, also where the plan's types differ. Where CUDA's
    runtime compiler is installed, images in a camera's encoding are preprocessed on the GPU.
    """

    name = "trt"

    def __init__(
        self,
        plan: Path,
        *,
        contexts: int = 1,
        stream_priority: str = "normal",
        use_graph: bool = True,
        device: int = 0,
        vendor: Vendor | None = None,
        cuda: CudaProvider | None = None,
    ) -> None:
        if contexts < 1:
            raise BackendError(f"contexts: expected an integer of at least 1, got {contexts}")
        if stream_priority not in PRIORITIES:
            raise BackendError(
                f"stream_priority: expected one of {', '.join(PRIORITIES)}, got {stream_priority!r}"
            )
        super().__init__(concurrency=contexts)
        self._file = Path(plan)
        self._contexts = contexts
        self._priority = stream_priority
        self._use_graph = use_graph
        self._vendor = vendor
        self._cuda: CudaProvider = cuda or PycudaProvider(device)
        self._facts: tuple[str, ...] = ("not open",)
        self._switch = GraphSwitch(use_graph)
        self._plan: LoadedPlan | None = None
        self._kernel: Kernel | None = None
        self._preprocessing = ""
        self._idle: deque[InferenceWorker] = deque()
        self._resources = ExitStack()
        self._report_layer: Callable[[str, float], None] | None = None

    def report_layers(self, report: Callable[[str, float], None]) -> None:
        """Let each inference after ``open`` report its layers: the name and the milliseconds.

        A recorded graph reports nothing, so none is recorded.
        """
        self._report_layer = report
        self._use_graph = False

    def layers(self) -> tuple[LayerPrecision, ...]:
        """Return the layers of the open engine. Raises BackendError for an unknown format."""
        if self._plan is None:
            raise BackendError(f"backend {self.name!r} is not open; call open() first")
        with self._cuda.current():
            return inspect_layers(self._plan.vendor.trt, self._plan.engine)

    def describe(self) -> str:
        """Return TensorRT's version, GPU, precision, contexts, plan and graph state as text."""
        if self._plan is None:
            return f"TensorRT (not open), {self._file.name}"
        return ", ".join((*self._facts, str(self._switch), self._preprocessing))

    def takes_image(self, image: Frame, spec: InputSpec) -> bool:
        """Tell whether the kernel supports the encoding and the plan's only input fits the spec."""
        plan = self._plan
        if plan is None or not self.takes_images:
            return False
        (binding,) = (binding for binding in plan.bindings if binding.is_input)
        return image_kernel.supports(image, spec) and image_kernel.fits_binding(spec, binding)

    def _open(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        self._reset()
        metadata = read_sidecar(self._file)
        vendor = self._vendor or import_tensorrt()
        with ExitStack() as resources:
            gpu = self._cuda.open()
            resources.callback(self._cuda.close)
            self._check_fit(metadata, vendor, gpu)
            content = verify_plan(self._file, metadata)
            with self._cuda.current():
                plan = LoadedPlan(vendor, self._file, metadata)
                self._free_with(resources, plan.close)
                plan.load(content)
                if self._report_layer is not None:
                    plan.report_layers(self._report_layer)
                self._switch = GraphSwitch(self._use_graph)
                for _ in range(self._contexts):
                    self._open_worker(resources, plan)
                self._open_kernel(resources, plan, gpu)
                self.precision_in_use = plan.precision()
            self._resources = resources.pop_all()
        self._plan = plan
        self._facts = (vendor.title, gpu.name, self.precision_in_use or "unknown precision")
        self._facts += (f"{self._contexts} context(s)", self._file.name)
        bindings = plan.bindings
        return (
            [binding.spec for binding in bindings if binding.is_input],
            [binding.spec for binding in bindings if not binding.is_input],
        )

    def _infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with self._worker() as worker:
            outputs = worker.run(inputs)
            self.device_ms = worker.device_ms
            return outputs

    def _infer_image(
        self, image: Frame, spec: InputSpec
    ) -> tuple[dict[str, NDArray[Any]], Geometry]:
        check_frame(image)
        if self._kernel is None or not self.takes_image(image, spec):
            raise BackendError(
                f"{self._file}: this plan accepts no {image.encoding!r} image for tensor "
                f"{spec.name!r}; preprocess it on the CPU"
            )
        with self._worker() as worker:
            result = worker.run_image(image, spec, self._kernel)
            self.device_ms = worker.device_ms
            return result

    def _close(self) -> None:
        self._reset()
        self._resources.close()

    def _reset(self) -> None:
        """Drop the references to resources that are freed, or about to be."""
        self._plan = None
        self._kernel = None
        self.takes_images = False
        self._idle.clear()

    @contextmanager
    def _worker(self) -> Iterator[InferenceWorker]:
        """Lend an idle worker, with the GPU context current; each concurrent call has one."""
        worker = self._idle.pop()
        try:
            with self._cuda.current():
                yield worker
        finally:
            self._idle.append(worker)

    def _check_fit(self, metadata: EngineMetadata, vendor: Vendor, gpu: DeviceInfo) -> None:
        here = Environment.here(vendor.library, vendor.version, gpu.name, gpu.compute_capability)
        incompatibility = metadata.incompatibility(here)
        if incompatibility is not None:
            raise EngineFileError(f"{self._file}: {incompatibility}; {REBUILD_HINT}")

    def _open_worker(self, resources: ExitStack, plan: LoadedPlan) -> None:
        worker = InferenceWorker(self._cuda, plan, self._switch, self._priority)
        self._free_with(resources, worker.close)
        worker.open()
        self._idle.append(worker)

    def _open_kernel(self, resources: ExitStack, plan: LoadedPlan, gpu: DeviceInfo) -> None:
        """Load the image kernel; without it images are preprocessed on the CPU."""
        inputs = [binding for binding in plan.bindings if binding.is_input]
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            self._preprocessing = "accepts tensors only"
            return
        try:
            kernel = image_kernel.load_image_kernel(self._cuda, gpu.compute_capability)
        except BackendError as error:
            self._preprocessing = f"preprocessing on the CPU ({error})"
            return
        self._free_with(resources, lambda: self._cuda.unload_kernel(kernel))
        self._kernel = kernel
        self.takes_images = True
        self._preprocessing = "preprocessing on the GPU"

    def _free_with(self, resources: ExitStack, free: Callable[[], None]) -> None:
        """Free a resource when the backend closes, or at once if ``open`` fails."""

        def free_in_context() -> None:
            try:
                with self._cuda.current():
                    free()
            except BackendError as error:  # go on freeing the rest
                _log.warning("%s: a resource could not be freed: %s", self._file, error)

        resources.callback(free_in_context)
