"""The base class of all components: live parameters, lifecycle, health on /diagnostics."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.timer import Timer

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.allocator import release_free_memory
from edge_inference.composition.bus import Publisher, Subscription
from edge_inference.composition.reception import Reception
from edge_inference.core.extension_table import new_problems
from edge_inference.core.runtime.health import DUPLICATE_NODE_NAME, Health, HealthStatus
from edge_inference.core.runtime.worker import Worker, format_error, report_failure
from edge_inference.core.settings import suggestion
from edge_inference.core.text_line import one_line
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.conversions.diagnostics import to_diagnostic_status
from edge_inference.nodes.parameters import NodeParameters

Object = TypeVar("Object")

DIAGNOSTICS_PERIOD_S = 1.0
FOLLOW_PERIOD_S = 0.25

#: For results and tensors: reliable, with a short history.
RELIABLE = QoSProfile(depth=5)
#: For states: a late subscriber gets the last one.
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
#: For speech: many other messages must not displace a stop command.
SPEECH = QoSProfile(depth=100)
#: For images (REP 2003).
SENSOR_DATA = qos_profile_sensor_data


class Component(LifecycleNode):
    """A lifecycle node with one settings class.

    A subclass sets ``default_name`` and ``settings_class`` and implements
    ``open`` (make publishers, load models), ``start`` (start the data flow), ``stop``
    and ``close``. Each may raise EdgeInferenceError, which fails the transition
    with its message. With ``own_executor`` the callbacks run in a separate thread, for components
    that must act while others are busy. Keyword arguments are those of ``rclpy.node.Node``.
    """

    default_name = ""
    default_namespace = ""
    own_executor = False
    settings_class: type[Any]

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(self.default_name, namespace=self.default_namespace, **node_arguments)
        self.health = Health()
        try:
            self.parameters: NodeParameters[Any] = NodeParameters(
                self, self.settings_class, accept=self.accept, on_change=self.guard(self.on_change)
            )
        except EdgeInferenceError:
            super().destroy_node()
            raise
        self._own_publishers: list[Publisher[Any]] = []
        self._own_subscriptions: list[Subscription[Any]] = []
        self._follow_timer: Timer | None = None
        self._duplicates = 0
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnostics_timer = self.make_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)

    # For subclasses -----------------------------------------------------------------------------

    def accept(self, settings: Any) -> None:
        """Reject settings by raising EdgeInferenceError; runs in the executor, so be quick."""

    def on_change(self, settings: Any) -> None:
        """React to changed settings; runs in the executor, so be quick."""

    def open(self) -> None:
        """Acquire the resources of the component."""

    def start(self) -> None:
        """Start the data flow."""

    def stop(self) -> None:
        """Stop the data flow; may be called without ``start``."""

    def close(self) -> None:
        """Release what ``open`` acquired; may be called after an incomplete ``open``."""

    def now_ns(self) -> int:
        """Return the time of the node's clock (simulated time where ``use_sim_time`` is set)."""
        clock = self.get_clock()
        # The clock of every node is the system's, unless time is simulated; a call of rclpy's clock
        # takes several microseconds.
        return int(clock.now().nanoseconds) if clock.ros_time_is_active else time.time_ns()

    def clock_at_ns(self, steady_ns: int) -> int:
        """Return the time of the node's clock at a moment just before on the steady clock.

        A thread may wait for a core or for the interpreter between two readings.
        """
        now_ns = self.now_ns()
        return now_ns - (time.monotonic_ns() - steady_ns)

    def make_timer(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """Make a timer on the steady clock, which also runs while simulated time stands still."""
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        return self.create_timer(period_s, self.guard(callback), clock=clock)

    def make_worker(self, work: Callable[[Worker], None]) -> Worker:
        """Start a thread that runs ``work``; it reports exceptions and calls ``work`` again."""
        return Worker(self.get_name(), work, self.report_exception)

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback that reports its exceptions here instead of raising them."""

        @functools.wraps(callback)
        def call(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                report_failure(error, self.report_exception)

        return call

    def make_publisher(
        self, topic: str, adapter: Adapter[Object], qos: QoSProfile = RELIABLE
    ) -> Publisher[Object]:
        """Make a publisher that lives until cleanup."""
        publisher = Publisher(self, adapter, topic, qos)
        self._own_publishers.append(publisher)
        return publisher

    def subscribe_to(
        self,
        topic: str,
        adapter: Adapter[Object],
        callback: Callable[[Object, Reception], None],
        qos: QoSProfile = RELIABLE,
        match_reliability: bool = False,
        on_error: Callable[[EdgeInferenceError], None] | None = None,
        exclusive: bool = False,
    ) -> Subscription[Object]:
        """Make a subscription that lives until deactivation.

        With ``match_reliability`` it is reliable while all publishers are. Errors of messages
        that cannot be read go to ``on_error``, by default ``report_error``. An ``exclusive``
        subscription receives from one publisher only, and shows others as an error.
        """
        subscription = Subscription(
            self,
            adapter,
            topic,
            self._guard_subscription(callback),
            self.guard(on_error or self.report_error),
            qos,
            match_reliability,
            self._report_other_publishers if exclusive else None,
        )
        self._own_subscriptions.append(subscription)
        if match_reliability:
            subscription.match_publishers()
            if self._follow_timer is None:
                self._follow_timer = self.make_timer(FOLLOW_PERIOD_S, self._follow_publishers)
        return subscription

    def unsubscribe(self) -> None:
        """Close all subscriptions."""
        for subscription in self._own_subscriptions:
            subscription.close()
        self._own_subscriptions.clear()
        if self._follow_timer is not None:
            self.destroy_timer(self._follow_timer)
            self._follow_timer = None

    def _guard_subscription(
        self, callback: Callable[[Object, Reception], None]
    ) -> Callable[[Object, Reception], None]:
        """Return a callback like that of ``guard``, which also counts lost messages."""

        @functools.wraps(callback)
        def call(item: Object, reception: Reception) -> None:
            try:
                if reception.lost:
                    self.health.count_dropped("lost", reception.lost)
                callback(item, reception)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                report_failure(error, self.report_exception)

        return call

    def _follow_publishers(self) -> None:
        for subscription in self._own_subscriptions:
            subscription.match_publishers()

    def _report_other_publishers(self, message: str) -> None:
        if self.health.report_ongoing("publishers", message, time.monotonic_ns()):
            self.get_logger().error(message)

    def report_error(
        self, error: EdgeInferenceError, reason: str = "invalid", lost: bool = True
    ) -> None:
        """Count an error and show its message; the log gets each reason at most every 5 s.

        ``lost`` states whether a frame was lost by it.
        """
        message = one_line(str(error))
        if self.health.count_error(reason, message, time.monotonic_ns(), lost):
            self.get_logger().error(message)

    def report_exception(
        self, error: BaseException, reason: str = "failed", lost: bool = False
    ) -> None:
        """Report any exception like ``report_error``; logs the traceback of an unexpected one."""
        if isinstance(error, EdgeInferenceError):
            self.report_error(error, reason, lost)
        elif self.health.count_error(
            reason, text := format_error(error), time.monotonic_ns(), lost
        ):
            self.get_logger().error("\n".join((text, *traceback.format_exception(error))))

    # Lifecycle ----------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open; after a failure, release everything."""
        is_open = self._attempt(self.open)
        for problem in new_problems():
            self.get_logger().warning(one_line(problem))
        if not is_open:
            self._release()
            return TransitionCallbackReturn.FAILURE
        release_free_memory()
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start; after a failure, stop."""
        if not self._attempt(self.start):
            self._halt()
            return TransitionCallbackReturn.FAILURE
        self._warn_of_unknown_parameters()
        self.health.set_active(True)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop."""
        self._halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and close."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, so that configure can be tried again."""
        self._release()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stop, close and leave the graph."""
        try:
            self._release()
        finally:
            super().destroy_node()

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except EdgeInferenceError as error:
            return self._show_fault(str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # rclpy would ignore it silently, or end the process.
            self.get_logger().error(traceback.format_exc())
            return self._show_fault(f"{action.__name__}: {format_error(error)}")
        self.health.set_fault("")
        return True

    def _warn_of_unknown_parameters(self) -> None:
        """Log the given names that are not parameters: ROS itself ignores them silently."""
        # Each publisher declares its own qos_overrides, some of them later.
        given, known = (
            {name for name in names if not name.startswith("qos_overrides.")}
            # Copies, because a worker may declare parameters at the same time.
            for names in (list(self._parameter_overrides), list(self._parameters))
        )
        unknown = sorted(given - known)
        for name in unknown:
            self.get_logger().warning(
                f"parameter {name!r} is not a parameter of this node and has no effect"
                f"{suggestion(name, known)}"
            )
        if unknown:
            self.health.note("unknown parameters", ", ".join(unknown))

    def _show_fault(self, message: str) -> bool:
        self.health.set_fault(message)
        self.health.count_error("configuration", message, time.monotonic_ns(), lost=False)
        self.get_logger().error(message)
        return False

    def _halt(self) -> None:
        self.health.set_active(False)
        self.unsubscribe()
        self.stop()

    def _release(self) -> None:
        self._halt()
        self.close()
        for publisher in self._own_publishers:
            publisher.close()
        self._own_publishers.clear()

    def _check_node_name(self) -> None:
        """Report other nodes with the same full name: they receive the same messages."""
        name = (self.get_name(), self.get_namespace())
        duplicates = self.get_node_names_and_namespaces().count(name) - 1
        if duplicates > 0:
            message = (
                f"another node is called {self.get_fully_qualified_name()}: they share their "
                "topics and parameters; end one of them, or start it with namespace:=<name> "
                "(launch files) or with another ROS_DOMAIN_ID (a node that crashed stays in the "
                "graph for some seconds)"
            )
            if self.health.report_ongoing(DUPLICATE_NODE_NAME, message, time.monotonic_ns()):
                self.get_logger().error(message)
        if duplicates != self._duplicates:
            self.health.note("other nodes of this name", str(duplicates))
        self._duplicates = duplicates

    def _publish_diagnostics(self) -> None:
        self._check_node_name()
        status = self.health.status(time.monotonic_ns())
        self.publish_status(status, self.get_fully_qualified_name())

    def publish_status(self, status: HealthStatus, name: str) -> None:
        """Publish a status on /diagnostics under a name."""
        message = DiagnosticArray(status=[to_diagnostic_status(status, name, self.get_namespace())])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
