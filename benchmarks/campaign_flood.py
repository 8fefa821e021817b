"""A robot that is told to stop while somebody floods its other topics."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.qos import QoSDurabilityPolicy, QoSProfile

from benchmarks.campaign_messages import grown
from benchmarks.spinning_node import SpinningNode
from edge_inference import msg
from edge_inference.core.images.frame import Frame
from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter

#: Topics that the robot's plans and words come on; a flood of these is one of plans and words.
ITS_OWN = ("/ai/action_plan", "/ai/transcript")
_WAIT_S = 30.0
_LOOK_S = 0.001
_AGAIN_S = 0.5
_UNDER_WAY = 30
#: How far a plan has the robot go.
DISTANCE_M = 5.0


class Flood(SpinningNode):
    """Publishes the worst messages of a type on a topic, as fast as it can.

    With ``size`` it is one image of so many bytes, again and again.
    """

    def __init__(self, topic: str, message_type: type[Any], size: int = 0) -> None:
        super().__init__()
        # One that is large and wrong, and one that is good and as large as may be.
        sizes = ((1 << 20, 4), (200, 500), (8, 4))
        self._messages = [_image(size)] if size else [grown(message_type, *each) for each in sizes]
        self._enough = 1 if size else _UNDER_WAY
        # Whoever wants what was said before he came is served by this, and everybody else is.
        qos = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = self.node.create_publisher(message_type, topic, qos)
        self._sent = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_until_heard(self) -> None:
        """Return once the flood is under way."""
        end = time.monotonic() + _WAIT_S
        while self._sent < self._enough:
            if time.monotonic() > end:
                raise RuntimeError(f"nobody listens to {self._publisher.topic_name}")
            time.sleep(_LOOK_S)

    def sent(self) -> int:
        """Return how many messages have gone out to whoever listens."""
        return self._sent

    def close(self) -> None:
        """Stop, and leave the graph."""
        self._ending.set()
        self._thread.join()
        super().close()

    def _run(self) -> None:
        while not self._ending.is_set():
            if not self._publisher.get_subscription_count():
                time.sleep(_LOOK_S)
                continue
            for message in self._messages:
                try:
                    self._publisher.publish(message)
                except (
                    rclpy_implementation.RCLError
                ):  # whoever listens has as much to take as the middleware keeps
                    time.sleep(_LOOK_S)
                else:
                    self._sent += 1


def _image(size: int) -> bytes:
    side = math.isqrt(size // 3)
    pixels = np.zeros((side, side, 3), np.uint8)
    return ImageAdapter().to_bytes(Frame.from_array(pixels, "rgb8", 1))


class Driver(SpinningNode):
    """Has the robot move, says stop, and sees when it stands."""

    def __init__(self) -> None:
        super().__init__()
        self._moves = threading.Event()
        self._stands = threading.Event()
        self._plans = self.node.create_publisher(msg.ActionPlan, ITS_OWN[0], QoSProfile(depth=1))
        self._words = self.node.create_publisher(msg.Transcript, ITS_OWN[1], QoSProfile(depth=1))
        self.node.create_subscription(Twist, "/cmd_vel", self._on_velocity, QoSProfile(depth=100))

    def wait_until_heard(self) -> None:
        """Return once somebody listens to plans, and to words."""
        end = time.monotonic() + _WAIT_S
        while not all(p.get_subscription_count() for p in (self._plans, self._words)):
            if time.monotonic() > end:
                raise RuntimeError(f"nobody listens to {' and '.join(ITS_OWN)}")
            time.sleep(_LOOK_S)

    def stops_ms(self, count: int) -> list[float]:
        """Drive and stop so many times; return how long each stop took, from word to velocity."""
        return [self._stop_ms() for _ in range(count)]

    def _set_off(self) -> None:
        self._moves.clear()
        end = time.monotonic() + _WAIT_S
        while True:
            step = ActionStep("move", distance_m=DISTANCE_M, speed_mps=0.3)
            plan = ActionPlan("move", (step,), self._now_ns())
            self._plans.publish(ActionPlanAdapter().to_message(plan))
            if self._moves.wait(_AGAIN_S):
                return
            if time.monotonic() > end:
                raise RuntimeError(f"the robot did not set off within {_WAIT_S:g} s")

    def _stop_ms(self) -> float:
        self._set_off()
        self._stands.clear()
        started = time.monotonic()
        word = Transcript("stop", 0.9, "command", self._now_ns(), True)
        self._words.publish(TranscriptAdapter().to_message(word))
        if not self._stands.wait(_WAIT_S):
            raise RuntimeError(f"the robot did not stop within {_WAIT_S:g} s")
        return (time.monotonic() - started) * 1e3

    def _now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def _on_velocity(self, velocity: Twist) -> None:
        (self._moves if velocity.linear.x else self._stands).set()
