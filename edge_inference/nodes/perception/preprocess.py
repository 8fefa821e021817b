"""The preprocess node: converts images to model inputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edge_inference.composition.reception import Reception
from edge_inference.core.images.encodings import check_frame
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import place
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.runtime.rate_limit import DownstreamRateLimiter
from edge_inference.core.tensors import DeferredTensors, TensorBatch
from edge_inference.nodes.conversions.inference_state import InferenceStateAdapter
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.perception.image_input import (
    Image,
    ImageSettings,
    subscribe_to_images,
)
from edge_inference.nodes.perception.model_settings import ModelFollower, ModelSettings
from edge_inference.nodes.stage import Stage


@dataclass(frozen=True)
class PreprocessSettings(ModelSettings, ImageSettings):
    """Parameters of the preprocess node."""


class Preprocess(Stage[Image]):
    """Converts images of any size and encoding to the model's input tensor."""

    default_name = "preprocess"
    default_namespace = "ai"
    from_sensor = True
    settings_class = PreprocessSettings

    def accept(self, settings: PreprocessSettings) -> None:
        """Reject a model that cannot be read."""
        if not settings.same_model(self.parameters.current):
            settings.find_model()

    def open(self) -> None:
        """Read the model's input description."""
        super().open()
        self._is_deferring = False
        self._rate_limiter = DownstreamRateLimiter()
        self._follower = ModelFollower(self)
        self._load(self.parameters.current)
        self._tensors = self.make_publisher("tensor", TensorListAdapter())

    def start(self) -> None:
        """Subscribe to images."""
        super().start()
        self.subscribe_to(
            "inference_state", InferenceStateAdapter(), self._on_state, exclusive=True
        )
        topic = subscribe_to_images(self, self.receive, self.parameters.current.queue_depth)
        self.health.expect(f"images on {topic}")
        self.get_logger().info(f"waiting for images on {topic}")

    def model_name(self) -> str:
        """Return the model in use."""
        return self._model.name

    def apply_settings(self, old: PreprocessSettings, new: PreprocessSettings) -> None:
        """Switch to another model."""
        if not new.same_model(old):
            self._load(new)

    def admits(self, item: Image) -> bool:
        """Drop images that inference may not process, before they cost any time."""
        return self._rate_limiter.admits(time.monotonic_ns())

    def process(self, item: Image, settings: PreprocessSettings) -> TensorBatch:
        """Make the tensor, or a deferred one where the engine makes its input from the image."""
        name = self._model.input.name
        tensors: Mapping[str, NDArray[Any]]
        if self._is_deferring and isinstance(item, Frame):
            check_frame(item)
            placement = place(self._model.input, item.width, item.height)
            geometry = placement.geometry(item.width, item.height)
            preprocess = self._preprocess
            tensors = DeferredTensors((name,), lambda: {name: preprocess(item)[0]})
        else:
            tensor, geometry = self._preprocess(item)
            tensors = {name: tensor}
        return TensorBatch(
            tensors,
            (geometry,),
            self._model.name,
            item.stamp_ns,
            item.frame_id,
            (item,),
            self._rate_limiter.take_skipped(),
        )

    def emit(self, output: TensorBatch) -> None:
        """Publish the tensor."""
        self._tensors.publish(output)

    def _load(self, settings: PreprocessSettings) -> None:
        self._model = settings.find_model()
        self._preprocess = _LockedPreprocessor(Preprocessor(self._model.input))
        self.health.note("model", self._model.name)

    def _on_state(self, state: InferenceState, reception: Reception) -> None:
        # An engine in another process has no access to the images.
        self._is_deferring = state.takes_images and reception.by_reference
        self._rate_limiter.set_limit(state.node, state.max_rate_hz, time.monotonic_ns())
        self._follower.on_state(state, reception)


class _LockedPreprocessor:
    """A preprocessor for several threads, because any thread may make a deferred tensor."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        self._preprocessor = preprocessor
        self._lock = threading.Lock()

    def __call__(self, image: Image) -> tuple[NDArray[Any], Geometry]:
        """Return a read-only tensor, and the geometry of the mapping."""
        with self._lock:
            tensor, geometry = self._preprocessor(image)
        tensor.flags.writeable = False
        return tensor, geometry
