"""The overlay node: draws results on their images while there is a subscriber."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.reception import Reception
from edge_inference.core.images.encodings import to_bgr
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.image_file import encode_jpeg
from edge_inference.core.results import RESULT_KINDS, Result
from edge_inference.core.results.overlay import draw
from edge_inference.core.runtime.rate_limit import RateLimiter
from edge_inference.core.settings import setting
from edge_inference.errors import PluginError
from edge_inference.nodes.conversions.images import CompressedImageAdapter, ImageAdapter
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from edge_inference.nodes.perception.image_input import (
    Image,
    ImageSettings,
    subscribe_to_images,
)
from edge_inference.nodes.stage import FrameDropped, Stage, StageSettings

_CHECK_PERIOD_S = 0.5
_MAX_BYTES = 256 << 20
#: As image_transport writes it: the encoding of the image, then those of the file.
_JPEG_FORMAT = "bgr8; jpeg compressed bgr8"
_JPEG_QUALITY = 80


@dataclass(frozen=True)
class OverlaySettings(StageSettings, ImageSettings):
    """Parameters of the overlay node."""

    history: int = setting(
        12,
        "maximum number of images that wait for their result, in 256 MiB; the newest always stays",
        minimum=1,
        maximum=100,
    )
    compressed_rate_hz: float = setting(
        10.0,
        "maximum rate of overlay/compressed, for people who watch; each image costs its drawing "
        "and its compression",
        unit="Hz",
        minimum=0.1,
        maximum=1000.0,
    )


class Overlay(Stage[Any]):
    """Publishes /ai/overlay and /ai/overlay/compressed; without a subscriber it receives no images.

    Frames that nobody is to see are not drawn.
    """

    default_name = "overlay"
    default_namespace = "ai"
    settings_class = OverlaySettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._images_lock = threading.Lock()
        self._check_timer = self.make_timer(_CHECK_PERIOD_S, self._update_subscriptions)
        self._running = self._subscribed = False
        self._compressed_limiter = RateLimiter()

    def open(self) -> None:
        """Make the publishers, and find the adapters of all kinds of results."""
        super().open()
        self._overlays = self.make_publisher("overlay", ImageAdapter())
        self._compressed = self.make_publisher(
            f"{self._overlays.topic}/compressed", CompressedImageAdapter()
        )
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

    def receive(self, item: Result, reception: Reception) -> None:
        """Take a result whose drawing somebody is to see; the others are no drops."""
        if self._overlays.has_subscribers() or self._is_compressed_due():
            super().receive(item, reception)
        else:
            self._take_image(item.stamp_ns)

    def process(self, item: Result, settings: OverlaySettings) -> Frame:
        """Draw a result on the image with the same stamp."""
        image = self._take_image(item.stamp_ns)
        if image is None:
            raise FrameDropped("no_image")
        drawn = draw(to_bgr(image), item)
        return Frame.from_array(drawn, "bgr8", item.stamp_ns, item.frame_id)

    def emit(self, output: Frame) -> None:
        """Publish the drawing."""
        self._overlays.publish(output)
        # Where only the compressed ones are wanted, `receive` has limited the rate already.
        if self._compressed.has_subscribers() and (
            not self._overlays.has_subscribers() or self._is_compressed_due()
        ):
            data = encode_jpeg(output, _JPEG_QUALITY)
            compressed = CompressedFrame(data, _JPEG_FORMAT, output.stamp_ns, output.frame_id)
            self._compressed.publish(compressed)

    def _is_compressed_due(self) -> bool:
        rate_hz = self.parameters.current.compressed_rate_hz
        return self._compressed.has_subscribers() and self._compressed_limiter.admits(
            time.monotonic_ns(), rate_hz
        )

    def _take_image(self, stamp_ns: int) -> Image | None:
        with self._images_lock:
            return self._images.pop(stamp_ns, None)

    def _update_subscriptions(self) -> None:
        is_needed = self._running and (
            self._overlays.has_subscribers() or self._compressed.has_subscribers()
        )
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
