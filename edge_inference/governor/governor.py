"""The governor: makes one decision from the state of the machine and the workloads of its nodes."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.core.directives.directive import DirectiveLevel, DirectiveLimits, Workload
from edge_inference.core.platform_state import PlatformState
from edge_inference.governor.acknowledgement import Acknowledgements
from edge_inference.governor.directive_builder import (
    DirectiveBuilder,
    DirectiveRequest,
    level_of_factor,
    request_full,
    request_minimum,
)
from edge_inference.governor.failsafe import SensorCoverage, SensorView, SensorWatch
from edge_inference.governor.power_budget import PowerTracker, total_utilization
from edge_inference.governor.power_model import PowerDropCheck
from edge_inference.governor.predictive import PredictivePreset
from edge_inference.governor.ramp import RampPreset
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.state import (
    Assessment,
    GovernorDecision,
    GovernorPlan,
    GovernorState,
)
from edge_inference.governor.temperature_forecast import (
    TemperatureForecaster,
    Timestep,
    worst_headroom,
)
from edge_inference.governor.throttling import ThrottleWatch

_PRESETS: dict[str, type[RampPreset] | type[PredictivePreset]] = {
    "ramp": RampPreset,
    "predictive": PredictivePreset,
}
#: A smaller change of the general factor does not make a new directive.
_TOLERANCE = 0.1
_CRITICAL = "safety-critical: never reduced"


class Governor:
    """Decides the directives for inference nodes. ``settings`` may change between decisions.

    ``manager`` is the name under which directives are sent. A node that follows another manager
    counts as one that does not follow its directive.
    """

    def __init__(self, settings: GovernorSettings, manager: str = "") -> None:
        """Start without history."""
        self.settings = settings
        self._preset_name = ""
        self._preset: RampPreset | PredictivePreset = RampPreset()
        self._timestep = Timestep()
        self._sensors = SensorWatch()
        self._throttle = ThrottleWatch()
        self._forecaster = TemperatureForecaster()
        self._power = PowerTracker()
        self._manager = manager
        self.reset_escalations()
        self._assessment = Assessment()
        self._builder = DirectiveBuilder()

    def reset_escalations(self) -> None:
        """Forget who did not follow earlier directives; call this when none were sent."""
        self._acknowledgements = Acknowledgements(self._manager)
        self._power_drop = PowerDropCheck()

    def decide(
        self, platform: PlatformState, workloads: Sequence[Workload], now_ns: int
    ) -> GovernorDecision:
        """Return the decision from now on. ``now_ns`` is on the clock of the readings' stamps."""
        settings = self.settings
        self._timestep.advance(now_ns)
        elapsed_s = self._timestep.elapsed_s
        throttling = self._throttle.update(platform, elapsed_s, settings.minimum_factor)
        view = self._sensors.update(platform, now_ns, settings)
        state = self._make_state(platform, view, workloads, now_ns)
        headroom = worst_headroom(state.forecasts)
        if settings.preset == "off":
            return self._decide_off(state, headroom, throttling)
        preset = self._select_preset()
        if view.coverage is SensorCoverage.WAITING and self._builder.last:
            directives = self._builder.repeat(_request_critical(workloads))
            reason = f"{view.problem}; the last directives stay in force"
            return GovernorDecision(directives, "warn", reason, None, throttling)
        if view.coverage not in (SensorCoverage.SENSED, SensorCoverage.UNMONITORED):
            preset.enter_failsafe(state)
            return self._decide_failsafe(view, state, throttling)
        plan = preset.plan(state)
        self._check_power_drop(plan, state)
        severity, reason = self._assessment.assess(plan, state, view, throttling)
        general = DirectiveRequest(
            "",
            level_of_factor(plan.default_factor, settings),
            plan.default_factor,
            reason=plan.reason,
            tolerance=_TOLERANCE,
        )
        directives = self._builder.build([*plan.requests, *_request_critical(workloads), general])
        return GovernorDecision(
            directives, severity, reason, headroom, throttling, plan.clock_cap, plan.diagnostics
        )

    def _make_state(
        self,
        platform: PlatformState,
        view: SensorView,
        workloads: Sequence[Workload],
        now_ns: int,
    ) -> GovernorState:
        settings, timestep = self.settings, self._timestep
        utilization = total_utilization(workloads, settings)
        return GovernorState(
            settings=settings,
            time_s=timestep.time_s,
            elapsed_s=timestep.elapsed_s,
            forecasts=self._forecaster.update(
                view.zones, timestep.time_s, ahead_s=settings.forecast_s, jumped=timestep.jumped
            ),
            throttle_factor=self._throttle.factor,
            power=self._power.update(platform, utilization, timestep.elapsed_s, now_ns, settings),
            workloads=workloads,
            escalations=self._acknowledgements.update(
                workloads,
                self._builder.last,
                timestep.time_s,
                timeout_s=settings.acknowledge_timeout_s,
                recovery_s=settings.dwell_up_s,
            ),
        )

    def _select_preset(self) -> RampPreset | PredictivePreset:
        if self.settings.preset != self._preset_name:
            self._preset = _PRESETS[self.settings.preset]()
            self._preset_name = self.settings.preset
        return self._preset

    def _check_power_drop(self, plan: GovernorPlan, state: GovernorState) -> None:
        """Escalate all reduced nodes if the power does not drop although the machine is hot."""
        power_w = state.power.power_w
        if not self._power_drop.is_missing(state.time_s, plan.expected_w, power_w):
            return
        margin_c = self.settings.target_margin_c
        if any(each.forecast_c > each.zone.bounds.max_c - margin_c for each in state.forecasts):
            self._acknowledgements.escalate(
                request.node
                for request in plan.requests
                if request.level is not DirectiveLevel.FULL
            )

    def _decide_off(
        self, state: GovernorState, headroom: float | None, throttling: tuple[str, ...]
    ) -> GovernorDecision:
        reason = "the governor is off"
        requests = [request_full(each, reason) for each in state.workloads]
        requests.append(DirectiveRequest("", DirectiveLevel.FULL, 1.0, reason=reason))
        directives = self._builder.build(requests)
        return GovernorDecision(
            directives, "warn" if throttling else "ok", reason, headroom, throttling
        )

    def _decide_failsafe(
        self, view: SensorView, state: GovernorState, throttling: tuple[str, ...]
    ) -> GovernorDecision:
        settings = self.settings
        reason = f"the temperature of the machine is unknown: {view.problem}"
        requests = [
            request_minimum(each, DirectiveLevel.FAILSAFE, settings, reason)
            for each in state.flexible
        ]
        # Nodes that have not reported yet; each gets a directive by name once it has.
        limits = DirectiveLimits(max_rate_hz=settings.safe_rate_hz, max_batch=1)
        general = DirectiveRequest(
            "", DirectiveLevel.FAILSAFE, settings.minimum_factor, limits, reason
        )
        requests += [*_request_critical(state.workloads), general]
        directives = self._builder.build(requests)
        return GovernorDecision(directives, "error", reason, None, throttling)


def _request_critical(workloads: Sequence[Workload]) -> list[DirectiveRequest]:
    """Limit nothing for critical nodes, by name: the general directive must not apply to them."""
    return [request_full(each, _CRITICAL) for each in workloads if each.safety_critical]
