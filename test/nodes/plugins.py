"""Components for the tests, loaded as ``plugins::Name``."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from std_msgs.msg import Float32

from edge_inference.core.images.frame import Frame
from edge_inference.errors import ConfigError, ImageError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.stage import FrameDropped, Stage, StageSettings

NOT_A_NODE = 7


class NotANode:
    pass


class Plain(Node):
    """An unrelated third-party node: echoes numbers, fails on negative ones."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("plain", **arguments)
        self.declare_parameter("factor", 2.0)
        self.seen: list[float] = []
        self.output = self.create_publisher(Float32, "out", 10)
        self.create_subscription(Float32, "in", self.on_number, 10)

    def on_number(self, message: Float32) -> None:
        if message.data < 0:
            raise RuntimeError("a negative number")
        self.seen.append(message.data)
        self.output.publish(Float32(data=message.data * self.get_parameter("factor").value))


class Undisturbed(Plain):
    """What a busy neighbour must not hold up."""

    own_executor = True

    def on_number(self, message: Float32) -> None:
        if message.data < -1:
            raise SystemExit("gone")
        super().on_number(message)


class FailsToConstruct(Node):
    def __init__(self, **arguments: Any) -> None:
        super().__init__("half_made", **arguments)
        self.create_publisher(Float32, "half_made_topic", 10)
        raise RuntimeError("no such sensor")


class ExitsInConstructor(Node):
    def __init__(self, **arguments: Any) -> None:
        raise SystemExit(4)


class FailsToConfigure(Component):
    default_name = "fails_to_configure"
    settings_class = StageSettings

    def open(self) -> None:
        self.make_publisher("half_open", ImageAdapter())
        raise ConfigError("the lens cap is on; expected it off")


class RaisesInConfigure(Component):
    default_name = "raises_in_configure"
    settings_class = StageSettings

    def open(self) -> None:
        raise RuntimeError("a bug")


class FailsToActivate(Component):
    default_name = "fails_to_activate"
    settings_class = StageSettings

    def start(self) -> None:
        raise ConfigError("no power; expected 5 V")


class StrangerRaises(LifecycleNode):
    def __init__(self, **arguments: Any) -> None:
        super().__init__("stranger", **arguments)

    def on_configure(self, state: Any) -> Any:
        raise RuntimeError("a stranger's bug")


class Gate(Stage[Frame]):
    """Passes images on; holds each one back while ``gate`` is closed."""

    default_name = "gate"

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.gate = threading.Event()
        self.gate.set()
        self.working = threading.Semaphore(0)

    def open(self) -> None:
        super().open()
        self.output = self.make_publisher("passed", ImageAdapter())

    def start(self) -> None:
        super().start()
        self.subscribe_to("image_raw", ImageAdapter(), self.receive)

    def process(self, item: Frame, settings: StageSettings) -> Frame:
        self.working.release()
        self.gate.wait()
        if item.encoding == "broken":
            raise ImageError("encoding: expected one that works, got 'broken'")
        if item.encoding == "bug":
            raise ZeroDivisionError("a bug")
        if item.encoding == "exit":
            raise SystemExit("a library that ends its program")
        if item.encoding == "skip":
            raise FrameDropped("boring")
        return item

    def emit(self, output: Frame) -> None:
        self.output.publish(output)
