"""Subscribes to raw or compressed images; shared by several nodes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.reception import Reception
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.image_header import ImageBounds
from edge_inference.core.settings import setting
from edge_inference.nodes.component import RELIABLE, SENSOR_DATA, Component
from edge_inference.nodes.conversions.images import CompressedImageAdapter, ImageAdapter

Image = Frame | CompressedFrame


@dataclass(frozen=True)
class ImageSettings(ImageBounds):
    """The transport of images, and the limits of their cost."""

    image_transport: str = setting(
        "raw",
        "compressed subscribes to <image topic>/compressed for JPEG or PNG",
        choices=("raw", "compressed"),
        read_only=True,
    )
    image_reliability: str = setting(
        "auto",
        "QoS for images; auto: reliable while every publisher is reliable, else best effort",
        choices=("auto", "reliable", "best_effort"),
        read_only=True,
    )


def subscribe_to_images(
    component: Component,
    callback: Callable[[Image, Reception], None],
    max_depth: int = SENSOR_DATA.depth,
) -> str:
    """Subscribe to ``image_raw``, as remapped, in the transport of the component's settings.

    At most ``max_depth`` images from other processes wait in the middleware, which allocates the
    size of the largest image so far for each of them. Returns the topic's full name.
    """
    settings = component.parameters.current
    topic = component.resolve_topic_name("image_raw")
    adapter: Adapter[Any] = ImageAdapter(settings)
    if settings.image_transport == "compressed":
        topic, adapter = f"{topic}/compressed", CompressedImageAdapter(settings)
    qos = copy.copy(RELIABLE if settings.image_reliability == "reliable" else SENSOR_DATA)
    qos.depth = min(qos.depth, max_depth)
    follows = settings.image_reliability == "auto"
    component.subscribe_to(topic, adapter, callback, qos, match_reliability=follows)
    component.health.note("images from", topic)
    return topic
