"""A node's part under the platform manager: hears directives, tells its workload."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_inference.composition.bus import Subscription
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
from edge_inference.core.models.model import PRECISIONS
from edge_inference.core.runtime.rate_limit import RateLimit
from edge_inference.core.runtime.work_meter import WorkMeter
from edge_inference.core.settings import setting
from edge_inference.core.text_line import one_line
from edge_inference.errors import InputError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.performance import DirectiveAdapter, WorkloadAdapter

#: What comes was thinned before; it must not be thinned twice because it jitters.
_TOLERANCE = 1.5


@dataclass(frozen=True)
class ThrottleClientSettings:
    """What a node lets the platform manager do with it."""

    safety_critical: bool = setting(
        False, "true: never asked to reduce, and refuses where it is asked all the same"
    )
    priority: int = setting(
        50, "among several nodes the higher one is reduced last", minimum=0, maximum=100
    )
    minimum_rate_hz: float = setting(
        1.0,
        "the least that this node can do with; it is never asked for less",
        unit="Hz",
        minimum=0.5,
        maximum=1000.0,
    )
    manager_timeout_s: float = setting(
        5.0,
        "after so long without a word from a manager that was there the safe level holds; a few "
        "times the period of its looks",
        unit="s",
        minimum=1.0,
        maximum=600.0,
    )
    safe_rate_hz: float = setting(
        5.0,
        "safe level: inferences per second at the most; 0 for no limit",
        unit="Hz",
        minimum=0.0,
        maximum=1000.0,
    )
    safe_precision: str = setting(
        "",
        "safe level: most expensive precision; empty for no limit",
        choices=("", *PRECISIONS),
    )

    def duty(self) -> FailsafePolicy:
        """Return when and how the node obeys."""
        safe = DirectiveLimits(
            max_rate_hz=self.safe_rate_hz or None, precision_ceiling=self.safe_precision
        )
        return FailsafePolicy(int(self.manager_timeout_s * 1e9), safe, self.safety_critical)


@dataclass(frozen=True)
class ServingState:
    """How a node can serve, the most accurate way first; ``used`` is an index or None.

    ``problem`` says why it does not serve in the way that is allowed.
    """

    operating_points: tuple[OperatingPoint, ...]
    used: int | None
    problem: str = ""


class ThrottleClient:
    """Belongs to a component whose settings are ``ManagedSettings``.

    ``changed`` is called in the executor when what holds has changed; ``serving``
    tells how the node can serve.
    """

    def __init__(
        self, node: Component, changed: Callable[[], None], serving: Callable[[], ServingState]
    ) -> None:
        self._node = node
        self._changed = changed
        self._serving = serving
        self._hearing: Subscription[Directive] | None = None
        self._batch = 1
        self._rate_limit = RateLimit(_TOLERANCE)
        self._receiving = threading.Lock()
        #: Held while what holds changes, and what follows from that is begun: directives come in
        #: the thread of whoever publishes them.
        self.changing = threading.RLock()
        self.meter = WorkMeter()
        self.in_force = ActiveDirective()

    @property
    def limits(self) -> DirectiveLimits:
        """What holds now."""
        return self.in_force.limits

    def open(self) -> None:
        """Make the publisher, and forget what was asked before."""
        self._obedience = DirectiveArbiter(self._node.get_fully_qualified_name())
        self.in_force = ActiveDirective()
        self.meter = WorkMeter()
        self._workloads = self._node.make_publisher("workload", WorkloadAdapter())

    def start(self) -> None:
        """Listen to the manager."""
        self._obedience.renew(time.monotonic_ns())
        self._hearing = self._node.subscribe_to(
            "performance_directive", DirectiveAdapter(), self._hear
        )

    def admits(self, batch: int, skipped: int) -> bool:
        """Tell whether a batch that has just come may be worked on.

        ``skipped`` is how many were given up upstream before it.
        """
        with self._receiving:
            now_ns = time.monotonic_ns()
            self._batch = batch
            self.meter.offer(now_ns, 1 + skipped)
            return self._rate_limit.admits(now_ns, self.limits.max_rate_hz)

    def tell(self) -> None:
        """See what holds by now, and publish the workload; called once a second, too.

        A node that hears nobody, as it is not active, has no manager to miss and no work to tell.
        """
        if self._hearing is None or not self._hearing.is_open:
            return
        with self.changing:
            before = self.in_force
            duty = self._node.parameters.current.duty()
            self.in_force = self._obedience.in_force(duty, time.monotonic_ns())
            self._show(before)
            if self.in_force.limits != before.limits:
                self._changed()
            self._publish()

    def _hear(self, directive: Directive, by_reference: bool) -> None:
        del by_reference
        if directive.problem and directive.node in ("", self._node.get_fully_qualified_name()):
            self._node.report_error(InputError(directive.problem), "directive", lost=False)
        with self.changing:
            self._obedience.hear(directive, time.monotonic_ns())
            before = self.in_force.directive
            duty = self._node.parameters.current.duty()
            now = self._obedience.in_force(duty, time.monotonic_ns()).directive
            asked = [each and (each.manager, each.id, each.node) for each in (before, now)]
            if asked[0] != asked[1]:
                self.tell()

    def _show(self, before: ActiveDirective) -> None:
        now = self.in_force
        directive = now.directive
        reason = directive.reason if directive is not None else now.problem
        self._node.health.note("obeys", f"{now.obeys}: {reason}" if reason else now.obeys)
        if now.obeys != before.obeys:
            words = f"obeys {now.obeys}: {reason}" if reason else f"obeys {now.obeys}"
            self._node.get_logger().info(one_line(words))
        if now.problem and now.problem != before.problem:
            self._node.get_logger().warning(one_line(now.problem))

    def _publish(self) -> None:
        settings = self._node.parameters.current
        now_ns = time.monotonic_ns()
        directive = self.in_force.directive
        serving = self._serving()
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
                operating_point=serving.used,
                directive_id=directive.id if directive is not None else 0,
                manager=directive.manager if directive is not None else "",
                limits=self.limits,
                obeys=self.in_force.obeys,
                problem="; ".join(filter(None, (serving.problem, self.in_force.problem))),
                stamp_ns=self._node.now_ns(),
            )
        )
