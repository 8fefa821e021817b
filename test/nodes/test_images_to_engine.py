"""An engine that makes its inputs from images itself gets the images, and no tensor is made."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.tensors import DeferredTensors
from edge_inference.engines.serving import backend_table
from perception_rig import Pipeline
from rig import Outside, Rig, wait_for


class ImageBackend(OrtBackend):
    """Does on the CPU what an engine on a GPU does: takes bgr8 images as they are."""

    taken = 0

    def _open(self) -> Any:
        self.takes_images = True
        return super()._open()

    def takes_image(self, image: Frame, spec: InputSpec) -> bool:
        return image.encoding == "bgr8"

    def _infer_image(self, image: Frame, spec: InputSpec) -> Any:
        ImageBackend.taken += 1
        tensor, geometry = Preprocessor(spec)(image)
        return self._infer({spec.name: tensor}), geometry


class Made:
    """Counts the tensors that the preprocess node made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> None:
        self.count = 0
        node: Any = pipeline.preprocess
        make = node._preprocess

        def count(image: Any) -> Any:
            self.count += 1
            return make(image)

        monkeypatch.setattr(node, "_preprocess", count)


@pytest.fixture
def pipeline(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    ImageBackend.taken = 0
    monkeypatch.setattr(
        backend_table, "OrtBackend", lambda file, providers, threads, precision: ImageBackend(file)
    )
    made = Pipeline(rig, {"backend": "ort"}, model="nanodet")
    wait_for(lambda: made.preprocess._is_deferring, "preprocess to know")
    return made


def test_the_engine_gets_the_image(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch, pipeline)
    found = [pipeline.next(pipeline.detections) for _ in range(3)]
    assert [result.label(0) for result in found] == ["person"] * 3
    assert (made.count, ImageBackend.taken) == (0, 3)


def test_boxes_are_the_same_as_from_a_tensor(rig: Rig, pipeline: Pipeline) -> None:
    by_image = pipeline.next(pipeline.detections)
    pipeline.preprocess._is_deferring = False
    by_tensor = pipeline.next(pipeline.detections)
    assert ImageBackend.taken == 1
    assert by_image.boxes.tolist() == by_tensor.boxes.tolist()


def test_a_subscriber_of_tensors_gets_them(
    pipeline: Pipeline, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(monkeypatch, pipeline)
    received = outside.listen("/ai/tensor", "edge_inference/TensorList")
    pipeline.rig.wait_for_subscribers(pipeline.preprocess, "/ai/tensor", 2)
    pipeline.next(pipeline.detections)
    (message,) = received.wait(1)
    assert message["tensors"][0]["shape"] == [1, 3, 416, 416]
    assert message["geometry"][0]["source_width"] == pipeline.image.shape[1]
    assert (made.count, ImageBackend.taken) == (1, 1)


def test_an_inconsistent_image_is_refused_before_the_engine(rig: Rig, pipeline: Pipeline) -> None:
    stamp = rig.container.node.get_clock().now().nanoseconds
    good = Frame.from_array(pipeline.image, "bgr8", stamp, "cam")
    short = Frame(good.data[:-1], good.width, good.height, "bgr8", good.step, False, stamp, "cam")
    pipeline.images.publish(short)
    wait_for(lambda: pipeline.lost().get("invalid") == 1, "the image to be refused")
    assert ImageBackend.taken == 0
    assert len(pipeline.next(pipeline.detections)) > 0


def test_deferred_tensors_are_made_once_at_the_first_access() -> None:
    made = []

    def make() -> dict[str, Any]:
        made.append(threading.get_ident())
        return {"x": object()}

    tensors = DeferredTensors(("x",), make)
    assert (list(tensors), len(tensors), "x" in list(tensors), made) == (["x"], 1, True, [])
    seen: list[Any] = []
    threads = [threading.Thread(target=lambda: seen.append(tensors["x"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len({id(value) for value in seen}) == 1
    with pytest.raises(KeyError):
        tensors["y"]
