"""The subscription to images, raw or compressed, that several nodes share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.image_header import ImageBounds
from edge_inference.core.settings import setting
from edge_inference.nodes.component import RELIABLE, SENSOR_DATA, Component
from edge_inference.nodes.conversions.images import CompressedImageAdapter, ImageAdapter

Image = Frame | CompressedFrame


@dataclass(frozen=True)
class ImageSettings(ImageBounds):
    """How images arrive, and what one may cost."""

    image_transport: str = setting(
        "raw",
        "compressed listens on <image topic>/compressed for JPEG or PNG",
        choices=("raw", "compressed"),
        read_only=True,
    )
    image_reliability: str = setting(
        "auto",
        "QoS for images; auto is reliable while every publisher is, best effort otherwise",
        choices=("auto", "reliable", "best_effort"),
        read_only=True,
    )


def subscribe_to_images(
    component: Component, callback: Callable[[Image, bool], None], most: int = SENSOR_DATA.depth
) -> str:
    """Listen on ``image_raw``, as remapped, in the transport of the component's settings.

    Of images from outside no more than ``most`` wait in the middleware, which keeps room for
    one of the largest that ever came in each of their places. Returns the topic's full name.
    """
    settings = component.parameters.current
    topic = component.resolve_topic_name("image_raw")
    adapter: Adapter[Any] = ImageAdapter(settings)
    if settings.image_transport == "compressed":
        topic, adapter = f"{topic}/compressed", CompressedImageAdapter(settings)
    qos = copy.copy(RELIABLE if settings.image_reliability == "reliable" else SENSOR_DATA)
    qos.depth = min(qos.depth, most)
    follows = settings.image_reliability == "auto"
    component.subscribe_to(topic, adapter, callback, qos, match_reliability=follows)
    component.health.note("images from", topic)
    return topic
