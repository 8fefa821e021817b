"""Compressed overlays: only while somebody watches, and at a limited rate."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edge_inference.nodes.perception import overlay
from rig import Outside, Rig, later, wait_for
from test_overlay_node import Scene

COMPRESSED = "/ai/overlay/compressed"


@pytest.fixture
def scene(rig: Rig) -> Scene:
    return Scene(rig)


def test_jpeg_for_another_process(rig: Rig, scene: Scene, outside: Outside) -> None:
    node = rig.load("Overlay")
    assert not scene.images.has_subscribers()
    seen = outside.listen(COMPRESSED, "sensor_msgs/CompressedImage")
    rig.wait_for_subscribers(node, COMPRESSED)
    wait_for(
        lambda: scene.images.has_subscribers() and scene.results.has_subscribers(),
        "the overlay listening",
    )
    stamp = scene.show()

    def is_shown(message: dict[str, Any]) -> bool:
        sent = message["header"]["stamp"]
        return sent["sec"] * 10**9 + sent["nanosec"] == stamp

    # An image of an earlier test may still be on its way.
    wait_for(lambda: any(map(is_shown, seen)), "the image")
    message = next(filter(is_shown, seen))
    assert message["header"]["frame_id"] == "cam"
    assert message["format"] == "bgr8; jpeg compressed bgr8"
    outside.unsubscribe(topic=COMPRESSED)
    wait_for(lambda: not scene.images.has_subscribers(), "the overlay to leave the images")


def test_what_is_drawn(rig: Rig, scene: Scene) -> None:
    seen = rig.tap(COMPRESSED)
    rig.load("Overlay")
    stamp = scene.show()
    (image,) = seen.wait()
    assert image.stamp_ns == stamp
    pixels = cv2.imdecode(np.asarray(image.data), cv2.IMREAD_COLOR)
    assert pixels.shape == (60, 80, 3)
    assert pixels.max() > 100


def test_the_rate_is_limited(rig: Rig, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    pass_s = later(monkeypatch, overlay)
    seen = rig.tap(COMPRESSED)
    node = rig.load("Overlay", when_full="wait", compressed_rate_hz=0.1)
    for _ in range(20):
        scene.show()
    seen.wait(2)  # one may come a period early
    # What nobody is to see is neither drawn nor dropped, and its image is not kept.
    assert node.health.drop_counts() == {}
    assert not node._images
    pass_s(11.0)
    stamp = scene.show()
    assert seen.wait(3)[2].stamp_ns == stamp
    assert len(seen) == 3
    assert node.health.status(0).values["processed"] == "3"


def test_both_topics(rig: Rig, scene: Scene) -> None:
    compressed, raw = rig.tap(COMPRESSED), rig.tap("/ai/overlay")
    rig.load("Overlay", when_full="wait", compressed_rate_hz=0.1)
    for _ in range(5):
        scene.show()
    raw.wait(5)
    assert len(compressed.wait(2)) == 2


def test_it_follows_the_name_of_the_overlay(rig: Rig, scene: Scene) -> None:
    seen = rig.tap("/drawn/compressed")
    rig.load("Overlay", "-r", "overlay:=/drawn")
    scene.show()
    seen.wait(1)


def test_the_rate_has_bounds(rig: Rig) -> None:
    node = rig.load("Overlay")
    descriptor = node.describe_parameter("compressed_rate_hz")
    assert (
        descriptor.floating_point_range[0].from_value,
        descriptor.floating_point_range[0].to_value,
    ) == (0.1, 1000.0)
    assert descriptor.description.endswith("[Hz]")
