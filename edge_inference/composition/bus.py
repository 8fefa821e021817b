"""The bus: objects by reference inside a process, ROS messages to other processes.

Nodes that share a ROS context share a bus. A publisher passes its object to
the bus subscriptions of the topic, in the caller's thread, and publishes the ROS
message only if there are other subscriptions. Other processes see ordinary ROS
publishers and subscriptions.

DDS also delivers a published message to our own subscriptions. They know its
bytes in advance and drop it, so no subscription receives it twice. Comparing bytes
works on every ROS distribution; before Kilted, rclpy does not report the identity
of the publisher.
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

from rclpy.duration import Duration
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
from edge_inference.composition.private_topics import PublisherFilter
from edge_inference.composition.reception import (
    BY_REFERENCE,
    RawCallback,
    Reception,
    ReceptionLog,
)
from edge_inference.errors import EdgeInferenceError, InputError

if TYPE_CHECKING:
    from rclpy.context import Context
    from rclpy.node import Node

Object = TypeVar("Object")
Fingerprint = tuple[int, bytes, bytes, bytes]

# Our own message counts as lost if DDS has not delivered it after this time.
_EXPECTED_FOR_NS = 2_000_000_000
_MAX_EXPECTED = 64

_FINGERPRINT_SAMPLES = 256


class Bus:
    """The topics of one context. Get it with :meth:`of`."""

    _buses: weakref.WeakKeyDictionary[Context, Bus] = weakref.WeakKeyDictionary()
    _buses_lock = threading.Lock()

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._lock = threading.Lock()
        #: Called with topic and adapter of each new publisher, before it publishes.
        self.on_publisher: list[Callable[[str, Adapter[Any]], None]] = []

    @classmethod
    def of(cls, context: Context) -> Bus:
        """Return the bus that all nodes of this context share."""
        with cls._buses_lock:
            return cls._buses.setdefault(context, cls())

    def tap(self, topic: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Receive the objects on a resolved topic name without a ROS subscription.

        ``callback`` runs in the publisher's thread. Returns the function that
        ends the tap.
        """
        return self.topic(topic).add(_Receiver(callback))

    def publishers(self) -> tuple[str, ...]:
        """Return the full names of the nodes that publish."""
        with self._lock:
            topics = list(self._topics.values())
        return tuple(sorted({node for topic in topics for node in topic.publishers}))

    def topic(self, name: str) -> _Topic:
        """Return the topic of this resolved name; it is created at its first use."""
        with self._lock:
            return self._topics.setdefault(name, _Topic())


