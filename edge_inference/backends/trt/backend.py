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
from edge_inference.backends.trt.metadata import (
    HOW_TO_REBUILD,
    EngineMetadata,
    Environment,
    read_sidecar,
    verify_plan,
)
from edge_inference.backends.trt.plan import LoadedPlan
from edge_inference.backends.trt.pycuda_provider import PycudaProvider
from edge_inference.backends.trt.vendor import Vendor, import_tensorrt
from edge_inference.backends.trt.worker import InferenceWorker
from edge_inference.core.images.encodings import check_frame
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.errors import BackendError, EngineFileError

_log = logging.getLogger(__name__)


class TrtBackend(Backend):
    """Runs the plan at ``plan``, which lies beside its sidecar.

    ``contexts`` calls run at a time, each with an execution context, a stream and
    buffers of its own. ``stream_priority`` is one of "low", "normal" and "high".
    With ``use_graph`` what comes again is recorded and launched as a whole. Plans
    with one optimisation profile are served; the builder makes no others.
    ``vendor`` and ``cuda`` stand in for the installed TensorRT and pycuda.

    Tensors have the types of the ONNX file, whatever the plan takes. Images in
    a camera's encodings go to the GPU as they are where CUDA's run-time compiler
    is installed.
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
        self._words: tuple[str, ...] = ("not open",)
        self._switch = GraphSwitch(use_graph)
        self._plan: LoadedPlan | None = None
        self._kernel: Kernel | None = None
        self._image_words = ""
        self._idle: deque[InferenceWorker] = deque()
        self._resources = ExitStack()

    def describe(self) -> str:
        """Say which TensorRT runs which plan on which GPU, in which precision, and how."""
        if self._plan is None:
            return f"TensorRT (not open), {self._file.name}"
        return ", ".join((*self._words, str(self._switch), self._image_words))

    def takes_image(self, image: Frame, spec: InputSpec) -> bool:
        """Tell whether the kernel knows the encoding and the plan's only input is the spec's."""
        plan = self._plan
        if plan is None or not self.takes_images:
            return False
        (binding,) = (binding for binding in plan.bindings if binding.is_input)
        return image_kernel.takes(image, spec) and image_kernel.fits_binding(spec, binding)

    def _open(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        self._forget()
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
                self._switch = GraphSwitch(self._use_graph)
                for _ in range(self._contexts):
                    self._open_worker(resources, plan)
                self._open_kernel(resources, plan, gpu)
                self.precision_in_use = plan.precision()
            self._resources = resources.pop_all()
        self._plan = plan
        self._words = (vendor.title, gpu.name, self.precision_in_use or "unknown precision")
        self._words += (f"{self._contexts} context(s)", self._file.name)
        bindings = plan.bindings
        return (
            [binding.spec for binding in bindings if binding.is_input],
            [binding.spec for binding in bindings if not binding.is_input],
        )

    def _infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with self._worker() as worker:
            return worker.run(inputs)

    def _infer_image(
        self, image: Frame, spec: InputSpec
    ) -> tuple[dict[str, NDArray[Any]], Geometry]:
        check_frame(image)
        if self._kernel is None or not self.takes_image(image, spec):
            raise BackendError(
                f"{self._file}: this plan takes no {image.encoding!r} image for tensor "
                f"{spec.name!r}; preprocess it on the processor"
            )
        with self._worker() as worker:
            return worker.run_image(image, spec, self._kernel)

    def _close(self) -> None:
        self._forget()
        self._resources.close()

    def _forget(self) -> None:
        """Let go of what is freed, or about to be."""
        self._plan = None
        self._kernel = None
        self.takes_images = False
        self._idle.clear()

    @contextmanager
    def _worker(self) -> Iterator[InferenceWorker]:
        """Lend a worker, with the GPU's context entered. There is one for each call at a time."""
        worker = self._idle.pop()
        try:
            with self._cuda.current():
                yield worker
        finally:
            self._idle.append(worker)

    def _check_fit(self, metadata: EngineMetadata, vendor: Vendor, gpu: DeviceInfo) -> None:
        here = Environment.here(vendor.library, vendor.version, gpu.name, gpu.compute_capability)
        misfit = metadata.misfit(here)
        if misfit is not None:
            raise EngineFileError(f"{self._file}: {misfit}; {HOW_TO_REBUILD}")

    def _open_worker(self, resources: ExitStack, plan: LoadedPlan) -> None:
        worker = InferenceWorker(self._cuda, plan, self._switch, self._priority)
        self._free_with(resources, worker.close)
        worker.open()
        self._idle.append(worker)

    def _open_kernel(self, resources: ExitStack, plan: LoadedPlan, gpu: DeviceInfo) -> None:
        """Load the kernel for images; without it they are preprocessed on the processor."""
        inputs = [binding for binding in plan.bindings if binding.is_input]
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            self._image_words = "takes tensors only"
            return
        try:
            kernel = image_kernel.load_image_kernel(self._cuda, gpu.compute_capability)
        except BackendError as error:
            self._image_words = f"preprocessing on the processor ({error})"
            return
        self._free_with(resources, lambda: self._cuda.unload_kernel(kernel))
        self._kernel = kernel
        self.takes_images = True
        self._image_words = "preprocessing on the GPU"

    def _free_with(self, resources: ExitStack, free: Callable[[], None]) -> None:
        """Have something freed when the backend closes, or right now where opening it fails."""

        def free_inside() -> None:
            try:
                with self._cuda.current():
                    free()
            except BackendError as error:  # the rest must be freed all the same
                _log.warning("%s: not everything could be freed: %s", self._file, error)

        resources.callback(free_inside)
