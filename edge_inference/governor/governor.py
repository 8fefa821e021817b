"""The governor: one decision from one look at the machine and what its nodes say."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.core.directives.directive import DirectiveLevel, DirectiveLimits, Workload
from edge_inference.core.platform_state import PlatformState
from edge_inference.governor.acknowledgement import Acknowledgements
from edge_inference.governor.decision import GovernorDecision
from edge_inference.governor.directive_builder import everything, share_level, the_least
from edge_inference.governor.failsafe import SensorCoverage, SensorView, SensorWatch
from edge_inference.governor.orders import DirectiveBuilder, DirectiveRequest
from edge_inference.governor.outlook import TemperatureForecaster, worst_headroom
from edge_inference.governor.passing_time import Timestep
from edge_inference.governor.power_budget import PowerTracker, busy_share
from edge_inference.governor.power_fall import PowerFall
from edge_inference.governor.predictive import PredictivePreset
from edge_inference.governor.ramping import RampPreset
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.state import GovernorPlan, GovernorState
from edge_inference.governor.throttling import ThrottleWatch
from edge_inference.governor.verdict import Assessment

_PLANNERS: dict[str, type[RampPreset] | type[PredictivePreset]] = {
    "ramp": RampPreset,
    "predictive": PredictivePreset,
}
#: A general share that changes by less is not worth another directive.
_TOLERANCE = 0.1
_CRITICAL = "safety-critical: never asked to reduce"


class Governor:
    """Decides what is asked of inference nodes. ``settings`` may be replaced between decisions.

    ``manager`` is the name under which directives are sent; with it, a node that obeys another
    manager counts as one that does not obey.
    """

    def __init__(self, settings: GovernorSettings, manager: str = "") -> None:
        """Start with nothing seen and nothing asked."""
        self.settings = settings
        self._preset = ""
        self._planner: RampPreset | PredictivePreset = RampPreset()
        self._time = Timestep()
        self._sensors = SensorWatch()
        self._throttle = ThrottleWatch()
        self._forecaster = TemperatureForecaster()
        self._watts = PowerTracker()
        self._manager = manager
        self.trust_all()
        self._verdict = Assessment()
        self._orders = DirectiveBuilder()

    def trust_all(self) -> None:
        """Blame nobody for what was decided so far, as where nobody was told of it."""
        self._acknowledgements = Acknowledgements(self._manager)
        self._power_fall = PowerFall()

    def decide(
        self, state: PlatformState, workloads: Sequence[Workload], now_ns: int
    ) -> GovernorDecision:
        """Return what holds from now on. ``now_ns`` is on the clock of the readings' stamps."""
        settings = self.settings
        self._time.advance(now_ns)
        throttling = self._throttle.look(state, self._time.elapsed_s, settings.minimum_factor)
        view = self._sensors.look(state, now_ns, settings)
        situation = self._situation(state, view, workloads, now_ns)
        headroom = worst_headroom(situation.outlooks)
        if settings.preset == "off":
            return self._off(situation, headroom, throttling)
        planner = self._chosen_planner()
        if view.sight is SensorCoverage.WAITING and self._orders.asked:
            held = self._orders.repeat(but=_critical(workloads))
            return GovernorDecision(
                held, "warn", f"{view.problem}; what was asked holds", None, throttling
            )
        if view.sight not in (SensorCoverage.SENSED, SensorCoverage.UNMONITORED):
            planner.give_up(situation)
            return self._fail_safe(view, situation, throttling)
        plan = planner.plan(situation)
        self._check_power(plan, situation)
        severity, reason = self._verdict.of(plan, situation, view, throttling)
        level = share_level(plan.share, settings)
        general = DirectiveRequest("", level, plan.share, reason=plan.reason, tolerance=_TOLERANCE)
        directives = self._orders.directives([*plan.orders, *_critical(workloads), general])
        return GovernorDecision(
            directives, severity, reason, headroom, throttling, plan.clock_cap, plan.facts
        )

    def _situation(
        self, state: PlatformState, view: SensorView, workloads: Sequence[Workload], now_ns: int
    ) -> GovernorState:
        settings, time = self.settings, self._time
        busy = busy_share(workloads, settings)
        return GovernorState(
            settings=settings,
            time_s=time.time_s,
            elapsed_s=time.elapsed_s,
            outlooks=self._forecaster.look(
                view.heats, time.time_s, ahead_s=settings.forecast_s, jumped=time.jumped
            ),
            left=self._throttle.factor,
            watts=self._watts.look(state, busy, time.elapsed_s, now_ns, settings),
            workloads=workloads,
            escalations=self._acknowledgements.look(
                workloads,
                self._orders.asked,
                time.time_s,
                patience_s=settings.acknowledge_s,
                forgive_s=settings.dwell_up_s,
            ),
        )

    def _chosen_planner(self) -> RampPreset | PredictivePreset:
        if self.settings.preset != self._preset:
            self._planner = _PLANNERS[self.settings.preset]()
            self._preset = self.settings.preset
        return self._planner

    def _check_power(self, plan: GovernorPlan, situation: GovernorState) -> None:
        """Ask more of everybody where power stays up although it is hot."""
        power_w = situation.watts.power_w
        if not self._power_fall.is_missing(situation.time_s, plan.ordered_w, power_w):
            return
        target_c = self.settings.target_margin_c
        if any(each.ahead_c > each.heat.bounds.max_c - target_c for each in situation.outlooks):
            self._acknowledgements.distrust(
                order.node for order in plan.orders if order.level is not DirectiveLevel.FULL
            )

    def _off(
        self, situation: GovernorState, headroom: float | None, throttling: tuple[str, ...]
    ) -> GovernorDecision:
        reason = "the governor is off"
        orders = [everything(each, reason) for each in situation.workloads]
        orders.append(DirectiveRequest("", DirectiveLevel.FULL, 1.0, reason=reason))
        directives = self._orders.directives(orders)
        return GovernorDecision(
            directives, "warn" if throttling else "ok", reason, headroom, throttling
        )

    def _fail_safe(
        self, view: SensorView, situation: GovernorState, throttling: tuple[str, ...]
    ) -> GovernorDecision:
        settings = self.settings
        reason = f"the machine's heat is not known: {view.problem}"
        orders = [
            the_least(each, DirectiveLevel.FAILSAFE, settings, reason)
            for each in situation.flexible
        ]
        # For nodes that have not been heard of yet; soon they are asked by name.
        least = DirectiveLimits(max_rate_hz=settings.safe_rate_hz, max_batch=1)
        general = DirectiveRequest(
            "", DirectiveLevel.FAILSAFE, settings.minimum_factor, least, reason
        )
        orders += [*_critical(situation.workloads), general]
        return GovernorDecision(self._orders.directives(orders), "error", reason, None, throttling)


def _critical(workloads: Sequence[Workload]) -> list[DirectiveRequest]:
    """Ask nothing of critical nodes, by name, so that the general directive is not for them."""
    return [everything(each, _CRITICAL) for each in workloads if each.safety_critical]
