"""Images in, model inputs out."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

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
    """Fits images of any size and encoding into the model's input tensor."""

    default_name = "preprocess"
    default_namespace = "ai"
    settings_class = PreprocessSettings

    def accept(self, settings: PreprocessSettings) -> None:
        """Refuse a model that cannot be read."""
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
        """Listen to images."""
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
        """Change the model."""
        if not new.same_model(old):
            self._load(new)

    def admits(self, item: Image) -> bool:
        """Give images up before they cost anything where inference may not take them."""
        return self._rate_limiter.admits(time.monotonic_ns())

    def process(self, item: Image, settings: PreprocessSettings) -> TensorBatch:
        """Make the tensor, or leave that to the engine where it can do it itself."""
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
        self._preprocess = _Shared(Preprocessor(self._model.input))
        self.health.note("model", self._model.name)

    def _on_state(self, state: InferenceState, by_reference: bool) -> None:
        # From another process the engine cannot reach our images.
        self._is_deferring = state.takes_images and by_reference
        self._rate_limiter.set_limit(state.node, state.max_rate_hz, time.monotonic_ns())
        self._follower.hear(state, by_reference)


class _Shared:
    """A preprocessor for several threads, as deferred tensors are made by whoever needs them."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        self._preprocessor = preprocessor
        self._lock = threading.Lock()

    def __call__(self, image: Image) -> tuple[NDArray[Any], Geometry]:
        """Return a read-only tensor, and the map back to source pixels."""
        with self._lock:
            tensor, geometry = self._preprocessor(image)
        tensor.flags.writeable = False
        return tensor, geometry
