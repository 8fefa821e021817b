"""The overlay node: draws results on their images while there is a subscriber."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.reception import Reception
from edge_inference.core.images.encodings import to_bgr
from edge_inference.core.images.frame import Frame
from edge_inference.core.results import RESULT_KINDS, Result
from edge_inference.core.results.overlay import draw
from edge_inference.core.settings import setting
from edge_inference.errors import PluginError
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from edge_inference.nodes.perception.image_input import (
    Image,
    ImageSettings,
    subscribe_to_images,
)
from edge_inference.nodes.stage import FrameDropped, Stage, StageSettings

_CHECK_PERIOD_S = 0.5
_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class OverlaySettings(StageSettings, ImageSettings):
    """Parameters of the overlay node."""

    history: int = setting(
        12,
        "maximum number of images that wait for their result, in 256 MiB; the newest always stays",
        minimum=1,
        maximum=100,
    )


class Overlay(Stage[Any]):
    """Publishes /ai/overlay; without a subscriber it receives no images either."""

    default_name = "overlay"
    default_namespace = "ai"
    settings_class = OverlaySettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._images_lock = threading.Lock()
        self._check_timer = self.make_timer(_CHECK_PERIOD_S, self._update_subscriptions)
        self._running = self._subscribed = False

    def open(self) -> None:
        """Make the publisher, and find the adapters of all kinds of results."""
        super().open()
        self._overlays = self.make_publisher("overlay", ImageAdapter())
        self._adapters: dict[str, Adapter[Any]] = {}
        for kind in RESULT_KINDS.rows().values():
            try:
                self._adapters[kind.topic] = result_adapter(kind)
            except PluginError as error:  # of another package; the other kinds are drawn
                self.report_error(error, "kind", lost=False)

    def start(self) -> None:
        """Subscribe to images and results as soon as there is a subscriber."""
        super().start()
        self._running = True
        self._update_subscriptions()

    def stop(self) -> None:
        """Drop the images."""
        self._running = self._subscribed = False
        super().stop()
        with self._images_lock:
            self._images.clear()

    def process(self, item: Result, settings: OverlaySettings) -> Frame:
        """Draw a result on the image with the same stamp."""
        with self._images_lock:
            image = self._images.pop(item.stamp_ns, None)
        if image is None:
            raise FrameDropped("no_image")
        drawn = draw(to_bgr(image), item)
        return Frame.from_array(drawn, "bgr8", item.stamp_ns, item.frame_id)

    def emit(self, output: Frame) -> None:
        """Publish the drawing."""
        self._overlays.publish(output)

    def _update_subscriptions(self) -> None:
        is_needed = self._running and self._overlays.has_subscribers()
        if is_needed and not self._subscribed:
            self._subscribe()
        elif self._subscribed and not is_needed:
            self.unsubscribe()
        self._subscribed = is_needed

    def _subscribe(self) -> None:
        subscribe_to_images(self, self._keep)
        for topic, adapter in self._adapters.items():
            self.subscribe_to(topic, adapter, self.receive)

    def _keep(self, image: Image, reception: Reception) -> None:
        del reception
        with self._images_lock:
            self._images.pop(image.stamp_ns, None)
            self._images[image.stamp_ns] = image
            size = sum(kept.data.nbytes for kept in self._images.values())
            while len(self._images) > 1 and (
                size > _MAX_BYTES or len(self._images) > self.parameters.current.history
            ):
                size -= self._images.popitem(last=False)[1].data.nbytes
