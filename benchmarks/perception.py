"""The perception pipeline for benchmarks: in a container, and as a loop of its functions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile

from edge_inference.composition.bus import Bus, Publisher
from edge_inference.composition.container import Container
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.composition.process import load_components
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model_search import find_model
from edge_inference.core.results import Result
from edge_inference.engines.serving.engine_check import reference_backend
from edge_inference.nodes.conversions.images import ImageAdapter

MODEL = "nanodet"
SIZES = {"VGA": (640, 480), "1080p": (1920, 1080)}
IMAGE_TOPIC = "/camera/image_raw"

_RESULT_TOPIC = "/ai/detections"
_WAIT_S = 10.0


def make_image(width: int, height: int) -> NDArray[np.uint8]:
    """Return one of the model's golden images in this size, (height, width, 3) BGR."""
    file = find_model(MODEL).golden[0].image
    image = cv2.imread(str(file))
    if image is None:
        raise RuntimeError(f"{file} cannot be read")
    return np.asarray(cv2.resize(image, (width, height)), np.uint8)


class BareLoop:
    """Calls the core functions of the pipeline one after the other, and nothing else."""

    def __init__(self) -> None:
        self._model = find_model(MODEL)
        self._preprocess = Preprocessor(self._model.input)
        self._backend = reference_backend(self._model).open()

    def __call__(self, frame: Frame) -> Result:
        """Return the result for an image."""
        tensor, geometry = self._preprocess.run(frame)
        outputs = self._backend.infer({self._model.input.name: tensor})
        return self._model.decode(outputs, geometry)

    def close(self) -> None:
        """Free the model."""
        self._backend.close()


class Camera(Node):
    """A component that publishes the images it is given."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("camera", **node_arguments)
        self.images = Publisher(self, ImageAdapter(), IMAGE_TOPIC, QoSProfile(depth=5))


class ContainedPipeline:
    """The shipped perception pipeline in a container, fed by a camera component.

    ``prepare`` is called with the container before the pipeline is loaded.
    """

    def __init__(self, prepare: Callable[[Container], None] = lambda container: None) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.container = Container(self._context)
        prepare(self.container)
        failures = load_components(
            self.container, load_pipeline("perception").components({"model": MODEL})
        )
        if failures:
            raise RuntimeError("; ".join(failures))
        camera: Any = self.container.load(f"{__name__}::Camera", []).node
        self._images = camera.images
        self._spinner = threading.Thread(target=self.container.spin, daemon=True)
        self._spinner.start()

    def publish(self, frame: Frame) -> None:
        """Publish an image to the pipeline."""
        self._images.publish(frame)

    def listen(self, on_result: Callable[[Result], None]) -> None:
        """Call ``on_result`` for every result, in the decode stage's thread."""
        self.tap(_RESULT_TOPIC, on_result)

    def tap(self, topic: str, callback: Callable[[Any], None]) -> None:
        """Call ``callback`` with every object on a topic, in its publisher's thread."""
        Bus.of(self._context).tap(topic, callback)

    def now_ns(self) -> int:
        """Return the time of the clock that stamps use."""
        return int(self.container.node.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Unload everything."""
        self.container.stop()
        self._spinner.join()
        self.container.close()
        self._context.try_shutdown()


class OneAtATime:
    """Publishes each image to a pipeline after the result of the previous one."""

    def __init__(self, pipeline: ContainedPipeline) -> None:
        self._pipeline = pipeline
        self._done = threading.Event()
        self._result_at = 0
        pipeline.listen(self._receive)

    def __call__(self, image: NDArray[np.uint8]) -> int:
        """Return the nanoseconds from publishing the image to its result."""
        frame = Frame.from_array(image, "bgr8", self._pipeline.now_ns(), "camera")
        self._done.clear()
        started = time.perf_counter_ns()
        self._pipeline.publish(frame)
        if not self._done.wait(_WAIT_S):
            raise RuntimeError("the pipeline returned no result; see its errors above")
        return self._result_at - started

    def _receive(self, result: Result) -> None:
        self._result_at = time.perf_counter_ns()
        self._done.set()
