"""Overlays have no cost without a subscriber."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.composition.bus import Publisher
from edge_inference.core.images.frame import Frame
from edge_inference.core.results import DETECTION, Detections
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from rig import Outside, Rig, wait_for


class Scene:
    """Publishes images and what is in them."""

    def __init__(self, rig: Rig) -> None:
        self.rig, node = rig, rig.container.node
        self.images = rig.call(lambda: Publisher(node, ImageAdapter(), "/ai/image_raw", RELIABLE))
        self.results = rig.call(
            lambda: Publisher(node, result_adapter(DETECTION), "/ai/detections", RELIABLE)
        )
        self.node = node

    def show(self, with_image: bool = True) -> int:
        """Publish an image and a box in it, or the box alone; return the stamp."""
        stamp = self.node.get_clock().now().nanoseconds
        if with_image:
            image = np.zeros((60, 80, 3), np.uint8)
            self.images.publish(Frame.from_array(image, "bgr8", stamp, "cam"))
        box = np.array([[10, 20, 40, 50]], np.float32)
        one = np.ones(1, np.float32)
        found = Detections(box, one, np.zeros(1, np.int32), ("cup",), 80, 60, "m", stamp, "cam")
        self.results.publish(found)
        return stamp


@pytest.fixture
def scene(rig: Rig) -> Scene:
    return Scene(rig)


def test_without_a_subscriber_there_is_no_subscription(
    rig: Rig, scene: Scene, outside: Outside
) -> None:
    overlay = rig.load("Overlay")
    assert not scene.images.has_subscribers()
    scene.show()
    seen = outside.listen("/ai/overlay", "sensor_msgs/Image")
    wait_for(
        lambda: scene.images.has_subscribers() and scene.results.has_subscribers(),
        "the overlay listening",
    )
    rig.wait_for_subscribers(overlay, "/ai/overlay")
    stamp = scene.show()
    seen.wait()
    header = seen[0]["header"]
    assert header["stamp"]["sec"] * 10**9 + header["stamp"]["nanosec"] == stamp
    assert (seen[0]["width"], seen[0]["height"], seen[0]["encoding"]) == (80, 60, "bgr8")
    outside.unsubscribe(topic="/ai/overlay")
    wait_for(lambda: not scene.images.has_subscribers(), "the overlay to leave the images")
    wait_for(lambda: not scene.results.has_subscribers(), "the overlay to leave the results")


def test_drawn_by_reference(rig: Rig, scene: Scene) -> None:
    seen = rig.tap("/ai/overlay")
    rig.load("Overlay", when_full="wait")
    stamps = [scene.show() for _ in range(3)]
    seen.wait(3)
    assert [frame.stamp_ns for frame in seen] == stamps
    assert all(frame.data.any() for frame in seen)


def test_a_result_without_its_image_is_counted(rig: Rig, scene: Scene) -> None:
    seen = rig.tap("/ai/overlay")
    node = rig.load("Overlay", when_full="wait")
    scene.show(with_image=False)
    scene.show()
    seen.wait()
    assert node.health.drop_counts() == {"no_image": 1}
    assert node.health.status(0).values["processed"] == "1"


def test_only_so_many_images_are_kept(rig: Rig, scene: Scene) -> None:
    rig.tap("/ai/overlay")
    node = rig.load("Overlay", history=3)
    for stamp in range(1, 20):
        image = np.zeros((2, 2, 3), np.uint8)
        scene.images.publish(Frame.from_array(image, "bgr8", stamp))
    assert list(node._images) == [17, 18, 19]
    rig.call(node.trigger_deactivate)
    assert not node._images


def test_large_images_are_kept_as_far_as_their_bytes_go(
    rig: Rig, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_inference.nodes.perception.overlay._MAX_BYTES", 100)
    rig.tap("/ai/overlay")
    node = rig.load("Overlay", history=5)
    for stamps, side, kept in (
        ([1, 2, 3, 4], 3, [2, 3, 4]),  # 27 bytes each
        ([4, 4, 4], 3, [2, 3, 4]),  # of one stamp there is one
        ([5], 5, [5]),
        ([6], 9, [6]),  # larger than all may be together
        ([7], 2, [7]),
        ([8, 9, 10, 11, 12], 1, [8, 9, 10, 11, 12]),
    ):
        for stamp in stamps:
            image = np.zeros((side, side, 3), np.uint8)
            scene.images.publish(Frame.from_array(image, "bgr8", stamp))
        assert list(node._images) == kept


def test_deactivated_with_a_subscriber(rig: Rig, scene: Scene) -> None:
    seen = rig.tap("/ai/overlay")
    node = rig.load("Overlay", when_full="wait")
    rig.call(node.trigger_deactivate)
    wait_for(lambda: not scene.images.has_subscribers(), "the overlay listening no more")
    scene.show()
    rig.call(node._update_subscriptions)
    assert not node._subscribed
    rig.call(node.trigger_activate)
    stamp = scene.show()
    assert seen.wait()[0].stamp_ns == stamp
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_cleanup)
    rig.call(node._update_subscriptions)
