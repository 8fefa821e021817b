"""The bus: by reference inside the process, as messages outside, never twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.bus import Bus, Publisher, Subscription
from edge_inference.core.images.frame import Frame
from edge_inference.errors import EdgeInferenceError, ImageError
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.results.depth import DepthAdapter
from rig import DEADLINE_S, Collected, Outside, Rig, as_base64, wait_for

TOPIC = "/images"
RELIABLE = QoSProfile(depth=100)
both_executors = pytest.mark.parametrize("rig", ["best", "single"], indirect=True)
_stamps = itertools.count(1)


class Spy(ImageAdapter):
    """Counts the messages that are built."""

    def __init__(self) -> None:
        super().__init__()
        self.built = 0

    def to_bytes(self, item: Frame) -> bytes:
        self.built += 1
        return super().to_bytes(item)


class Ends:
    """Publishers and subscriptions on the container's node, made in the executor's thread."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.node = rig, rig.container.node
        self.errors: list[EdgeInferenceError] = []

    def publisher(self, qos=RELIABLE, adapter: Adapter | None = None, topic=TOPIC) -> Publisher:
        return self.rig.call(lambda: Publisher(self.node, adapter or Spy(), topic, qos))

    def subscribe(
        self, qos=RELIABLE, adapter: Adapter | None = None, topic=TOPIC
    ) -> tuple[Subscription, Collected]:
        """Collect ``(item, by_reference)``."""
        seen = Collected()
        subscription = self.rig.call(
            lambda: Subscription(
                self.node,
                adapter or Spy(),
                topic,
                lambda item, reception: seen.take((item, reception.by_reference)),
                self.errors.append,
                qos,
            )
        )
        return subscription, seen


@pytest.fixture
def ends(rig: Rig) -> Ends:
    return Ends(rig)


def frame(stamp: int | None = None, pixels: bytes = b"\x01\x02\x03") -> Frame:
    image = np.frombuffer(pixels, np.uint8).reshape(1, -1, 3)
    return Frame.from_array(image, "bgr8", next(_stamps) if stamp is None else stamp, "cam")


def listening(publisher: Publisher, count: int) -> None:
    """Wait until the ROS publisher has this number of ROS subscriptions, including ours."""
    ros = publisher._ros
    wait_for(lambda: ros.get_subscription_count() == count, f"{count} subscriptions on {TOPIC}")


def stamps(messages: list) -> list[int]:
    return [message["header"]["stamp"]["nanosec"] for message in messages]


def drain(outside: Outside, listeners: int, *collections: Collected) -> None:
    """Send a last message; when it arrives, all earlier ones have arrived."""
    outside.speak(TOPIC, "sensor_msgs/Image", listeners=listeners)(
        header={"frame_id": "last"}, encoding="last"
    )
    for seen in collections:
        wait_for(lambda seen=seen: any(item.encoding == "last" for item, _ in seen), "the last")


def before_last(seen: Collected) -> list:
    return [(item, by_reference) for item, by_reference in seen if item.encoding != "last"]


@both_executors
def test_inside_a_process_the_object_itself_arrives_and_no_message_is_built(ends: Ends) -> None:
    publisher = ends.publisher()
    _, first = ends.subscribe()
    _, second = ends.subscribe()
    image = frame()
    publisher.publish(image)
    assert [(item is image, by) for item, by in first + second] == [(True, True)] * 2
    assert publisher._adapter.built == 0


def test_no_subscription(ends: Ends) -> None:
    publisher = ends.publisher()
    assert not publisher.has_subscribers()
    publisher.publish(frame())
    assert publisher._adapter.built == 0


def test_waiting_ends_when_every_subscription_outside_has_the_message(
    ends: Ends, outside: Outside
) -> None:
    publisher = ends.publisher()
    assert publisher.wait_until_received(0.0), "no message is on its way"
    messages = outside.listen(TOPIC, "sensor_msgs/Image")
    listening(publisher, 1)
    with outside.frozen():
        publisher.publish(frame())
        assert not publisher.wait_until_received(0.1)
    assert publisher.wait_until_received(DEADLINE_S)
    messages.wait(1)


