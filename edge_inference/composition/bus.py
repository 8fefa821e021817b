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

import copy
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from rclpy.exceptions import InvalidHandle
from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.private_topics import PublisherFilter, RawCallback
from edge_inference.errors import EdgeInferenceError, InputError

if TYPE_CHECKING:
    from rclpy.context import Context
    from rclpy.node import Node

Object = TypeVar("Object")
Fingerprint = tuple[int, bytes, bytes, bytes]

# How long our own message can take through DDS before it is taken for lost.
_EXPECT_NS = 2_000_000_000
_EXPECT_AT_MOST = 64

_SAMPLES = 256


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
        return self.topic(topic).add(_Receiver(callback))

    def topic(self, name: str) -> _Topic:
        """Return the topic of this resolved name, made at its first use."""
        with self._lock:
            return self._topics.setdefault(name, _Topic())


class Publisher(Generic[Object]):
    """Publishes objects of one adapter on one topic."""

    def __init__(self, node: Node, adapter: Adapter[Object], topic: str, qos: QoSProfile) -> None:
        self._node = node
        self._adapter = adapter
        # A copy, because rclpy writes a node's qos_overrides into the profile that it is given.
        self._qos = copy.copy(qos)
        self._ros = node.create_publisher(
            adapter.message_type,
            topic,
            self._qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.topic: str = self._ros.topic_name
        self._topic = Bus.of(node.context).topic(self.topic)
        self._leave = self._topic.announce(node.get_fully_qualified_name())
        # Middleware keeps the last message for those who come later, so it has to get it.
        self._keeps_last = self._qos.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
        self._own = _Own((), (), ())
        self._closed = False

    def publish(self, item: Object) -> None:
        """Hand the object over; it and its arrays must not change afterwards.

        After ``close`` this does nothing: a worker may be finishing its frame.
        """
        if self._closed:
            return
        own = self._own_receivers()
        for receiver in own.all:
            self._deliver(receiver, item)
        try:
            if self._keeps_last or self._ros.get_subscription_count() > len(own.matched):
                data = self._adapter.to_bytes(item)
                for receiver in own.matched:
                    receiver.expect(data)
                self._ros.publish(data)
        except InvalidHandle:
            if not self._closed:
                raise

    def has_subscribers(self) -> bool:
        """Tell whether anybody listens, inside the process or outside."""
        return bool(self._own_receivers().all) or self._ros.get_subscription_count() > 0

    def close(self) -> None:
        """Withdraw the ROS publisher."""
        if not self._closed:
            self._leave()
        self._closed = True
        self._node.destroy_publisher(self._ros)

    def _deliver(self, receiver: _Receiver, item: Object) -> None:
        try:
            receiver.deliver(item)
        except Exception:
            # One listener's fault must not keep the frame from the others.
            self._node.get_logger().error(
                f"a listener on {self.topic} failed:\n{traceback.format_exc()}"
            )

    def _own_receivers(self) -> _Own:
        receivers = self._topic.receivers
        if receivers is not self._own.seen:
            fitting = tuple(r for r in receivers if r.takes(self._adapter))
            matched = tuple(r for r in fitting if r.is_matched_by(self._qos))
            self._own = _Own(receivers, fitting, matched)
        return self._own


class Subscription(Generic[Object]):
    """Receives objects of one adapter from one topic, wherever the publisher is.

    ``callback(item, by_reference)`` runs in the publisher's thread when the
    object comes from this process, in the executor's otherwise; it must be
    quick and must not raise. ``on_error`` gets the errors of messages that
    cannot be turned into an object. ``match_reliability`` lets
    :meth:`match_publishers` choose between reliable and best effort. With
    ``on_company`` the topic has one publisher, as ``OnePublisher`` says, and
    ``on_company`` is told of others.
    """

    def __init__(
        self,
        node: Node,
        adapter: Adapter[Object],
        topic: str,
        callback: Callable[[Object, bool], None],
        on_error: Callable[[EdgeInferenceError], None],
        qos: QoSProfile,
        match_reliability: bool = False,
        on_company: Callable[[str], None] | None = None,
    ) -> None:
        self._node = node
        self._adapter = adapter
        self._callback = callback
        self._on_company = on_company
        self._on_error = on_error
        self._closed = False
        self._qos = copy.copy(qos)  # as in Publisher
        self._ros = self._connect(topic, QoSOverridingOptions.with_default_policies())
        # A user's override that changed the reliability is the last word.
        self._follows = match_reliability and self._qos.reliability == qos.reliability
        self.topic: str = self._ros.topic_name
        self._topic = Bus.of(node.context).topic(self.topic)
        self._one: PublisherFilter | None = None
        if on_company is not None:
            self._one = PublisherFilter(
                node, self.topic, lambda: self._topic.publishers, on_company
            )
        self._receiver = _Receiver(lambda item: callback(item, True), adapter, self._qos)
        self._leave = self._topic.add(self._receiver)

    def match_publishers(self) -> None:
        """Be reliable while every publisher on the topic is, best effort otherwise.

        A reliable subscription gets nothing from a best-effort publisher; a
        best-effort one loses most images that are larger than the publisher's
        shared memory segment. Call this from the executor's thread now and then.
        """
        if not self._follows:
            return
        infos = self._node.get_publishers_info_by_topic(self.topic)
        offered = {info.qos_profile.reliability for info in infos}
        all_reliable = offered == {QoSReliabilityPolicy.RELIABLE}
        wanted = QoSReliabilityPolicy.RELIABLE if all_reliable else QoSReliabilityPolicy.BEST_EFFORT
        if offered and wanted != self._qos.reliability:
            # The old one goes first: with both, a message could be received twice.
            self._node.destroy_subscription(self._ros)
            self._qos.reliability = wanted
            self._ros = self._connect(self.topic, None)
            self._topic.refresh()

    @property
    def is_open(self) -> bool:
        """Whether anything can still come."""
        return not self._closed

    def close(self) -> None:
        """Stop receiving and withdraw the ROS subscription."""
        self._closed = True
        self._leave()
        self._node.destroy_subscription(self._ros)

    def _connect(self, topic: str, overriding: QoSOverridingOptions | None) -> Any:
        return self._node.create_subscription(
            self._adapter.message_type,
            topic,
            self._on_bytes if self._on_company is None else RawCallback(self._on_bytes),
            self._qos,
            qos_overriding_options=overriding,
            raw=True,
        )

    def _on_bytes(self, data: bytes, info: Any = None) -> None:
        if self._closed or self._receiver.was_expected(data):
            return
        if self._one is not None and not self._one.admits(info, time.monotonic_ns()):
            return
        try:
            item = self._adapter.from_bytes(data)
        except EdgeInferenceError as error:
            self._on_error(error)
        except Exception as error:
            # Whatever a sender puts into its bytes, it is an error of its message.
            self._on_error(
                InputError(
                    f"message on {self.topic}: expected {self._adapter.message_type.__name__}, got "
                    f"{len(data)} bytes that cannot be read: {type(error).__name__}: {error}"
                )
            )
        else:
            self._callback(item, False)


class _Own(NamedTuple):
    """Receivers of this process: the topic's at last look, those we hand over to, those on DDS."""

    seen: tuple[_Receiver, ...]
    all: tuple[_Receiver, ...]
    matched: tuple[_Receiver, ...]


class _Topic:
    """The ends of one topic; the tuples are only ever replaced, so reading needs no lock."""

    def __init__(self) -> None:
        self.receivers: tuple[_Receiver, ...] = ()
        #: Full names of the nodes of this process that publish.
        self.publishers: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def announce(self, node: str) -> Callable[[], None]:
        """Take note of a publisher; returns the function that withdraws it."""
        with self._lock:
            self.publishers = (*self.publishers, node)
        return lambda: self._withdraw(node)

    def add(self, receiver: _Receiver) -> Callable[[], None]:
        with self._lock:
            self.receivers = (*self.receivers, receiver)
        return lambda: self._remove(receiver)

    def refresh(self) -> None:
        """Make publishers look at the receivers again, because one's QoS has changed."""
        with self._lock:
            self.receivers = (*self.receivers,)  # equal, but not the same one

    def _withdraw(self, node: str) -> None:
        with self._lock:
            left = list(self.publishers)
            left.remove(node)
            self.publishers = tuple(left)

    def _remove(self, receiver: _Receiver) -> None:
        with self._lock:
            self.receivers = tuple(other for other in self.receivers if other is not receiver)


class _Receiver:
    """One end of a topic; a tap has neither adapter nor ROS subscription, and takes anything."""

    def __init__(
        self,
        callback: Callable[[Any], None],
        adapter: Adapter[Any] | None = None,
        qos: QoSProfile | None = None,
    ) -> None:
        self.deliver = callback
        self._adapter = adapter
        self._qos = qos
        self._expected: deque[tuple[int, Fingerprint]] = deque(maxlen=_EXPECT_AT_MOST)
        self._lock = threading.Lock()

    def takes(self, adapter: Adapter[Any]) -> bool:
        """Tell whether it understands the objects themselves; else it gets messages, if any."""
        return self._adapter is None or type(self._adapter) is type(adapter)

    def is_matched_by(self, publisher_qos: QoSProfile) -> bool:
        """Tell whether DDS connects a publisher of this QoS to our ROS subscription."""
        if self._qos is None:
            return False
        return qos_check_compatible(publisher_qos, self._qos)[0] != QoSCompatibility.ERROR

    def expect(self, data: bytes) -> None:
        """Note a message that was handed over already and will come again through DDS."""
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
    # The stamp and frame lie at the start, the last pixels or numbers at the end; samples between
    # tell images apart that share a stamp and a border.
    return len(data), data[:256], data[:: max(1, len(data) // _SAMPLES)], data[-64:]