class Publisher(Generic[Object]):
    """Publishes objects of one adapter on one topic."""

    def __init__(self, node: Node, adapter: Adapter[Object], topic: str, qos: QoSProfile) -> None:
        self._node = node
        self._adapter = adapter
        # A copy, because rclpy writes a node's qos_overrides into the given profile.
        self._qos = copy.copy(qos)
        self._ros = node.create_publisher(
            adapter.message_type,
            topic,
            self._qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.topic: str = self._ros.topic_name
        bus = Bus.of(node.context)
        self._topic = bus.topic(self.topic)
        self._leave = self._topic.announce(node.get_fully_qualified_name())
        for callback in tuple(bus.on_publisher):
            callback(self.topic, adapter)
        # With transient local durability the middleware keeps the last message for subscriptions
        # that are created later, so each message must be published.
        self._keeps_last = self._qos.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
        self._local = _LocalReceivers((), (), ())
        self._closed = False

    def publish(self, item: Object) -> None:
        """Publish an object; it and its arrays must not change afterwards.

        After ``close`` this does nothing, because a worker may still finish its frame.
        """
        if self._closed:
            return
        local = self._find_local_receivers()
        for receiver in local.all:
            self._deliver(receiver, item)
        try:
            if self._keeps_last or self._ros.get_subscription_count() > len(local.matched):
                data = self._adapter.to_bytes(item)
                for receiver in local.matched:
                    receiver.expect_copy(data)
                self._ros.publish(data)
        except InvalidHandle:
            if not self._closed:
                raise

    def wait_until_received(self, timeout_s: float) -> bool:
        """Wait until every reliable subscription outside has all messages; False at the timeout.

        Messages that are still on their way are lost when the process ends.
        """
        try:
            return self._ros.wait_for_all_acked(Duration(seconds=timeout_s))
        except InvalidHandle:
            if not self._closed:
                raise
            return False

    def has_subscribers(self) -> bool:
        """Tell whether there is a subscription, inside the process or outside; none when closed."""
        if self._closed:
            return False
        try:
            return bool(self._find_local_receivers().all) or self._ros.get_subscription_count() > 0
        except InvalidHandle:
            if not self._closed:
                raise
            return False

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
            # An error in one subscription must not keep the frame from the others.
            self._node.get_logger().error(
                f"a subscription on {self.topic} failed:\n{traceback.format_exc()}"
            )

    def _find_local_receivers(self) -> _LocalReceivers:
        receivers = self._topic.receivers
        if receivers is not self._local.seen:
            by_reference = tuple(r for r in receivers if r.accepts_objects_of(self._adapter))
            matched = tuple(r for r in by_reference if r.is_matched_by(self._qos))
            self._local = _LocalReceivers(receivers, by_reference, matched)
        return self._local


class Subscription(Generic[Object]):
    """Receives objects of one adapter from one topic, from this process or from others.

    ``callback(item, reception)`` runs in the publisher's thread if the object
    comes from this process, else in the executor's thread; it must be quick and
    must not raise. ``on_error`` receives the errors of messages that cannot be
    converted. ``match_reliability`` lets :meth:`match_publishers` choose between
    reliable and best effort. With ``on_other_publishers`` the topic has one publisher,
    which a ``PublisherFilter`` chooses; it is called with a message about others.
    """

    def __init__(
        self,
        node: Node,
        adapter: Adapter[Object],
        topic: str,
        callback: Callable[[Object, Reception], None],
        on_error: Callable[[EdgeInferenceError], None],
        qos: QoSProfile,
        match_reliability: bool = False,
        on_other_publishers: Callable[[str], None] | None = None,
    ) -> None:
        self._node = node
        self._adapter = adapter
        self._callback = callback
        self._on_other_publishers = on_other_publishers
        self._on_error = on_error
        self._closed = False
        self._qos = copy.copy(qos)  # as in Publisher
        self._receptions = ReceptionLog(lambda: node.count_publishers(self.topic))
        self._ros = self._connect(topic, QoSOverridingOptions.with_default_policies())
        # A QoS override of the user takes precedence.
        self._matches_reliability = match_reliability and self._qos.reliability == qos.reliability
        self.topic: str = self._ros.topic_name
        self._topic = Bus.of(node.context).topic(self.topic)
        self._publisher_filter: PublisherFilter | None = None
        if on_other_publishers is not None:
            self._publisher_filter = PublisherFilter(
                node, self.topic, lambda: self._topic.publishers, on_other_publishers
            )
        self._receiver = _Receiver(lambda item: callback(item, BY_REFERENCE), adapter, self._qos)
        self._leave = self._topic.add(self._receiver)

    def match_publishers(self) -> None:
        """Be reliable while every publisher on the topic is reliable, else best effort.

        A reliable subscription receives nothing from a best-effort publisher; a
        best-effort one loses most images that are larger than the publisher's
        shared memory segment. Call this periodically from the executor's thread.
        """
        if not self._matches_reliability:
            return
        infos = self._node.get_publishers_info_by_topic(self.topic)
        offers = {info.qos_profile.reliability for info in infos}
        all_reliable = offers == {QoSReliabilityPolicy.RELIABLE}
        reliability = (
            QoSReliabilityPolicy.RELIABLE if all_reliable else QoSReliabilityPolicy.BEST_EFFORT
        )
        if offers and reliability != self._qos.reliability:
            # The old one is destroyed first: with both, a message could be received twice.
            self._node.destroy_subscription(self._ros)
            self._qos.reliability = reliability
            self._ros = self._connect(self.topic, None)
            self._topic.refresh()

    @property
    def is_open(self) -> bool:
        """Whether the subscription still receives."""
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
            RawCallback(self._on_bytes),
            self._qos,
            qos_overriding_options=overriding,
            raw=True,
        )

    def _on_bytes(self, data: bytes, info: Any = None) -> None:
        if self._closed or self._receiver.take_expected(data):
            return
        reception = self._receptions.add(info, time.time_ns())
        if self._publisher_filter is not None and not self._publisher_filter.accepts(
            info, time.monotonic_ns()
        ):
            return
        try:
            item = self._adapter.from_bytes(data)
        except EdgeInferenceError as error:
            self._on_error(error)
        except Exception as error:
            # Any exception here is caused by the bytes of the message.
            self._on_error(
                InputError(
                    f"message on {self.topic}: expected {self._adapter.message_type.__name__}, got "
                    f"{len(data)} bytes that cannot be read: {type(error).__name__}: {error}"
                )
            )
        else:
            self._callback(item, reception)


