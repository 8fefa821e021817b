"""A foreign node on the ROS graph: plain rclpy in its own process, controlled by JSON lines.

It reads ``{"id": 1, "do": "subscribe", …}`` from stdin, answers ``{"id": 1, "result": …}``, and
reports each received message as ``{"topic": …, "message": …}``. It uses the message types of
edge_inference, but none of its code.
"""

from __future__ import annotations

import base64
import faulthandler
import importlib
import json
import sys
import threading
import zlib
from array import array
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterType
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

ANSWER_S = 120.0
ATTEMPTS = 12


# On SIGABRT the process prints the tracebacks of all threads.
faulthandler.enable()


class Outside:
    def __init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node("outside", start_parameter_services=False)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.lock = threading.Lock()
        self.subscriptions: dict[str, Any] = {}
        self.publishers: dict[str, Any] = {}
        self.clients: dict[str, AsyncParameterClient] = {}

    def run(self) -> None:
        threading.Thread(target=self.executor.spin, daemon=True).start()
        self.write({"ready": True})
        for line in sys.stdin:
            command = json.loads(line)
            number, name = command.pop("id"), command.pop("do")
            try:
                self.write({"id": number, "result": getattr(self, name)(**command)})
            except Exception as error:
                self.write({"id": number, "error": f"{type(error).__name__}: {error}"})

    def write(self, value: dict[str, Any]) -> None:
        with self.lock:
            sys.stdout.write(json.dumps(value) + "\n")
            sys.stdout.flush()

    # Topics -------------------------------------------------------------------------------------

    def subscribe(
        self, topic: str, type: str, reliable: bool = True, latched: bool = False
    ) -> None:
        def report(message: Any) -> None:
            self.write({"topic": topic, "message": plain(message)})

        self.subscriptions[topic] = self.node.create_subscription(
            import_message(type), topic, report, _qos(reliable, latched)
        )

    def unsubscribe(self, topic: str) -> None:
        self.node.destroy_subscription(self.subscriptions.pop(topic))

    def advertise(self, topic: str, type: str, reliable: bool = True) -> None:
        self.publishers[topic] = self.node.create_publisher(
            import_message(type), topic, _qos(reliable)
        )

    def publish(self, topic: str, fields: dict[str, Any]) -> None:
        publisher = self.publishers[topic]
        publisher.publish(fill(publisher.msg_type(), fields))

    def subscribers(self, topic: str) -> int:
        return int(self.publishers[topic].get_subscription_count())

    def listeners_are_reliable(self, topic: str) -> list[bool]:
        infos = self.node.get_subscriptions_info_by_topic(topic)
        return [info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in infos]

    def heard_publishers(self, topic: str) -> int:
        return int(self.subscriptions[topic].get_publisher_count())

    def reset(self) -> None:
        for topic in list(self.subscriptions):
            self.unsubscribe(topic)
        for publisher in self.publishers.values():
            self.node.destroy_publisher(publisher)
        self.publishers.clear()

    # Graph --------------------------------------------------------------------------------------

    def topics(self) -> dict[str, list[str]]:
        return dict(self.node.get_topic_names_and_types())

    def publisher_nodes(self, topic: str) -> list[str]:
        return [info.node_name for info in self.node.get_publishers_info_by_topic(topic)]

    def nodes(self) -> list[str]:
        return [
            f"{namespace.rstrip('/')}/{name}"
            for name, namespace in self.node.get_node_names_and_namespaces()
        ]

    def knows(self, name: str) -> bool:
        return name in self.node.get_node_names()

    # Parameters ---------------------------------------------------------------------------------

    def list_parameters(self, node: str) -> list[str]:
        return list(self.ask(node, "list_parameters").result.names)

    def describe_parameters(self, node: str, names: list[str]) -> list[dict[str, Any]]:
        answer = self.ask(node, "describe_parameters", names)
        return [plain(descriptor) for descriptor in answer.descriptors]

    def get_parameters(self, node: str, names: list[str]) -> list[Any]:
        values = self.ask(node, "get_parameters", names).values
        return [
            None
            if value.type == ParameterType.PARAMETER_NOT_SET
            else _json(parameter_value_to_python(value))
            for value in values
        ]

    def set_parameters(
        self, node: str, values: dict[str, Any], atomically: bool = False
    ) -> list[list[Any]]:
        parameters = [
            Parameter(name, Parameter.Type.NOT_SET if value is None else None, value)
            for name, value in values.items()
        ]
        call = "set_parameters_atomically" if atomically else "set_parameters"
        answer = self.ask(node, call, parameters)
        results = [answer.result] if atomically else answer.results
        return [[result.successful, result.reason] for result in results]

    def ask(self, node: str, call: str, *arguments: Any) -> Any:
        if node not in self.clients:
            self.clients[node] = AsyncParameterClient(self.node, node)
        client = self.clients[node]
        if not client.wait_for_services(ANSWER_S):
            raise TimeoutError(f"{node} has no parameter services")
        # A server that has not discovered the client's subscription drops its answer: ask again.
        for _ in range(ATTEMPTS):
            done = threading.Event()
            future = getattr(client, call)(*arguments)
            future.add_done_callback(lambda _, done=done: done.set())
            if done.wait(ANSWER_S / ATTEMPTS):
                return future.result()
        raise TimeoutError(f"{node} does not answer {call}")


def _qos(reliable: bool, latched: bool = False) -> QoSProfile:
    policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=100, reliability=policy, durability=durability)


def import_message(name: str) -> Any:
    """Return the class of ``package/Message``."""
    package, _, message = name.partition("/")
    return getattr(importlib.import_module(f"{package}.msg"), message)


def plain(value: Any) -> Any:
    """Return a message as JSON values; long byte arrays become their length and checksum."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, (bytes, bytearray)) or getattr(value, "typecode", "") == "B":
        raw = bytes(value)
        return raw[0] if len(raw) == 1 else {"bytes": len(raw), "crc32": zlib.crc32(raw)}
    if hasattr(value, "tolist"):
        return value.tolist()
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def fill(message: Any, fields: dict[str, Any]) -> Any:
    """Set fields of a message: byte arrays from base64 text, messages from objects and lists."""
    types = message.get_fields_and_field_types()
    for name, value in fields.items():
        if types[name] == "sequence<uint8>":
            value = array("B", base64.b64decode(value))
        elif isinstance(value, dict):
            value = fill(getattr(message, name), value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            element = import_message(types[name].removeprefix("sequence<").removesuffix(">"))
            value = [fill(element(), item) for item in value]
        setattr(message, name, value)
    return message


def _json(value: Any) -> Any:
    return list(value) if isinstance(value, (array, tuple)) else value


if __name__ == "__main__":
    Outside().run()
