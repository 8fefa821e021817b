"""The subscription to pictures, raw or compressed, that several nodes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.core.frame import CompressedFrame, Frame
from edge_inference.core.settings import setting
from edge_inference.nodes.component import SENSOR_DATA, Component
from edge_inference.nodes.conversions.images import CompressedImageAdapter, ImageAdapter

Picture = Frame | CompressedFrame


@dataclass(frozen=True)
class PictureSettings:
    """How pictures arrive."""

    image_transport: str = setting(
        "raw",
        "compressed listens on <image topic>/compressed for JPEG or PNG",
        choices=("raw", "compressed"),
        read_only=True,
    )


def subscribe_to_pictures(component: Component, callback: Callable[[Picture, bool], None]) -> None:
    """Listen on ``image_raw``, as remapped, in the transport of the component's settings."""
    topic = component.resolve_topic_name("image_raw")
    adapter: Adapter[Any] = ImageAdapter()
    if component.parameters.current.image_transport == "compressed":
        topic, adapter = f"{topic}/compressed", CompressedImageAdapter()
    component.subscribe_to(topic, adapter, callback, SENSOR_DATA)