@both_executors
def test_every_subscription_receives_once_while_others_come_and_go(
    ends: Ends, outside: Outside
) -> None:
    publisher = ends.publisher()
    _, early_seen = ends.subscribe()
    sent = [frame() for _ in range(10)]
    for image in sent[:3]:
        publisher.publish(image)
    stranger = outside.listen(TOPIC, "sensor_msgs/Image")
    listening(publisher, 2)
    for image in sent[3:5]:
        publisher.publish(image)
    _, late_seen = ends.subscribe()
    for image in sent[5:7]:
        publisher.publish(image)
    stranger.wait(4)
    outside.unsubscribe(topic=TOPIC)
    listening(publisher, 2)
    built = publisher._adapter.built
    for image in sent[7:]:
        publisher.publish(image)
    drain(outside, 2, early_seen, late_seen)
    assert stamps(stranger) == [image.stamp_ns for image in sent[3:7]]
    assert [item for item, _ in before_last(early_seen)] == sent
    assert [item for item, _ in before_last(late_seen)] == sent[5:]
    assert all(by_reference for _, by_reference in before_last(early_seen))
    assert built == publisher._adapter.built == 4
    assert ends.errors == []


@both_executors
def test_a_foreign_publisher_reaches_the_same_subscription_once(
    ends: Ends, outside: Outside
) -> None:
    _, seen = ends.subscribe()
    publish = outside.speak(TOPIC, "sensor_msgs/Image")
    for stamp in (1, 2, 3):
        publish(
            header={"stamp": {"nanosec": stamp}, "frame_id": "far"},
            height=1,
            width=1,
            step=3,
            encoding="rgb8",
            data=as_base64(b"abc"),
        )
    seen.wait(3)
    assert [(f.stamp_ns, f.frame_id, f.encoding, f.data.tobytes()) for f, _ in seen] == [
        (stamp, "far", "rgb8", b"abc") for stamp in (1, 2, 3)
    ]
    assert not any(by_reference for _, by_reference in seen)


def test_equal_content_from_inside_and_outside_arrives_as_often_as_it_was_sent(
    ends: Ends, outside: Outside
) -> None:
    first, second = ends.publisher(), ends.publisher()
    _, seen = ends.subscribe()
    stranger = outside.listen(TOPIC, "sensor_msgs/Image")
    listening(first, 2)
    listening(second, 2)
    publish = outside.speak(TOPIC, "sensor_msgs/Image", listeners=2)
    same = frame(stamp=5)
    for _ in range(3):
        first.publish(same)
        second.publish(same)
        publish(
            header={"stamp": {"nanosec": 5}, "frame_id": "cam"},
            height=1,
            width=1,
            step=3,
            encoding="bgr8",
            data=as_base64(b"\x01\x02\x03"),
        )
    stranger.wait(9)
    seen.wait(9)
    publish(encoding="last")
    seen.wait(10)
    assert len(seen) == 10
    assert sum(by_reference for _, by_reference in seen) == 6


def test_images_that_differ_in_the_middle_are_distinguished(ends: Ends, outside: Outside) -> None:
    def pixels(value: int) -> bytes:
        return bytes(900) + bytes([value] * 900) + bytes(900)

    publisher = ends.publisher()
    _, seen = ends.subscribe()
    stranger = outside.listen(TOPIC, "sensor_msgs/Image")
    listening(publisher, 2)
    publish = outside.speak(TOPIC, "sensor_msgs/Image", listeners=2)
    ours = frame(stamp=7, pixels=pixels(1))
    publisher.publish(ours)
    publish(
        header={"stamp": {"nanosec": 7}, "frame_id": "cam"},
        height=1,
        width=900,
        step=2700,
        encoding="bgr8",
        data=as_base64(pixels(2)),
    )
    stranger.wait(2)
    seen.wait(2)
    assert sorted(int(item.data[1000]) for item, _ in seen) == [1, 2]


def test_a_stock_subscription_in_the_container_is_served(ends: Ends, rig: Rig) -> None:
    publisher = ends.publisher()
    _, seen = ends.subscribe()
    stock = Collected()
    rig.call(lambda: ends.node.create_subscription(Image, TOPIC, stock.take, 10))
    publisher.publish(frame(stamp=9))
    stock.wait()
    assert stock[0].header.stamp.nanosec == 9
    assert [by_reference for _, by_reference in seen] == [True]