class _LocalReceivers(NamedTuple):
    """The receivers of this process.

    ``seen`` are those of the topic at the last check, ``all`` take our objects by reference,
    ``matched`` also receive our messages through DDS.
    """

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
        """Add a publisher; returns the function that removes it."""
        with self._lock:
            self.publishers = (*self.publishers, node)
        return lambda: self._withdraw(node)

    def add(self, receiver: _Receiver) -> Callable[[], None]:
        with self._lock:
            self.receivers = (*self.receivers, receiver)
        return lambda: self._remove(receiver)

    def refresh(self) -> None:
        """Make publishers check the receivers again, after a change of QoS."""
        with self._lock:
            self.receivers = (*self.receivers,)  # equal, but another tuple

    def _withdraw(self, node: str) -> None:
        with self._lock:
            left = list(self.publishers)
            left.remove(node)
            self.publishers = tuple(left)

    def _remove(self, receiver: _Receiver) -> None:
        with self._lock:
            self.receivers = tuple(other for other in self.receivers if other is not receiver)


class _Receiver:
    """A receiver of a topic; a tap has no adapter and no ROS subscription, and takes any object."""

    def __init__(
        self,
        callback: Callable[[Any], None],
        adapter: Adapter[Any] | None = None,
        qos: QoSProfile | None = None,
    ) -> None:
        self.deliver = callback
        self._adapter = adapter
        self._qos = qos
        self._expected_copies: deque[tuple[int, Fingerprint]] = deque(maxlen=_MAX_EXPECTED)
        self._lock = threading.Lock()

    def accepts_objects_of(self, adapter: Adapter[Any]) -> bool:
        """Tell whether it takes the objects of an adapter; else it receives messages."""
        return self._adapter is None or type(self._adapter) is type(adapter)

    def is_matched_by(self, publisher_qos: QoSProfile) -> bool:
        """Tell whether DDS connects a publisher of this QoS to our ROS subscription."""
        if self._qos is None:
            return False
        return qos_check_compatible(publisher_qos, self._qos)[0] != QoSCompatibility.ERROR

    def expect_copy(self, data: bytes) -> None:
        """Note a message that was passed by reference and will also arrive through DDS."""
        with self._lock:
            self._expected_copies.append((time.monotonic_ns(), _fingerprint(data)))

    def take_expected(self, data: bytes) -> bool:
        """Tell, once for each expected copy, whether this message was passed by reference."""
        if not self._expected_copies:
            return False
        fingerprint = _fingerprint(data)
        oldest = time.monotonic_ns() - _EXPECTED_FOR_NS
        with self._lock:
            while self._expected_copies and self._expected_copies[0][0] < oldest:
                self._expected_copies.popleft()
            for entry in self._expected_copies:
                if entry[1] == fingerprint:
                    self._expected_copies.remove(entry)
                    return True
        return False


def _fingerprint(data: bytes) -> Fingerprint:
    # The stamp and frame_id are at the start, the last pixels or numbers at the end; samples in
    # between distinguish images with equal stamps and borders.
    return len(data), data[:256], data[:: max(1, len(data) // _FINGERPRINT_SAMPLES)], data[-64:]
