"""The processes of the hop benchmark: stock rclpy, a container, and an external subscriber."""

from __future__ import annotations

import threading
import time
from array import array
from typing import Any, NamedTuple

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from edge_inference.composition.allocator import keep_large_blocks
from edge_inference.composition.bus import Publisher, Subscription
from edge_inference.composition.container import Container, make_executor
from edge_inference.composition.reception import Reception
from edge_inference.core.images.frame import Frame
from edge_inference.core.runtime.mailbox import Mailbox
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.images import ImageAdapter

_TOPIC = "image"
_QOS = QoSProfile(depth=10)
_WAIT_S = 10.0
_POLL_PERIOD_S = 0.01


class Times(NamedTuple):
    """The times of one hop, in nanoseconds of one clock for all processes.

    ``stamp`` is that of the image. From ``prepared`` to ``started`` the pixels are converted to
    the argument of ``publish``; ``started`` and ``returned`` are before and after its call.
    """

    stamp: int
    prepared: int
    started: int
    received: int
    returned: int


class StockHop:
    """Two rclpy nodes on one executor."""

    def __init__(
        self, width: int, height: int, executor: str = "single", tuned: bool = False
    ) -> None:
        if tuned:
            keep_large_blocks()
        self._context = Context()
        rclpy.init(context=self._context)
        self._executor = (
            SingleThreadedExecutor(context=self._context)
            if executor == "single"
            else make_executor(self._context)
        )
        sender = Node("sender", context=self._context)
        receiver = Node("receiver", context=self._context)
        self._publisher = sender.create_publisher(Image, _TOPIC, _QOS)
        receiver.create_subscription(Image, _TOPIC, self._receive, _QOS)
        for node in (sender, receiver):
            self._executor.add_node(node)
        self._pixels = _pixels(width, height)
        self._message = self._fill()
        self._received = 0
        _wait_until(lambda: self._publisher.get_subscription_count() == 1)

    def wait_for_outside(self) -> None:
        """Return once the subscriber in another process is matched."""
        _wait_until(lambda: self._publisher.get_subscription_count() == 2)

    def run(self, count: int, fill: bool = False) -> list[Times]:
        """Send images one at a time; with ``fill``, make a new message from the pixels for each."""
        return [self._hop(fill) for _ in range(count)]

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._context.try_shutdown()

    def _fill(self) -> Image:
        """Make a message from the pixels, in the fastest way that is safe on every distribution."""
        height, width = self._pixels.shape[:2]
        data = array("B")
        data.frombytes(self._pixels.data.cast("B"))
        return Image(width=width, height=height, encoding="rgb8", step=width * 3, data=data)

    def _hop(self, fill: bool) -> Times:
        stamp = time.monotonic_ns()
        prepared = time.perf_counter_ns()
        if fill:
            self._message = self._fill()
        self._message.header = to_header(stamp, "camera")
        self._received = 0
        started = time.perf_counter_ns()
        self._publisher.publish(self._message)
        returned = time.perf_counter_ns()
        deadline = time.monotonic() + _WAIT_S
        while not self._received:
            self._executor.spin_once(timeout_sec=_WAIT_S)
            if time.monotonic() > deadline:
                raise RuntimeError("stock rclpy did not deliver an image")
        return Times(stamp, prepared, started, self._received, returned)

    def _receive(self, message: Image) -> None:
        self._received = time.perf_counter_ns()


class Sender(Node):
    """A component that publishes images."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("sender", **node_arguments)
        self.images = Publisher(self, ImageAdapter(), _TOPIC, _QOS)


class Receiver(Node):
    """A component that records the arrival of images, in the callback or in a worker thread."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("receiver", **node_arguments)
        self.through_thread = False
        self.received = 0
        self.twice = 0
        self.done = threading.Event()
        self._mailbox: Mailbox[Frame] = Mailbox()
        self._subscription = Subscription(
            self, ImageAdapter(), _TOPIC, self._receive, self._refuse, _QOS
        )
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def destroy_node(self) -> None:
        """End the worker."""
        self._mailbox.close()
        self._worker.join()
        self._subscription.close()
        super().destroy_node()

    def _receive(self, item: Frame, reception: Reception) -> None:
        arrived = time.perf_counter_ns()
        if not reception.by_reference:
            self.twice += 1  # the node's own message came back through DDS
        elif self.through_thread:
            self._mailbox.put(item)
        else:
            self.received = arrived
            self.done.set()

    def _work(self) -> None:
        while self._mailbox.take() is not None:
            self.received = time.perf_counter_ns()
            self.done.set()

    def _refuse(self, error: EdgeInferenceError) -> None:
        self.get_logger().error(str(error))


class ContainerHop:
    """Two nodes of a container, which spins in its own thread."""

    def __init__(self, width: int, height: int) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self._container = Container(self._context)
        components = [
            self._container.load(f"{__name__}::{name}", []) for name in ("Sender", "Receiver")
        ]
        self._sender: Any = components[0].node
        self._receiver: Any = components[1].node
        self._spinner = threading.Thread(target=self._container.spin, daemon=True)
        self._spinner.start()
        self._pixels = _pixels(width, height)

    def wait_for_outside(self) -> None:
        """Return once the subscriber in another process is matched."""
        name = self._sender.images.topic
        _wait_until(lambda: self._sender.count_subscribers(name) == 2)

    def run(self, count: int, through_thread: bool = False) -> list[Times]:
        """Send images one at a time."""
        self._receiver.through_thread = through_thread
        times = [self._hop() for _ in range(count)]
        if self._receiver.twice:
            raise RuntimeError(f"{self._receiver.twice} images were received twice")
        return times

    def close(self) -> None:
        """Unload everything."""
        self._container.stop()
        self._spinner.join()
        self._container.close()
        self._context.try_shutdown()

    def _hop(self) -> Times:
        receiver = self._receiver
        receiver.done.clear()
        stamp = time.monotonic_ns()
        prepared = time.perf_counter_ns()
        frame = Frame.from_array(self._pixels, "rgb8", stamp, "camera")
        started = time.perf_counter_ns()
        self._sender.images.publish(frame)
        returned = time.perf_counter_ns()
        if not receiver.done.wait(_WAIT_S):
            raise RuntimeError("the bus did not deliver an image")
        return Times(stamp, prepared, started, receiver.received, returned)


class Outside:
    """A stock subscription in a separate process."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        node = Node("outside", context=self._context)
        node.create_subscription(Image, _TOPIC, self._receive, _QOS)
        self._executor.add_node(node)
        self._stamp = self._arrived = 0

    def wait(self, stamp: int) -> int:
        """Spin until the image with this stamp arrives, and return its arrival time."""
        deadline = time.monotonic() + _WAIT_S
        while self._stamp != stamp:
            self._executor.spin_once(timeout_sec=_WAIT_S)
            if time.monotonic() > deadline:
                raise RuntimeError("an image did not reach the subscriber in another process")
        return self._arrived

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._context.try_shutdown()

    def _receive(self, message: Image) -> None:
        self._arrived = time.perf_counter_ns()
        self._stamp = stamp_ns(message.header)


def _pixels(width: int, height: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the nodes did not find each other")
        time.sleep(_POLL_PERIOD_S)
