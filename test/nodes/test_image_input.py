"""Images arrive from publishers of any reliability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rclpy.qos import QoSReliabilityPolicy

from edge_inference.nodes.component import RELIABLE, SENSOR_DATA
from rig import Outside, Rig, as_base64, wait_for

TOPIC = "/camera/image_raw"
SIDE = 512


def make_image(stamp: int) -> dict[str, Any]:
    """Larger than the shared memory segment that DDS has by default."""
    return {
        "header": {"stamp": {"sec": stamp, "nanosec": 0}},
        "width": SIDE,
        "height": SIDE,
        "encoding": "bgr8",
        "step": SIDE * 3,
        "data": as_base64(bytes(SIDE * SIDE * 3)),
    }


def reliabilities(rig: Rig) -> list[QoSReliabilityPolicy]:
    infos = rig.container.node.get_subscriptions_info_by_topic(TOPIC)
    return [info.qos_profile.reliability for info in infos]


def listens(rig: Rig, reliability: QoSReliabilityPolicy) -> Callable[[], bool]:
    return lambda: reliabilities(rig) == [reliability]


def test_a_reliable_publisher_loses_nothing(rig: Rig, outside: Outside) -> None:
    node = rig.load("Preprocess", "-r", f"image_raw:={TOPIC}", queue_depth=100)
    assert listens(rig, QoSReliabilityPolicy.BEST_EFFORT)()
    tensors = rig.tap("/ai/tensor")
    publish = outside.speak_to_one_that_follows(TOPIC, "sensor_msgs/Image")
    rig.wait_for_publishers(node, TOPIC)
    for stamp in range(1, 21):
        publish(**make_image(stamp))
        tensors.wait(stamp)
    assert [tensor.stamp_ns // 10**9 for tensor in tensors] == list(range(1, 21))


def test_images_of_a_best_effort_publisher_are_received(rig: Rig, outside: Outside) -> None:
    node = rig.load("Preprocess", "-r", f"image_raw:={TOPIC}")
    tensors = rig.tap("/ai/tensor")
    outside.speak_to_one_that_follows(TOPIC, "sensor_msgs/Image")
    publish = outside.speak_to_one_that_follows(TOPIC, "sensor_msgs/Image", reliable=False)
    rig.wait_for_publishers(node, TOPIC)

    def arrives() -> bool:
        publish(**make_image(7))
        return bool(tensors)

    wait_for(arrives, "an image from the best-effort publisher")


def test_a_choice_of_the_user_is_kept(rig: Rig, outside: Outside) -> None:
    topic = f"image_raw:={TOPIC}"
    rig.load("Preprocess", "-r", topic, image_reliability="best_effort")
    rig.load("Preprocess", "-r", topic, "-r", "__node:=adapting")
    outside.speak(TOPIC, "sensor_msgs/Image", listeners=2)
    wait_for(lambda: QoSReliabilityPolicy.RELIABLE in reliabilities(rig), "the other's change")
    assert QoSReliabilityPolicy.BEST_EFFORT in reliabilities(rig)


def test_the_bounds_of_images_are_parameters(rig: Rig, outside: Outside) -> None:
    bounds = {"image_max_pixels": SIDE * SIDE - 1, "image_reliability": "reliable"}
    node = rig.load("Preprocess", "-r", f"image_raw:={TOPIC}", **bounds)
    publish = outside.speak(TOPIC, "sensor_msgs/Image")
    rig.wait_for_publishers(node, TOPIC)
    tensors = rig.tap("/ai/tensor")
    publish(**make_image(1))
    wait_for(lambda: node.health.drop_counts().get("invalid") == 1, "a refusal")
    small = {"width": 8, "height": 8, "step": 24, "data": as_base64(bytes(192))}
    publish(**{**make_image(2), **small})
    tensors.wait(1)
    assert [tensor.stamp_ns // 10**9 for tensor in tensors] == [2]


@pytest.mark.parametrize(("queue", "depth"), [(1, 1), (3, 3), (100, 5)])
@pytest.mark.parametrize("reliability", ["auto", "reliable", "best_effort"])
def test_no_more_images_wait_in_the_middleware_than_in_the_mailbox(
    rig: Rig, queue: int, depth: int, reliability: str
) -> None:
    """Each may be as large as a message can be."""
    place = ("-r", f"image_raw:={TOPIC}")
    settings = {"queue_depth": queue, "image_reliability": reliability}
    node = rig.load("Preprocess", *place, **settings)
    (images,) = [each for each in node.subscriptions if each.topic_name == TOPIC]
    assert images.qos_profile.depth == depth
    # What others listen with is not changed.
    assert (RELIABLE.depth, SENSOR_DATA.depth) == (5, 5)
