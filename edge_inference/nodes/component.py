"""What every component has: live parameters, lifecycle, health on /diagnostics."""

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
from edge_inference.core.runtime.health import DUPLICATE_NODE_NAME, Health
from edge_inference.core.runtime.worker import Worker, format_error, report_failure
from edge_inference.core.settings import suggestion
from edge_inference.core.text_line import one_line
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.conversions.diagnostics import to_diagnostic_status
from edge_inference.nodes.parameters import NodeParameters

Object = TypeVar("Object")

DIAGNOSTICS_PERIOD_S = 1.0
FOLLOW_PERIOD_S = 0.25

#: For results and tensors: reliable, a little history.
RELIABLE = QoSProfile(depth=5)
#: For a state: who comes late gets the last one.
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
#: For words: a flood of others must not push stop out.
SPEECH = QoSProfile(depth=100)
#: For images (REP 2003).
SENSOR_DATA = qos_profile_sensor_data


class Component(LifecycleNode):
    """A lifecycle node with one settings class.

    A subclass gives ``default_name`` and ``settings_class`` and fills in
    ``open`` (make publishers, load models), ``start`` (let data flow), ``stop``
    and ``close``. Each may raise EdgeInferenceError, which fails the transition
    with its message. ``own_executor`` is for what has to act while others are flooded or busy:
    its callbacks run in a thread of its own. Keyword arguments are those of ``rclpy.node.Node``.
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
        self._publishers_made: list[Publisher[Any]] = []
        self._subscriptions_made: list[Subscription[Any]] = []
        self._follow_timer: Timer | None = None
        self._namesakes = 0
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnostics_timer = self.make_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)

    # For subclasses -----------------------------------------------------------------------------

    def accept(self, settings: Any) -> None:
        """Refuse settings by raising EdgeInferenceError; runs in the executor, so be quick."""

    def on_change(self, settings: Any) -> None:
        """Begin what changed settings ask for; runs in the executor, so be quick."""

    def open(self) -> None:
        """Acquire what the component needs."""

    def start(self) -> None:
        """Let data flow."""

    def stop(self) -> None:
        """Stop the flow; may be called without a start."""

    def close(self) -> None:
        """Free what ``open`` acquired; may be called after half an ``open``."""

    def now_ns(self) -> int:
        """Return the node clock's time (simulated time where ``use_sim_time`` is set)."""
        return int(self.get_clock().now().nanoseconds)

    def make_timer(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """Make a timer of real time, so that it also runs while simulated time stands still."""
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        return self.create_timer(period_s, self.guard(callback), clock=clock)

    def make_worker(self, work: Callable[[Worker], None]) -> Worker:
        """Start a thread that does ``work``; whatever that raises is shown, and it goes on."""
        return Worker(self.get_name(), work, self.report_exception)

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback whose failure is shown here, and troubles nobody who calls it."""

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
        self._publishers_made.append(publisher)
        return publisher

    def subscribe_to(
        self,
        topic: str,
        adapter: Adapter[Object],
        callback: Callable[[Object, bool], None],
        qos: QoSProfile = RELIABLE,
        match_reliability: bool = False,
        on_error: Callable[[EdgeInferenceError], None] | None = None,
        exclusive: bool = False,
    ) -> Subscription[Object]:
        """Make a subscription that lives until deactivation.

        With ``match_reliability`` it is reliable while all publishers are. Messages that cannot
        be read go to ``on_error``, without it to ``refuse``. Of an ``exclusive`` topic one
        publisher is heard, and others are an error on show.
        """
        subscription = Subscription(
            self,
            adapter,
            topic,
            self.guard(callback),
            self.guard(on_error or self.report_error),
            qos,
            match_reliability,
            self._tell_of_company if exclusive else None,
        )
        self._subscriptions_made.append(subscription)
        if match_reliability:
            subscription.match_publishers()
            if self._follow_timer is None:
                self._follow_timer = self.make_timer(FOLLOW_PERIOD_S, self._follow_publishers)
        return subscription

    def unsubscribe(self) -> None:
        """Close all subscriptions."""
        for subscription in self._subscriptions_made:
            subscription.close()
        self._subscriptions_made.clear()
        if self._follow_timer is not None:
            self.destroy_timer(self._follow_timer)
            self._follow_timer = None

    def _follow_publishers(self) -> None:
        for subscription in self._subscriptions_made:
            subscription.match_publishers()

    def _tell_of_company(self, message: str) -> None:
        if self.health.report_ongoing("publishers", message, time.monotonic_ns()):
            self.get_logger().error(message)

    def report_error(
        self, error: EdgeInferenceError, reason: str = "invalid", lost: bool = True
    ) -> None:
        """Count what went wrong and say why; the log gets each reason every 5 s at the most.

        ``lost`` tells whether it has cost a frame.
        """
        message = one_line(str(error))
        if self.health.count_error(reason, message, time.monotonic_ns(), lost):
            self.get_logger().error(message)

    def report_exception(
        self, error: BaseException, reason: str = "failed", lost: bool = False
    ) -> None:
        """Show what nobody foresaw as ``refuse`` does, with its traceback in the log."""
        if isinstance(error, EdgeInferenceError):
            self.report_error(error, reason, lost)
        elif self.health.count_error(
            reason, words := format_error(error), time.monotonic_ns(), lost
        ):
            self.get_logger().error("\n".join((words, *traceback.format_exception(error))))

    # Lifecycle ----------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open; on failure everything half-opened is closed again."""
        if not self._attempt(self.open):
            self._release()
            return TransitionCallbackReturn.FAILURE
        release_free_memory()
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start; on failure everything half-started is stopped again."""
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
        """Free everything, so that configure can be tried again."""
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
            # rclpy would swallow it without a word, or end with it.
            self.get_logger().error(traceback.format_exc())
            return self._show_fault(f"{action.__name__}: {format_error(error)}")
        self.health.set_fault("")
        return True

    def _warn_of_unknown_parameters(self) -> None:
        """Name what was given and is no parameter: ROS itself ignores it without a word."""
        # Of a topic's QoS each publisher asks for its own, some of them later.
        given, known = (
            {name for name in names if not name.startswith("qos_overrides.")}
            # A worker may declare others just now.
            for names in (list(self._parameter_overrides), list(self._parameters))
        )
        unknown = sorted(given - known)
        for name in unknown:
            self.get_logger().warning(
                f"parameter {name!r} is none of this node's and changes nothing"
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
        for publisher in self._publishers_made:
            publisher.close()
        self._publishers_made.clear()

    def _look_for_namesakes(self) -> None:
        """Tell of other nodes of our full name: what is meant for one of them reaches all."""
        name = (self.get_name(), self.get_namespace())
        namesakes = self.get_node_names_and_namespaces().count(name) - 1
        if namesakes > 0:
            words = (
                f"another node is called {self.get_fully_qualified_name()}: they mix their topics "
                "and parameters; end one of them, or start it with namespace:=<name> (launch "
                "files) or a ROS_DOMAIN_ID of its own (one that has crashed is known for some "
                "seconds)"
            )
            if self.health.report_ongoing(DUPLICATE_NODE_NAME, words, time.monotonic_ns()):
                self.get_logger().error(words)
        if namesakes != self._namesakes:
            self.health.note("other nodes of this name", str(namesakes))
        self._namesakes = namesakes

    def _publish_diagnostics(self) -> None:
        self._look_for_namesakes()
        status = self.health.status(time.monotonic_ns())
        name = self.get_fully_qualified_name()
        message = DiagnosticArray(status=[to_diagnostic_status(status, name, self.get_namespace())])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
