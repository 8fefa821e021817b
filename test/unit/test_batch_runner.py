"""A batch beyond the limit runs in parts, with one result."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.tensors import TensorBatch
from edge_inference.engines.serving.batch_runner import BatchRunner

PLACE = Geometry(4, 4, 1.0, 1.0, 0.0, 0.0)


class Doubling:
    """A backend for any batch size that records the sizes."""

    device_ms: float | None = None

    def __init__(self) -> None:
        self.runs: list[int] = []

    def infer(self, inputs):
        self.runs.append(len(next(iter(inputs.values()))))
        return {"twice": 2 * inputs["x"]}


class Recording:
    """A backend that records the shapes of its inputs."""

    device_ms = None

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def takes_image(self, image: object, spec: object) -> bool:
        return False

    def infer(self, inputs):
        self.shapes.append(inputs["x"].shape)
        return {"y": inputs["x"]}


def run(count: int, max_batch: int | None, **more) -> tuple[Doubling, TensorBatch]:
    backend = Doubling()
    engine = SimpleNamespace(
        backend=backend, request=SimpleNamespace(model=SimpleNamespace(name="m"))
    )
    tensors = {"x": np.arange(count * 3, dtype=np.float32).reshape(count, 3), **more}
    batch = TensorBatch(tensors, (PLACE,) * count, "m", 7, "camera")
    return backend, BatchRunner()(engine, batch, max_batch)


@pytest.mark.parametrize(
    ("count", "max_batch", "runs"),
    [
        (1, None, [1]),
        (5, None, [5]),
        (5, 5, [5]),
        (5, 2, [2, 2, 1]),
        (4, 1, [1, 1, 1, 1]),
        (1, 8, [1]),
    ],
)
def test_at_most_max_batch_images_run_at_a_time(
    count: int, max_batch: int | None, runs: list[int]
) -> None:
    backend, output = run(count, max_batch)
    assert backend.runs == runs
    assert np.array_equal(output.tensors["twice"].ravel(), 2 * np.arange(count * 3))
    assert len(output.geometry) == count
    assert (output.stamp_ns, output.frame_id) == (7, "camera")


def test_the_time_on_the_device_is_that_of_all_parts() -> None:
    runner, backend = BatchRunner(), Doubling()
    engine = SimpleNamespace(
        backend=backend, request=SimpleNamespace(model=SimpleNamespace(name="m"))
    )
    batch = TensorBatch({"x": np.zeros((5, 1), np.float32)}, (PLACE,) * 5, "m", 7, "camera")
    for ms, total in ((2.0, 6.0), (0.5, 1.5), (None, None)):
        backend.device_ms = ms
        runner(engine, batch, 2)
        assert runner.device_ms == total


def test_inputs_without_a_batch_axis_are_not_split() -> None:
    backend, _ = run(4, 2, scale=np.ones(3, np.float32))
    assert len(backend.runs) == 1


def test_each_inference_is_reported_with_its_images() -> None:
    noted: list[tuple[object, int]] = []
    engine = SimpleNamespace(
        backend=Doubling(), request=SimpleNamespace(model=SimpleNamespace(name="m"))
    )

    def note(its: object, images: int, wall_s: float, cpu_s: float) -> None:
        assert wall_s > 0.0 and cpu_s >= 0.0
        noted.append((its, images))

    tensors = {"x": np.zeros((5, 3), np.float32)}
    BatchRunner(note)(engine, TensorBatch(tensors, (PLACE,) * 5, "m"), 2)
    assert noted == [(engine, 2), (engine, 2), (engine, 1)]


def test_a_queued_image_is_preprocessed_for_a_new_model() -> None:
    backend = Recording()
    runner = BatchRunner()
    frame = Frame(np.zeros(6 * 8 * 3, np.uint8), width=8, height=6, encoding="bgr8", step=24)
    late = TensorBatch({"x": np.zeros((1, 3, 8, 8), np.float32)}, (PLACE,), "old", images=(frame,))
    for name, width, height in (("first", 4, 4), ("second", 6, 2)):
        model = SimpleNamespace(name=name, input=InputSpec(name="x", width=width, height=height))
        engine = SimpleNamespace(backend=backend, request=SimpleNamespace(model=model))
        assert runner(engine, late).model == name
    assert backend.shapes == [(1, 3, 4, 4), (1, 3, 2, 6)]
