"""A flood on one topic, and a driver that measures how soon the robot stops."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.qos import QoSDurabilityPolicy, QoSProfile

from benchmarks.campaign_messages import serialize_filled
from benchmarks.spinning_node import SpinningNode
from edge_inference import msg
from edge_inference.core.images.frame import Frame
from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter

#: The topics of plans and transcripts; the driver uses them, so they are not flooded.
COMMAND_TOPICS = ("/ai/action_plan", "/ai/transcript")
_WAIT_S = 30.0
#: While intents are flooded, plans get through only now and then; a stop must, a start need not.
_SET_OFF_S = 150.0
_POLL_PERIOD_S = 0.001
_RETRY_PERIOD_S = 0.5
_MIN_SENT = 30
#: The distance of a plan.
DISTANCE_M = 5.0


class Flood(SpinningNode):
    """Publishes the worst messages of a type on a topic as fast as possible.

    With ``size`` it publishes one image of so many bytes repeatedly.
    """

    def __init__(self, topic: str, message_type: type[Any], size: int = 0) -> None:
        super().__init__()
        # A large invalid message, and valid ones as large as they may be.
        sizes = ((1 << 20, 4), (200, 500), (8, 4))
        self._messages = (
            [_image(size)] if size else [serialize_filled(message_type, *each) for each in sizes]
        )
        self._min_sent = 1 if size else _MIN_SENT
        # Transient local is compatible with subscriptions of either durability.
        qos = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = self.node.create_publisher(message_type, topic, qos)
        self._sent = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for_subscribers(self) -> None:
        """Return once the flood has begun."""
        end = time.monotonic() + _WAIT_S
        while self._sent < self._min_sent:
            if time.monotonic() > end:
                raise RuntimeError(f"no node subscribes to {self._publisher.topic_name}")
            time.sleep(_POLL_PERIOD_S)

    def sent(self) -> int:
        """Return the number of messages that were sent."""
        return self._sent

    def close(self) -> None:
        """Stop the flood and leave the graph."""
        self._ending.set()
        self._thread.join()
        super().close()

    def _run(self) -> None:
        while not self._ending.is_set():
            if not self._publisher.get_subscription_count():
                time.sleep(_POLL_PERIOD_S)
                continue
            for message in self._messages:
                try:
                    self._publisher.publish(message)
                except rclpy_implementation.RCLError:  # the queue of the middleware is full
                    time.sleep(_POLL_PERIOD_S)
                else:
                    self._sent += 1


def _image(size: int) -> bytes:
    side = math.isqrt(size // 3)
    pixels = np.zeros((side, side, 3), np.uint8)
    return ImageAdapter().to_bytes(Frame.from_array(pixels, "rgb8", 1))


class Driver(SpinningNode):
    """Drives the robot, says stop and measures when it stops."""

    def __init__(self) -> None:
        super().__init__()
        self._has_moved = threading.Event()
        self._has_stopped = threading.Event()
        self._plans = self.node.create_publisher(
            msg.ActionPlan, COMMAND_TOPICS[0], QoSProfile(depth=1)
        )
        self._transcripts = self.node.create_publisher(
            msg.Transcript, COMMAND_TOPICS[1], QoSProfile(depth=1)
        )
        self.node.create_subscription(Twist, "/cmd_vel", self._on_velocity, QoSProfile(depth=100))

    def wait_for_subscribers(self) -> None:
        """Return once plans and transcripts have subscribers."""
        end = time.monotonic() + _WAIT_S
        while not all(p.get_subscription_count() for p in (self._plans, self._transcripts)):
            if time.monotonic() > end:
                raise RuntimeError(f"no node subscribes to {' and '.join(COMMAND_TOPICS)}")
            time.sleep(_POLL_PERIOD_S)

    def stops_ms(self, count: int) -> list[float]:
        """Drive and stop ``count`` times; return the time from each stop word to zero velocity."""
        return [self._stop_ms() for _ in range(count)]

    def _set_off(self) -> None:
        self._has_moved.clear()
        end = time.monotonic() + _SET_OFF_S
        while True:
            step = ActionStep("move", distance_m=DISTANCE_M, speed_mps=0.3)
            plan = ActionPlan("move", (step,), self._now_ns())
            self._plans.publish(ActionPlanAdapter().to_message(plan))
            if self._has_moved.wait(_RETRY_PERIOD_S):
                return
            if time.monotonic() > end:
                raise RuntimeError(f"the robot did not set off within {_SET_OFF_S:g} s")

    def _stop_ms(self) -> float:
        self._set_off()
        self._has_stopped.clear()
        started = time.monotonic()
        word = Transcript("stop", 0.9, "command", self._now_ns(), True)
        self._transcripts.publish(TranscriptAdapter().to_message(word))
        if not self._has_stopped.wait(_WAIT_S):
            raise RuntimeError(f"the robot did not stop within {_WAIT_S:g} s")
        return (time.monotonic() - started) * 1e3

    def _now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def _on_velocity(self, velocity: Twist) -> None:
        (self._has_moved if velocity.linear.x else self._has_stopped).set()
