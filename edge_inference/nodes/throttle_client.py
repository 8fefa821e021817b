"""The node side of throttling: receives directives and reports the workload."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_inference.composition.bus import Subscription
from edge_inference.composition.reception import Reception
from edge_inference.core.directives.directive import (
    Directive,
    DirectiveLimits,
    OperatingPoint,
    Workload,
)
from edge_inference.core.directives.directive_arbiter import (
    ActiveDirective,
    DirectiveArbiter,
    FailsafePolicy,
)
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.runtime.rate_limit import RateLimiter
from edge_inference.core.runtime.work_meter import WorkMeter
from edge_inference.core.settings import setting
from edge_inference.core.text_line import one_line
from edge_inference.errors import InputError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.performance import DirectiveAdapter, WorkloadAdapter

#: Upstream nodes limit the rate already; jitter must not make this node drop more.
_TOLERANCE = 1.5


@dataclass(frozen=True)
class ThrottleClientSettings:
    """How the platform manager may reduce a node."""

    safety_critical: bool = setting(
        False, "true: the manager never reduces this node, and the node refuses to be reduced"
    )
    priority: int = setting(
        50, "the manager reduces nodes of lower priority first", minimum=0, maximum=100
    )
    minimum_rate_hz: float = setting(
        1.0,
        "the lowest rate that the manager may ask of this node",
        unit="Hz",
        minimum=0.5,
        maximum=1000.0,
    )
    manager_timeout_s: float = setting(
        5.0,
        "time without a directive after which a manager is lost and the safe level applies; use a "
        "few times the manager's period",
        unit="s",
        minimum=1.0,
        maximum=600.0,
    )
    safe_rate_hz: float = setting(
        5.0,
        "safe level: maximum inferences per second; 0 for no limit",
        unit="Hz",
        minimum=0.0,
        maximum=1000.0,
    )
    safe_precision: str = setting(
        "",
        "safe level: most expensive precision; empty for no limit",
        choices=("", *PRECISIONS),
    )

    def failsafe_policy(self) -> FailsafePolicy:
        """Return when and how the node follows directives."""
        safe_limits = DirectiveLimits(
            max_rate_hz=self.safe_rate_hz or None, precision_ceiling=self.safe_precision
        )
        return FailsafePolicy(int(self.manager_timeout_s * 1e9), safe_limits, self.safety_critical)


@dataclass(frozen=True)
class ServingState:
    """The operating points of a node, the most accurate first, and the index of the one in use.

    ``operating_point`` is None while none of them is in use. ``problem`` says why the node does
    not serve as its limits require.
    """

    operating_points: tuple[OperatingPoint, ...]
    operating_point: int | None
    problem: str = ""


class ThrottleClient:
    """Belongs to a component whose settings include ``ThrottleClientSettings``.

    It calls ``on_change`` after the limits have changed, in the executor or in the thread of a
    manager in this process. It calls ``serving_state`` for the state that it publishes.
    """

    def __init__(
        self,
        node: Component,
        on_change: Callable[[], None],
        serving_state: Callable[[], ServingState],
    ) -> None:
        self._node = node
        self._on_change = on_change
        self._serving_state = serving_state
        self._subscription: Subscription[Directive] | None = None
        self._batch = 1
        self._rate_limiter = RateLimiter(_TOLERANCE)
        self._admit_lock = threading.Lock()
        #: Held while the limits change and ``on_change`` runs: an intra-process publisher
        #: delivers a directive in its own thread.
        self.lock = threading.RLock()
        self.meter = WorkMeter()
        self.active = ActiveDirective()

    @property
    def limits(self) -> DirectiveLimits:
        """The limits that apply now."""
        return self.active.limits

    def open(self) -> None:
        """Create the publisher and forget all earlier directives."""
        self._arbiter = DirectiveArbiter(self._node.get_fully_qualified_name())
        self.active = ActiveDirective()
        self.meter = WorkMeter()
        self._workloads = self._node.make_publisher("workload", WorkloadAdapter())

    def start(self) -> None:
        """Subscribe to directives."""
        self._arbiter.restart_timeouts(time.monotonic_ns())
        self._subscription = self._node.subscribe_to(
            "performance_directive", DirectiveAdapter(), self._receive
        )

    def admits(self, batch: int, skipped: int) -> bool:
        """Tell whether the node may process a batch that has just arrived.

        ``skipped`` is the number of batches that upstream nodes dropped before it.
        """
        with self._admit_lock:
            now_ns = time.monotonic_ns()
            self._batch = batch
            self.meter.record_offered(now_ns, 1 + skipped)
            return self._rate_limiter.admits(now_ns, self.limits.max_rate_hz)

    def demand_hz(self, now_ns: int) -> float | None:
        """Return the rate of offered items within the limits; None before the first one."""
        demand_hz, max_rate_hz = self.meter.demand_hz(now_ns), self.limits.max_rate_hz
        if demand_hz is None or max_rate_hz is None:
            return demand_hz
        return min(demand_hz, max_rate_hz)

    def update(self) -> None:
        """Apply the limits of this moment and publish the workload; also called once a second.

        An inactive node has no subscription: it misses no manager and has no workload to report.
        """
        with self.lock:
            if self._subscription is None or not self._subscription.is_open:
                return
            before = self.active
            policy = self._node.parameters.current.failsafe_policy()
            self.active = self._arbiter.resolve(policy, time.monotonic_ns())
            self._report_change(before)
            if self.active.limits != before.limits:
                self._on_change()
            self._publish()

    def _receive(self, directive: Directive, reception: Reception) -> None:
        del reception
        if directive.problem and directive.node in ("", self._node.get_fully_qualified_name()):
            self._node.report_error(InputError(directive.problem), "directive", lost=False)
        with self.lock:
            self._arbiter.receive(directive, time.monotonic_ns())
            before = self.active.directive
            policy = self._node.parameters.current.failsafe_policy()
            now = self._arbiter.resolve(policy, time.monotonic_ns()).directive
            keys = [each and (each.manager, each.id, each.node) for each in (before, now)]
            if keys[0] != keys[1]:
                self.update()

    def _report_change(self, before: ActiveDirective) -> None:
        now = self.active
        directive = now.directive
        reason = directive.reason if directive is not None else now.problem
        source = f"{now.limits_source}: {reason}" if reason else now.limits_source
        self._node.health.note("limits_source", source)
        if now.limits_source != before.limits_source:
            self._node.get_logger().info(one_line(f"limits from {source}"))
        if now.problem and now.problem != before.problem:
            self._node.get_logger().warning(one_line(now.problem))

    def _publish(self) -> None:
        settings = self._node.parameters.current
        now_ns = time.monotonic_ns()
        directive = self.active.directive
        serving = self._serving_state()
        self._workloads.publish(
            Workload(
                node=self._node.get_fully_qualified_name(),
                priority=settings.priority,
                safety_critical=settings.safety_critical,
                demand_hz=self.meter.demand_hz(now_ns),
                rate_hz=self.meter.rate_hz(now_ns),
                minimum_rate_hz=settings.minimum_rate_hz,
                batch=self._batch,
                operating_points=serving.operating_points,
                operating_point=serving.operating_point,
                directive_id=directive.id if directive is not None else 0,
                manager=directive.manager if directive is not None else "",
                limits=self.limits,
                limits_source=self.active.limits_source,
                problem="; ".join(filter(None, (serving.problem, self.active.problem))),
                stamp_ns=self._node.now_ns(),
            )
        )
