"""Runs a model and measures its layers, in an engine of its own that records them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.backends.gpu import GpuMemory, gpu_memory
from edge_inference.backends.ort import OrtBackend
from edge_inference.backends.trt.backend import TrtBackend
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import self_check_images
from edge_inference.core.onnx_format.onnx_operators import read_operators
from edge_inference.engines.interleaved_timing import WARM_UP_CALLS
from edge_inference.errors import BackendError, CancelledError
from edge_inference.observe.profiling.layer_profile import LayerProfile
from edge_inference.observe.profiling.ort_profile import (
    RecordedRun,
    read_ort_profile,
    summarize_recorded,
)
from edge_inference.observe.profiling.trt_profile import TrtLayerRecorder

Inputs = Mapping[str, NDArray[Any]]
_Repeat = Callable[[Callable[[], object]], None]


@dataclass(frozen=True)
class MeasuredLayers:
    """The profile and what ran: ``engine`` describes it. ``recorded`` is ONNX Runtime's record.

    ``gpu_memory`` was in use while the engine was open; None for one on the CPU, or without a
    driver.
    """

    profile: LayerProfile
    engine: str
    recorded: tuple[RecordedRun, ...] = ()
    gpu_memory: GpuMemory | None = None


def measure_layers(
    backend: Backend,
    inputs: Inputs,
    runs: int,
    progress: Callable[[float], None] = lambda fraction: None,
    cancelled: Callable[[], bool] = lambda: False,
    gpu: int | None = None,
) -> MeasuredLayers:
    """Open a closed backend, run it ``runs`` times after a warm-up, and close it.

    ``gpu`` is the number of the GPU that it runs on, None for an engine on the CPU. Raises
    BackendError for a backend that measures no layers, CancelledError where ``cancelled`` returns
    True.
    """

    def repeat(infer: Callable[[], object]) -> None:
        for number in range(WARM_UP_CALLS + runs):
            if cancelled():
                raise CancelledError("the measurement of layers was cancelled")
            infer()
            progress((number + 1) / (WARM_UP_CALLS + runs))

    if isinstance(backend, OrtBackend):
        return _measure_ort(backend, inputs, runs, repeat, gpu)
    if isinstance(backend, TrtBackend):
        return _measure_trt(backend, inputs, runs, repeat, gpu)
    raise BackendError(
        f"backend {backend.name!r} measures no layers: expected ort, ort-cuda or trt; choose one "
        "with --backend"
    )


def input_of(model: ModelDescription) -> dict[str, NDArray[Any]]:
    """Return the input tensor for the model's first golden image, by its name."""
    image, _ = Preprocessor(model.input)(self_check_images(model, 1)[0])
    return {model.input.name: image.copy()}


def _measure_ort(
    backend: OrtBackend, inputs: Inputs, runs: int, repeat: _Repeat, gpu: int | None
) -> MeasuredLayers:
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        backend.record_nodes(Path(folder, "profile"))
        with backend:
            engine = backend.describe()
            repeat(lambda: backend.infer(inputs))
            memory = _read_memory(gpu)
            file = backend.end_recording()
        recorded = read_ort_profile(file, runs)
    in_file = {(name, operator) for name, operator, _ in read_operators(backend.file).nodes}
    return MeasuredLayers(summarize_recorded(recorded, in_file), engine, tuple(recorded), memory)


def _measure_trt(
    backend: TrtBackend, inputs: Inputs, runs: int, repeat: _Repeat, gpu: int | None
) -> MeasuredLayers:
    recorder = TrtLayerRecorder()
    backend.report_layers(recorder.add)
    with backend:
        engine = backend.describe()
        layers = backend.layers()
        repeat(lambda: recorder.run(lambda: backend.infer(inputs)))
        memory = _read_memory(gpu)
    return MeasuredLayers(recorder.summarize(layers, runs), engine, gpu_memory=memory)


def _read_memory(gpu: int | None) -> GpuMemory | None:
    if gpu is None:
        return None
    try:
        return gpu_memory(gpu)
    except BackendError:  # the engine runs; only this figure is missing
        return None