def test_incompatible_local_subscription_does_not_starve_others(
    ends: Ends, outside: Outside
) -> None:
    publisher = ends.publisher(QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT))
    _, seen = ends.subscribe(RELIABLE)
    stranger = outside.listen(TOPIC, "sensor_msgs/Image", reliable=False)
    listening(publisher, 1)
    wait_for(lambda: outside.heard_publishers(topic=TOPIC), "the stranger hearing us")
    for _ in range(20):
        publisher.publish(frame())
    stranger.wait(1)
    assert publisher._adapter.built == 20
    assert len(seen) == 20


def test_same_message_type_other_object(ends: Ends) -> None:
    """A depth map is not an image: an image subscription receives the message and converts it."""
    publisher = ends.publisher()
    _, depths = ends.subscribe(adapter=DepthAdapter())
    publisher.publish(frame())
    wait_for(lambda: ends.errors, "an error")
    assert isinstance(ends.errors[0], ImageError)
    assert "expected encoding 32FC1, got 'bgr8'" in str(ends.errors[0])
    assert depths == []


def test_late_subscription_gets_the_last_transient_local_message(ends: Ends) -> None:
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = ends.publisher(qos)
    publisher.publish(frame(stamp=3))
    _, seen = ends.subscribe(qos)
    seen.wait()
    assert [item.stamp_ns for item, _ in seen] == [3]


def test_tap_receives_all_objects(ends: Ends, rig: Rig) -> None:
    publisher = ends.publisher()
    received: list[Frame] = []
    leave = Bus.of(rig.context).tap(TOPIC, received.append)
    assert publisher.has_subscribers()
    image = frame()
    publisher.publish(image)
    leave()
    publisher.publish(frame())
    assert len(received) == 1 and received[0] is image
    assert not publisher.has_subscribers()
    assert publisher._adapter.built == 0


def test_failing_subscription_does_not_stop_the_others(
    ends: Ends, rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Frame) -> None:
        raise ZeroDivisionError("a listener's bug")

    publisher = ends.publisher()
    Bus.of(rig.context).tap(TOPIC, fail)
    _, seen = ends.subscribe()
    publisher.publish(frame())
    assert len(seen) == 1
    assert "a subscription on /images failed" in capfd.readouterr().err


def test_after_closing(ends: Ends, rig: Rig, outside: Outside) -> None:
    publisher = ends.publisher()
    subscription, seen = ends.subscribe()
    rig.call(subscription.close)
    publisher.publish(frame())
    wait_for(lambda: not publisher.has_subscribers(), "the subscription's end")
    rig.call(publisher.close)
    publisher.publish(frame())  # a worker may still finish its frame
    assert not publisher.has_subscribers()
    assert seen == []
    wait_for(lambda: TOPIC not in outside.topics(), f"{TOPIC} leaving the graph")


def test_invalid_bytes_are_a_message_error(ends: Ends) -> None:
    class Odd(ImageAdapter):
        def from_bytes(self, data: bytes) -> Frame:
            raise KeyError("a vendor's parser")

    publisher = ends.publisher()
    ends.subscribe(adapter=Odd())
    publisher.publish(frame())
    wait_for(lambda: ends.errors, "an error")
    assert "message on /images: expected Image, got " in str(ends.errors[0])


def test_contexts_are_separate(rig: Rig) -> None:
    other = Rig()
    try:
        assert Bus.of(rig.context) is Bus.of(rig.context)
        assert Bus.of(rig.context) is not Bus.of(other.context)
    finally:
        other.close()


def test_qos_overrides_of_one_node_leave_the_others_alone(rig: Rig) -> None:
    shared = QoSProfile(depth=5)
    override = ["-p", f"qos_overrides.{TOPIC}.publisher.reliability:=best_effort"]
    overridden = rig.load("plugins::Gate", *override, "-r", f"passed:={TOPIC}")
    assert overridden.output._qos.reliability == ReliabilityPolicy.BEST_EFFORT
    plain = rig.load("plugins::Gate", "-r", "__node:=plain", "-r", f"passed:={TOPIC}")
    assert plain.output._qos.reliability == ReliabilityPolicy.RELIABLE
    assert shared.reliability == ReliabilityPolicy.RELIABLE
