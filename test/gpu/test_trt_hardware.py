"""The TensorRT backend on a real GPU, with plans built by the test: contract, images, memory."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import test_backends
from edge_inference.backends.base import Backend
from edge_inference.backends.trt.backend import TrtBackend
from edge_inference.backends.trt.metadata import Environment
from edge_inference.backends.trt.pycuda_provider import PycudaProvider
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.settings import build
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import build_engine, write_engine
from edge_inference.errors import BackendError

SETTINGS: dict[str, dict[str, Any]] = {
    "trt": {},
    "trt, 2 contexts": {"contexts": 2},
    "trt, no graph": {"use_graph": False},
    "trt, high priority": {"stream_priority": "high"},
}
SPEC = InputSpec(name="image", width=320, height=192, mean=(123.7,), std=(58.4,))

globals().update(
    (name, test) for name, test in vars(test_backends).items() if name.startswith("test_")
)

Plan = Callable[..., Path]


@pytest.fixture(scope="module")
def environment() -> Environment:
    """Return the environment; skip, with the reason, if TensorRT or pycuda is missing."""
    provider = PycudaProvider()
    try:
        vendor = import_tensorrt()
        gpu = provider.open()
    except BackendError as error:
        pytest.skip(str(error))
    provider.close()
    return Environment.here(vendor.library, vendor.version, gpu.name, gpu.compute_capability)


@pytest.fixture
def plan(environment: Environment, tmp_path: Path) -> Plan:
    """Return a function that builds a plan from an ONNX file."""
    numbers = itertools.count()

    def make(onnx_file: Path, **options: Any) -> Path:
        built = build_engine(
            onnx_file,
            build(BuildOptions, options),
            vendor=import_tensorrt(),
            environment=environment,
        )
        return write_engine(built, tmp_path / f"{next(numbers)}.plan")

    return make


@pytest.fixture(params=list(SETTINGS))
def closed(request: pytest.FixtureRequest, plan: Plan, doubling_onnx: Path) -> Iterator[Backend]:
    backend = TrtBackend(plan(doubling_onnx, batch=[1, 2, 4]), **SETTINGS[request.param])
    yield backend
    backend.close()


@pytest.fixture
def opened(closed: Backend) -> Backend:
    return closed.open()


@pytest.fixture
def image_plan(plan: Plan, make_onnx: Any) -> Path:
    """A plan that returns its image with double brightness."""
    constant = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    file = make_onnx(
        [helper.make_node("Mul", ["image", "two"], ["seen"])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, list(SPEC.shape))],
        [helper.make_tensor_value_info("seen", TensorProto.FLOAT, list(SPEC.shape))],
        (constant,),
    )
    return plan(file)


def make_image(encoding: str, seed: int = 0) -> Frame:
    channels = {"bgr8": 3, "rgba8": 4, "mono8": 1, "yuyv": 2, "nv12": 1}[encoding]
    rows = 480 * 3 // 2 if encoding == "nv12" else 480
    step = 640 * channels + 16
    data = np.random.default_rng(seed).integers(0, 256, rows * step, np.uint8)
    return Frame(data, 640, 480, encoding, step)


@pytest.mark.parametrize("encoding", ["bgr8", "rgba8", "mono8", "yuyv", "nv12"])
@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "center_crop"])
def test_images_as_on_the_cpu(
    image_plan: Path, encoding: str, interpolation: str, resize: str
) -> None:
    values = {name: getattr(SPEC, name) for name in ("name", "width", "height", "mean", "std")}
    spec = InputSpec(**values, interpolation=interpolation, resize=resize)
    with TrtBackend(image_plan) as backend:
        if not backend.takes_images:
            pytest.skip(backend.describe())
        for seed in range(4):
            frame = make_image(encoding, seed)
            outputs, geometry = backend.infer_image(frame, spec)
            wanted, wanted_geometry = Preprocessor(spec).run(frame)
            assert geometry == wanted_geometry
            error = np.abs(outputs["seen"] / 2 - wanted).max() * spec.std[0]
            assert error <= 1.001


def test_graphs_do_not_change_the_results(plan: Plan, doubling_onnx: Path) -> None:
    file = plan(doubling_onnx, batch=[1, 2, 4])
    with TrtBackend(file) as recorded, TrtBackend(file, use_graph=False) as plain:
        for turn in range(20):
            inputs = test_backends.feed(turn, 1 + turn % 3)
            wanted = plain.infer(inputs)
            for name, tensor in recorded.infer(inputs).items():
                np.testing.assert_array_equal(tensor, wanted[name])
        assert "graph on" in recorded.describe()
        assert "graph off" in plain.describe()


def test_engine_exchanges_leak_no_memory(plan: Plan, doubling_onnx: Path) -> None:
    file = plan(doubling_onnx, batch=[1, 2, 4])
    provider = PycudaProvider()
    provider.open()

    def free_bytes() -> int:
        gc.collect()
        with provider.current():
            import pycuda.driver

            return int(pycuda.driver.mem_get_info()[0])

    def swap() -> None:
        with TrtBackend(file) as backend:
            for turn in range(4):
                test_backends.assert_right(
                    backend.infer(test_backends.feed(turn)), test_backends.feed(turn)
                )

    try:
        for _ in range(5):
            swap()
        before = free_bytes()
        for _ in range(50):
            swap()
        # Other programs use the GPU too; a leak of one context per exchange is far larger.
        assert before - free_bytes() < 64 << 20
    finally:
        provider.close()
