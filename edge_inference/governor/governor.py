"""The governor: one decision from one look at the machine and what its nodes say."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.core.directive import Level, Workload
from edge_inference.core.platform_state import PlatformState
from edge_inference.governor.asking import a_share, everything, share_level, the_least
from edge_inference.governor.decision import Decision
from edge_inference.governor.failsafe import SensorWatch, Sight, View
from edge_inference.governor.headroom import Trend, headroom
from edge_inference.governor.orders import Order, Orders
from edge_inference.governor.passing_time import PassingTime
from edge_inference.governor.ramp import Ramp
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.throttling import ThrottleWatch


class Governor:
    """Decides what is asked of inference nodes. ``settings`` may be replaced between decisions."""

    def __init__(self, settings: GovernorSettings) -> None:
        """Start with nothing seen and nothing asked."""
        self.settings = settings
        self._time = PassingTime()
        self._sensors = SensorWatch()
        self._throttle = ThrottleWatch()
        self._trends: dict[str, Trend] = {}
        self._ramps: dict[str, Ramp] = {}
        self._orders = Orders()

    def decide(self, state: PlatformState, workloads: Sequence[Workload], now_ns: int) -> Decision:
        """Return what holds from now on. ``now_ns`` is on the clock of the readings' stamps."""
        settings = self.settings
        self._time.advance(now_ns)
        throttling = self._throttle.look(state, self._time.elapsed_s, settings.minimum_factor)
        view = self._sensors.look(state, now_ns, settings)
        if view.sight is Sight.LOST:
            reason = f"the machine's heat is not known: {view.problem}"
            orders = [_fail_safe(each, settings, reason) for each in workloads]
            orders.append(Order("", Level.FAILSAFE, settings.minimum_factor, reason=reason))
            return Decision(self._orders.directives(orders), "error", reason, None, throttling)
        factor = min(self._ramp_factor(view), self._throttle.factor)
        reason = f"{factor:.0%} of the demand"
        orders = [_ramp_order(each, factor, settings, reason) for each in workloads]
        orders.append(Order("", share_level(factor, settings), factor, reason=reason))
        severity = "warn" if throttling or view.problem else "ok"
        directives = self._orders.directives(orders)
        return Decision(directives, severity, reason, self._headroom(view), throttling)

    def _ramp_factor(self, view: View) -> float:
        settings = self.settings
        for heat in view.heats:
            self._ramps.setdefault(heat.name, Ramp()).update(
                heat.temperature_c,
                heat.bounds,
                release_c=settings.release_c,
                minimum=settings.minimum_factor,
            )
        return min((ramp.factor for ramp in self._ramps.values()), default=1.0)

    def _headroom(self, view: View) -> float | None:
        shares = []
        for heat in view.heats:
            trend = self._trends.setdefault(heat.name, Trend())
            trend.add(self._time.time_s, heat.temperature_c)
            forecast = trend.forecast_c(self.settings.forecast_s)
            if forecast is not None:
                shares.append(headroom(forecast, heat.bounds.max_c))
        return max(shares, default=None)


def _fail_safe(workload: Workload, settings: GovernorSettings, reason: str) -> Order:
    if workload.safety_critical:
        return everything(workload, "safety-critical: never asked to reduce")
    return the_least(workload, Level.FAILSAFE, settings, reason)


def _ramp_order(
    workload: Workload, factor: float, settings: GovernorSettings, reason: str
) -> Order:
    if workload.safety_critical:
        return everything(workload, "safety-critical: never asked to reduce")
    return a_share(workload, factor, settings, reason)
