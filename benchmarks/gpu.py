"""TensorRT on this machine's GPU: an inference node against bare calls, for each precision.

``bare`` is the minimum that every program must do: copy the tensor in, enqueue, copy the outputs
out, wait, with existing buffers and execution context, without a CUDA graph. ``node`` is an
inference node in a container that receives the same tensor by reference, from publish to its raw
output. Both use the same plan, interleaved. Without a GPU or TensorRT the script says so and exits
with 2.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.node import Node

from benchmarks.perception import SIZES, make_image
from benchmarks.report import Report, Samples, interleave
from edge_inference.backends.trt.backend import TrtBackend
from edge_inference.backends.trt.metadata import read_sidecar
from edge_inference.backends.trt.plan import LoadedPlan
from edge_inference.backends.trt.pycuda_provider import PycudaProvider
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.composition.bus import Bus, Publisher
from edge_inference.composition.container import Container
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.core.tensors import TensorBatch
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import engine_plan
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import prepare
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.tensors import TensorListAdapter

_MODELS = ("nanodet", "efficientnet_lite0")
_PRECISIONS = ("fp32", "fp16", "int8")
_BOUND = 1.10
_WAIT_S = 10.0
_NO_GPU = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("gpu", argv, __doc__)
    rounds = 100 if report.quick else 1000
    try:
        plan = engine_plan(find_model(_MODELS[0]), "fp32")
        provider = PycudaProvider()
        gpu = provider.open()
        provider.close()
    except EdgeInferenceError as error:
        print(f"not run on a GPU: {error}")
        return _NO_GPU
    report.figure("gpu", f"{gpu.name}, compute {gpu.compute_capability}")
    report.figure("TensorRT", f"{plan.environment.library} {plan.environment.version}")
    with tempfile.TemporaryDirectory() as folder:
        cache = ArtifactCache(Path(folder))
        for name in _MODELS:
            for precision in _PRECISIONS:
                _measure(report, find_model(name), precision, cache, rounds)
    return report.finish()


def _measure(
    report: Report, model: ModelDescription, precision: str, cache: ArtifactCache, rounds: int
) -> None:
    what = f"{model.name} {precision}"
    request = EngineRequest(model, "trt", precision)
    started = time.perf_counter()
    selection = prepare(request, cache)
    report.figure(f"{what}, building", time.perf_counter() - started, "s")
    file = selection.artifact.find(cache)
    assert file is not None
    frame = Frame.from_array(make_image(*SIZES["1080p"]), "bgr8", 1, "camera")
    preprocess = Preprocessor(model.input)
    name = model.input.name
    tensor = preprocess(frame)[0]
    started = time.perf_counter()
    with TrtBackend(file):
        report.figure(f"{what}, start with an existing engine", time.perf_counter() - started, "s")
    with (
        TrtBackend(file) as graph,
        TrtBackend(file, use_graph=False) as plain,
        _bare(file, tensor) as bare,
        _node(model, precision, cache) as node,
    ):
        report.figure(f"{what}, precision in use", str(graph.precision_in_use))
        sides = {
            "bare": bare,
            "backend, graph": lambda: graph.infer({name: tensor}),
            "backend, no graph": lambda: plain.infer({name: tensor}),
            "node": lambda: node(tensor),
            "1080p, preprocessed on the CPU": lambda: graph.infer({name: preprocess(frame)[0]}),
        }
        if graph.takes_image(frame, model.input):
            sides["1080p, preprocessed on the GPU"] = lambda: graph.infer_image(frame, model.input)
        times = interleave(sides, rounds, warmup=20)
    for side, samples in times.items():
        report.samples(f"{what}, {side}", samples)
    report.claim(f"{what.replace(' ', '-')}-node-over-bare", _ratio(times), at_most=_BOUND)


def _ratio(times: dict[str, Samples]) -> float:
    return times["node"].p50 / times["bare"].p50


@contextlib.contextmanager
def _bare(file: Path, tensor: NDArray[Any]) -> Iterator[Any]:
    """Yield a function that runs one inference with the minimum of calls."""
    cuda = PycudaProvider()
    cuda.open()
    with contextlib.ExitStack() as freed:
        freed.callback(cuda.close)
        freed.enter_context(cuda.current())
        plan = LoadedPlan(import_tensorrt(), file, read_sidecar(file))
        freed.callback(plan.close)
        plan.load(file.read_bytes())
        stream = cuda.make_stream("normal")
        freed.callback(cuda.drop_stream, stream)
        # In a list, so that the last reference is dropped while the GPU's context is current.
        contexts = [plan.make_context(stream.handle)]
        freed.callback(contexts.clear)
        inputs, outputs = [], []
        for binding in plan.bindings:
            if binding.is_input:
                contexts[0].set_input_shape(binding.name, tensor.shape)
        contexts[0].infer_shapes()
        for binding in plan.bindings:
            shape = tuple(contexts[0].get_tensor_shape(binding.name))
            memory = cuda.allocate(binding.size(shape))
            freed.callback(cuda.free, memory)
            host = cuda.page_lock(memory.size)
            freed.callback(cuda.unlock, host)
            contexts[0].set_tensor_address(binding.name, memory.address)
            (inputs if binding.is_input else outputs).append((host, memory))
        source = tensor.view(np.uint8).reshape(-1)

        def infer() -> None:
            for host, memory in inputs:
                host[: source.size] = source
                cuda.copy_in(memory.address, host.ctypes.data, memory.size, stream)
            if not contexts[0].execute_async_v3(stream.handle):
                raise RuntimeError("TensorRT refused to run")
            for host, memory in outputs:
                cuda.copy_out(host.ctypes.data, memory.address, memory.size, stream)
            cuda.synchronize(stream)

        yield infer


@contextlib.contextmanager
def _node(model: ModelDescription, precision: str, cache: ArtifactCache) -> Iterator[Any]:
    """Yield a function that sends a tensor to an inference node and waits for its output."""
    os.environ["EDGE_INFERENCE_CACHE"] = str(cache.folder)
    context = Context()
    rclpy.init(context=context)
    container = Container(context)
    parameters = {
        "model": model.name,
        "backend": "trt",
        "precision": precision,
        "fallback": "false",
        "golden_check": "off",
        "self_check": "off",
    }
    overrides = [text for key, value in parameters.items() for text in ("-p", f"{key}:={value}")]
    component = container.load("edge_inference::Inference", ["--ros-args", *overrides])
    if component.failure:
        raise RuntimeError(component.failure)
    sender = Node("sender", context=context)
    publisher = Publisher(sender, TensorListAdapter(), "/ai/tensor", RELIABLE)
    done = threading.Event()
    Bus.of(context).tap("/ai/raw_output", lambda output: done.set())
    spinner = threading.Thread(target=container.spin, daemon=True)
    spinner.start()
    image = Frame.from_array(np.zeros((2, 2, 3), np.uint8))

    def infer(tensor: NDArray[Any]) -> None:
        done.clear()
        stamp = int(sender.get_clock().now().nanoseconds)
        tensors = {model.input.name: tensor}
        # With an image, as inside a container: such tensors are not checked for NaN.
        publisher.publish(TensorBatch(tensors, (), model.name, stamp, "camera", (image,)))
        if not done.wait(_WAIT_S):
            raise RuntimeError("the node published no output; its errors are in the log above")

    try:
        yield infer
    finally:
        container.stop()
        spinner.join()
        container.close()
        context.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
