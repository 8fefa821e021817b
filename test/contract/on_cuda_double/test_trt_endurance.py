"""Nothing leaks: not in 10,000 frames, not in 100 exchanges of an engine under load."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

import tensorrt_double
from double_control import Double
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from trt_on_double import make_backend

FRAMES = 10_000
SWAPS = 100
# What the allocators of Python and ONNX Runtime may retain.
GROWTH_KIB = 6 * 1024

SPEC = InputSpec(name="image", width=8, height=8)


def resident_kib() -> int:
    """Return the resident memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def image_onnx(make_onnx: Any) -> Path:
    return make_onnx(
        [helper.make_node("Identity", ["image"], ["seen"])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("seen", TensorProto.FLOAT, ["n", 3, 8, 8])],
    )


def run(backend: Any, turn: int) -> None:
    """Run a tensor of a random batch, and an image."""
    tensor = np.full((1 + turn % 3, 3, 8, 8), turn, np.float32)
    np.testing.assert_array_equal(backend.infer({"image": tensor})["seen"], tensor)
    image = np.full((8, 8, 3), turn % 256, np.uint8)
    outputs, _ = backend.infer_image(Frame.from_array(image), SPEC)
    assert outputs["seen"][0, 0, 0, 0] == turn % 256


def counts(double: Double) -> dict[str, int]:
    """Count live objects and all allocations."""
    return {**double.live(), **tensorrt_double.alive, "ever": double.count("allocations")}


def test_ten_thousand_frames(make_onnx: Any, double: Double) -> None:
    with make_backend(image_onnx(make_onnx), contexts=2) as backend:
        for turn in range(300):
            run(backend, turn)
        before, resident = counts(double), resident_kib()
        for turn in range(FRAMES // 2):
            run(backend, turn)
        assert counts(double) == before
        assert resident_kib() - resident < GROWTH_KIB
        assert "graph on" in backend.describe()
    assert not any(double.live().values())
    assert not any(tensorrt_double.alive.values())


def test_a_hundred_swaps(make_onnx: Any, double: Double) -> None:
    file = image_onnx(make_onnx)

    def swap(old: Any) -> Any:
        new = make_backend(file).open()
        for turn in range(4):
            run(new, turn)
            run(old, turn)
        old.close()
        return new

    backend = make_backend(file).open()
    for turn in range(4):
        run(backend, turn)
    for _ in range(10):
        backend = swap(backend)
    before, resident = counts(double), resident_kib()
    for _ in range(SWAPS):
        backend = swap(backend)
    after = counts(double)
    assert {**after, "ever": 0} == {**before, "ever": 0}
    assert resident_kib() - resident < GROWTH_KIB
    backend.close()
    assert not any(double.live().values())
    assert not any(tensorrt_double.alive.values())
