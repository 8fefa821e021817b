"""The kernel's source, run thread by thread on the CPU, compared with the Preprocessor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import tensorrt_double
from double_control import Double
from edge_inference.backends.trt import image_kernel, nvrtc
from edge_inference.backends.trt.backend import TrtBackend
from edge_inference.core.images.encodings import ENCODINGS
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.errors import BackendError, ImageError
from trt_on_double import make_backend

TAKEN = (
    *("rgb8", "bgr8", "8UC3", "rgba8", "bgra8", "8UC4", "mono8", "8UC1"),
    *("yuyv", "yuv422_yuy2", "uyvy", "yuv422", "nv12", "nv21"),
)
PLANAR = ("nv12", "nv21")
BYTES = {"rgba8": 4, "bgra8": 4, "8UC4": 4, "rgb8": 3, "bgr8": 3, "8UC3": 3}
BYTES |= {"yuyv": 2, "yuv422_yuy2": 2, "uyvy": 2, "yuv422": 2}

ONNX_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
}


def make_frame(encoding: str, width: int, height: int, padding: int = 0, seed: int = 0) -> Frame:
    """Return an image of noise over a slope, with ``padding`` bytes after every row."""
    numbers = np.random.default_rng(seed)
    rows = height * 3 // 2 if encoding in PLANAR else height
    step = width * BYTES.get(encoding, 1) + padding
    slope = np.linspace(0, 200, rows * step, dtype=np.uint8).reshape(rows, step)
    data = slope + numbers.integers(0, 56, (rows, step), np.uint8)
    return Frame(data.reshape(-1), width, height, encoding, step)


@pytest.fixture
def make(make_onnx: Any, double: Double) -> Iterator[Callable[..., TrtBackend]]:
    opened: list[TrtBackend] = []

    def open_one(spec: InputSpec, **header: Any) -> TrtBackend:
        """Open a plan that returns its input, which the spec describes."""
        onnx_type = ONNX_TYPES[spec.dtype]
        file = make_onnx(
            [helper.make_node("Identity", [spec.name], ["seen"])],
            [helper.make_tensor_value_info(spec.name, onnx_type, list(spec.shape))],
            [helper.make_tensor_value_info("seen", onnx_type, list(spec.shape))],
        )
        settings = header.pop("settings", {})
        opened.append(make_backend(file, header=header, **settings))
        opened[-1].open()
        return opened[-1]

    yield open_one
    for backend in opened:
        backend.close()
    assert not any(double.live().values()), double.live()
    assert not any(tensorrt_double.alive.values())


def assert_same(backend: TrtBackend, frame: Frame, spec: InputSpec, levels: float = 1.0) -> None:
    """Compare with the tensor of the CPU, in levels of a pixel."""
    assert backend.takes_image(frame, spec)
    about = f"{frame.encoding} {frame.width}x{frame.height}"
    outputs, geometry = backend.infer_image(frame, spec)
    wanted, wanted_geometry = Preprocessor(spec).run(frame)
    assert geometry == wanted_geometry, about
    seen = outputs["seen"]
    assert seen.dtype == wanted.dtype
    if levels == 0:
        np.testing.assert_array_equal(seen, wanted, about)
        return
    level = 1.0 / np.min(np.abs(spec.std))
    rounding = np.finfo(wanted.dtype).eps if wanted.dtype.kind == "f" else 0.0
    error = np.abs(seen.astype(np.float64) - wanted.astype(np.float64)).max()
    assert error <= levels * level + rounding * np.abs(wanted).max(), (about, error / level)


BASE = {"name": "image", "width": 24, "height": 20}


def spec_of(**changes: Any) -> InputSpec:
    return InputSpec(**{**BASE, **changes})


def test_the_double_runs_the_kernel(make: Callable[..., TrtBackend], double: Double) -> None:
    backend = make(spec_of())
    assert backend.takes_images
    assert "preprocessing on the GPU" in backend.describe()
    assert_same(backend, make_frame("bgr8", 40, 30), spec_of())
    assert double.count("cuLaunchKernel") == 1


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "center_crop"])
@pytest.mark.parametrize("color", ["RGB", "BGR", "GRAY"])
def test_encodings(make: Callable[..., TrtBackend], resize: str, color: str) -> None:
    spec = spec_of(color=color, resize=resize, crop_fraction=0.875)
    backend = make(spec)
    sizes = ((48, 40, 0), (38, 66, 6), (20, 10, 1), (24, 20, 0), (2, 2, 0))
    for encoding, (width, height, padding) in itertools.product(TAKEN, sizes):
        assert_same(backend, make_frame(encoding, width, height, padding, seed=width), spec)


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("align", ["center", "top_left"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "center_crop"])
def test_interpolations_and_odd_sizes(
    make: Callable[..., TrtBackend], interpolation: str, align: str, resize: str
) -> None:
    levels = 0.0 if interpolation == "nearest" else 1.0
    spec = spec_of(
        width=33, height=21, resize=resize, interpolation=interpolation, letterbox_align=align
    )
    backend = make(spec)
    sizes = ((37, 53), (53, 37), (7, 5), (1, 1), (64, 1), (480, 270))
    for size, encoding in itertools.product(sizes, ("bgr8", "mono8", "rgba8")):
        assert_same(backend, make_frame(encoding, *size), spec, levels)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("color", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize("dtype", list(ONNX_TYPES))
def test_layouts_and_types(
    make: Callable[..., TrtBackend], layout: str, color: str, dtype: str
) -> None:
    normal = {"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}
    changes: dict[str, Any] = normal if dtype.startswith("float") else {}
    if color == "GRAY" and changes:
        changes = {"mean": (117.0,), "std": (60.0,)}
    spec = spec_of(layout=layout, color=color, dtype=dtype, resize="letterbox", **changes)
    # Without resizing the tensors are bit-identical.
    assert_same(make(spec), make_frame("rgb8", 24, 20), spec, 0.0 if color != "GRAY" else 1.0)
    assert_same(make(spec), make_frame("rgb8", 31, 57), spec)


@pytest.mark.parametrize("engine", ["HALF", "BF16"])
def test_a_plan_of_half_precision(make: Callable[..., TrtBackend], engine: str) -> None:
    spec = spec_of(mean=(127.5,), std=(127.5,))
    backend = make(spec, types={"image": engine})
    frame = make_frame("rgb8", 24, 20)
    seen, _ = backend.infer_image(frame, spec)
    wanted, _ = Preprocessor(spec).run(frame)
    given = backend.infer({"image": wanted})
    np.testing.assert_array_equal(seen["seen"], given["seen"])


def test_a_dynamic_batch_takes_one_image(make_onnx: Any, make: Callable[..., TrtBackend]) -> None:
    file = make_onnx(
        [helper.make_node("Identity", ["image"], ["seen"])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 20, 24])],
        [helper.make_tensor_value_info("seen", TensorProto.FLOAT, ["n", 3, 20, 24])],
    )
    with make_backend(file) as backend:
        for seed in range(4):
            assert_same(backend, make_frame("bgr8", 50, 50, seed=seed), spec_of())


def test_images_and_tensors_take_turns(make: Callable[..., TrtBackend], double: Double) -> None:
    spec = spec_of()
    backend = make(spec)
    for seed in range(4):
        for encoding, width in (("bgr8", 50), ("nv12", 64)):
            assert_same(backend, make_frame(encoding, width, 50, seed=seed), spec)
        tensor = np.full(spec.shape, seed, np.float32)
        np.testing.assert_array_equal(backend.infer({"image": tensor})["seen"], tensor)
    assert double.count("graphs") == 3
    assert "graph on" in backend.describe()


def test_another_spec_of_the_same_tensor(make: Callable[..., TrtBackend]) -> None:
    backend = make(spec_of())
    frame = make_frame("bgr8", 50, 50)
    for _ in range(3):
        for mean in (0.0, 100.0):
            for color in ("RGB", "BGR"):
                assert_same(backend, frame, spec_of(mean=(mean,), color=color))


# --- what it does not take ------------------------------------------------------------------


def test_encodings_without_kernel_support() -> None:
    left = sorted(set(ENCODINGS) - set(TAKEN))
    assert left == sorted(
        ("16UC1", "32FC1", "mono16", *(name for name in ENCODINGS if name.startswith("bayer")))
    )


@pytest.mark.parametrize(
    ("encoding", "change"),
    [
        ("mono16", {}),
        ("no_such_encoding", {}),
        ("bgr8", {"interpolation": "area"}),
        ("bgr8", {"name": "other"}),
        ("bgr8", {"width": 25}),
        ("bgr8", {"layout": "NHWC"}),
        ("bgr8", {"dtype": "uint8"}),
        ("bgr8", {"color": "GRAY"}),
    ],
)
def test_interpolations_without_kernel_support(
    make: Callable[..., TrtBackend], encoding: str, change: dict[str, Any]
) -> None:
    backend = make(spec_of())
    frame, spec = make_frame("bgr8", 8, 8), spec_of(**change)
    frame = Frame(frame.data, 8, 8, encoding, frame.step)
    assert not backend.takes_image(frame, spec)
    with pytest.raises((BackendError, ImageError)):
        backend.infer_image(frame, spec)


def test_a_closed_backend_accepts_no_image(make: Callable[..., TrtBackend]) -> None:
    backend = make(spec_of())
    backend.close()
    frame = make_frame("bgr8", 8, 8)
    assert not backend.takes_image(frame, spec_of())
    with pytest.raises(BackendError, match="not open"):
        backend.infer_image(frame, spec_of())


def test_an_inconsistent_image(make: Callable[..., TrtBackend]) -> None:
    backend = make(spec_of())
    frame = make_frame("bgr8", 8, 8)
    short = Frame(frame.data[:-1], 8, 8, "bgr8", frame.step)
    with pytest.raises(ImageError, match="expected 8 rows"):
        backend.infer_image(short, spec_of())
    assert_same(backend, frame, spec_of())


def test_a_plan_with_two_inputs_accepts_no_image(doubling_onnx: Path) -> None:
    with make_backend(doubling_onnx) as backend:
        assert not backend.takes_images
        assert "accepts tensors only" in backend.describe()


def test_without_the_compiler_the_cpu_preprocesses(
    make: Callable[..., TrtBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvrtc, "_candidates", lambda: ["libno_such_library.so"])
    nvrtc.compile_ptx.cache_clear()
    backend = make(spec_of())
    assert not backend.takes_images
    assert not backend.takes_image(make_frame("bgr8", 8, 8), spec_of())
    assert "on the CPU (libnvrtc" in backend.describe()


def test_a_kernel_that_does_not_compile() -> None:
    with pytest.raises(BackendError, match=r"cannot compile for compute_87: .*expected a kernel"):
        nvrtc.compile_ptx("int main;", "8.7")


def test_the_structure_matches_the_kernel() -> None:
    """The fields in Python have the order of the source."""
    source = Path(image_kernel.__file__).with_suffix(".cu").read_text(encoding="utf-8")
    body = source.partition("struct Image {")[2].partition("};")[0]
    lines = (line.partition("//")[0].strip() for line in body.splitlines())
    text = " ".join(line for line in lines if line)
    names = [
        name.strip(" *")
        for declaration in text.split(";")
        for name in declaration.replace("const unsigned char*", "")
        .replace("unsigned char*", "")
        .replace("int ", "")
        .split(",")
    ]
    assert [name for name in names if name] == [
        name for name, _ in image_kernel.KernelImage._fields_
    ]
