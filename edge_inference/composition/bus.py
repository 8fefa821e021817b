"""Objects by reference inside a process, ROS messages to everybody else.

Nodes that share a ROS context share a bus. A publisher hands its object to
the bus subscriptions of the topic, in the caller's thread, and sends the ROS
message only when somebody else listens. To the outside both ends are
ordinary ROS publishers and subscriptions.

When a message is sent, DDS brings it to our own subscriptions too. They know
its bytes beforehand and drop them, so nobody receives anything twice. Bytes
work on every ROS distribution; the publisher's identity does not reach Python
before Kilted.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.qos_overriding_options import QoSOverridingOptions

from edge_inference.composition.adapter import Adapter
from edge_inference.errors import EdgeInferenceError

if TYPE_CHECKING:
    from rclpy.context import Context
    from rclpy.node import Node

Object = TypeVar("Object")
Fingerprint = tuple[int, bytes, bytes]

# How long our own message can take through DDS before it is taken for lost.
_EXPECT_NS = 2_000_000_000
_EXPECT_AT_MOST = 64


class Bus:
    """The topics of one context. Get it with :meth:`of`."""

    _buses: weakref.WeakKeyDictionary[Context, Bus] = weakref.WeakKeyDictionary()
    _buses_lock = threading.Lock()

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, context: Context) -> Bus:
        """Return the bus that all nodes of this context share."""
        with cls._buses_lock:
            return cls._buses.setdefault(context, cls())

    def tap(self, topic: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Listen to the objects on a resolved topic name without a ROS subscription.

        ``callback`` runs in the publisher's thread. Returns the function that
        ends it.
        """
        return self.topic(topic).add(_Receiver(callback, None))

    def topic(self, name: str) -> _Topic:
        """Return the topic of this resolved name, made at its first use."""
        with self._lock:
            return self._topics.setdefault(name, _Topic())


class Publisher(Generic[Object]):
    """Publishes objects of one adapter on one topic."""

    def __init__(self, node: Node, adapter: Adapter[Object], topic: str, qos: QoSProfile) -> None:
        self._node = node
        self._adapter = adapter
        self._ros = node.create_publisher(
            adapter.message_type,
            topic,
            qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.topic: str = self._ros.topic_name
        self._qos = self._ros.qos_profile
        self._topic = Bus.of(node.context).topic(self.topic)
        self._own: tuple[tuple[_Receiver, ...], int] = ((), 0)

    def publish(self, item: Object) -> None:
        """Hand the object over; it and its arrays must not change afterwards."""
        receivers = self._topic.receivers
        for receiver in receivers:
            receiver.deliver(item)
        if self._ros.get_subscription_count() > self._own_subscriptions(receivers):
            data = self._adapter.to_bytes(item)
            for receiver in receivers:
                receiver.expect(data)
            self._ros.publish(data)

    def is_wanted(self) -> bool:
        """Tell whether anybody listens, inside the process or outside."""
        return bool(self._topic.receivers) or self._ros.get_subscription_count() > 0

    def close(self) -> None:
        """Withdraw the ROS publisher."""
        self._node.destroy_publisher(self._ros)

    def _own_subscriptions(self, receivers: tuple[_Receiver, ...]) -> int:
        if receivers is not self._own[0]:
            self._own = (receivers, sum(r.is_matched_by(self._qos) for r in receivers))
        return self._own[1]


class Subscription(Generic[Object]):
    """Receives objects of one adapter from one topic, wherever the publisher is.

    ``callback(item, by_reference)`` runs in the publisher's thread when the
    object comes from this process, in the executor's otherwise; it must be
    quick and must not raise. ``on_error`` gets the errors of messages that
    cannot be turned into an object.
    """

    def __init__(
        self,
        node: Node,
        adapter: Adapter[Object],
        topic: str,
        callback: Callable[[Object, bool], None],
        on_error: Callable[[EdgeInferenceError], None],
        qos: QoSProfile,
    ) -> None:
        self._node = node
        self._adapter = adapter
        self._callback = callback
        self._on_error = on_error
        self._ros = node.create_subscription(
            adapter.message_type,
            topic,
            self._on_bytes,
            qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            raw=True,
        )
        self.topic: str = self._ros.topic_name
        self._receiver = _Receiver(lambda item: callback(item, True), self._ros.qos_profile)
        self._leave = Bus.of(node.context).topic(self.topic).add(self._receiver)

    def close(self) -> None:
        """Stop receiving and withdraw the ROS subscription."""
        self._leave()
        self._node.destroy_subscription(self._ros)

    def _on_bytes(self, data: bytes) -> None:
        if self._receiver.was_expected(data):
            return
        try:
            item = self._adapter.from_bytes(data)
        except EdgeInferenceError as error:
            self._on_error(error)
            return
        self._callback(item, False)


class _Topic:
    """The receivers on one topic; the tuple is only ever replaced, so reading needs no lock."""

    def __init__(self) -> None:
        self.receivers: tuple[_Receiver, ...] = ()
        self._lock = threading.Lock()

    def add(self, receiver: _Receiver) -> Callable[[], None]:
        with self._lock:
            self.receivers = (*self.receivers, receiver)
        return lambda: self._remove(receiver)

    def _remove(self, receiver: _Receiver) -> None:
        with self._lock:
            self.receivers = tuple(other for other in self.receivers if other is not receiver)


class _Receiver:
    """One end of a topic. ``qos`` is that of its ROS subscription, None where it has none."""

    def __init__(self, callback: Callable[[Any], None], qos: QoSProfile | None) -> None:
        self.deliver = callback
        self._qos = qos
        self._expected: deque[tuple[int, Fingerprint]] = deque(maxlen=_EXPECT_AT_MOST)
        self._lock = threading.Lock()

    def is_matched_by(self, publisher_qos: QoSProfile) -> bool:
        """Tell whether DDS connects a publisher of this QoS to our ROS subscription."""
        if self._qos is None:
            return False
        return qos_check_compatible(publisher_qos, self._qos)[0] != QoSCompatibility.ERROR

    def expect(self, data: bytes) -> None:
        """Note a message that was handed over already and will come again through DDS."""
        if self._qos is not None:
            with self._lock:
                self._expected.append((time.monotonic_ns(), _fingerprint(data)))

    def was_expected(self, data: bytes) -> bool:
        """Tell, once for each expectation, whether this message was handed over already."""
        if not self._expected:
            return False
        seen = _fingerprint(data)
        oldest = time.monotonic_ns() - _EXPECT_NS
        with self._lock:
            while self._expected and self._expected[0][0] < oldest:
                self._expected.popleft()
            for entry in self._expected:
                if entry[1] == seen:
                    self._expected.remove(entry)
                    return True
        return False


def _fingerprint(data: bytes) -> Fingerprint:
    # The stamp and frame lie at the start, the last pixels or numbers at the end.
    return len(data), data[:256], data[-64:]
