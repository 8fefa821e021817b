"""The present power, and the power budget from the thermal limit, the user and the battery.

``PowerController`` is a PI controller from the distance to a target temperature to a budget,
after Linux's power allocator (IPA): ``budget = sustainable + kp * error``. The sustainable power
is the integral, so no property of the board needs to be known. The budget falls fast and rises
slowly. It is in watts or, on a machine without a power sensor, in utilization: the gains scale
with the span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.core.directives.directive import Workload
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Role
from edge_inference.governor.battery_budget import BatteryBudget, BatteryPlan
from edge_inference.governor.battery_sum import sum_batteries
from edge_inference.governor.directive_builder import inference_seconds, valid_number
from edge_inference.governor.power_model import PowerModel, measured_powers
from edge_inference.governor.settings import GovernorSettings

_SMOOTH_POWER_S = 6.0
#: The governor aims this far below a limit in watts.
_AIM = 0.97

#: An error of this many degrees takes the whole span away.
_PROPORTIONAL_C = 12.0
#: In this time the integral moves as far as the proportional part.
_INTEGRAL_DOWN_S = 60.0
_INTEGRAL_UP_S = 120.0
#: The error is smoothed over this time: a forecast far ahead magnifies the noise.
_SMOOTH_ERROR_S = 4.0
#: Share of the span by which the budget may rise per second.
_RISE_PER_S = 0.02


@dataclass(frozen=True)
class PowerBudget:
    """``full_load_w`` is the power of inference at a utilization of 1; None without a sensor.

    ``base_w`` is the power of the machine without inference. ``budget_w`` is the maximum power in
    total, measured where ``power_w`` is; None without a limit that can be kept. ``reason`` names
    the limit, and ``problems`` say why a limit cannot be kept.
    """

    full_load_w: float | None
    power_w: float | None
    base_w: float
    budget_w: float | None
    reason: str
    problems: tuple[str, ...]
    battery: BatteryPlan


class PowerTracker:
    """Follows the power and its limits."""

    def __init__(self) -> None:
        """Start without knowledge."""
        self._model = PowerModel()
        self._battery = BatteryBudget()
        self._smooth: dict[Role, float] = {}

    def update(
        self,
        state: PlatformState,
        utilization: float,
        elapsed_s: float,
        now_ns: int,
        settings: GovernorSettings,
    ) -> PowerBudget:
        """Return the power and its budget for one state of the machine."""
        self._model.update(state, utilization, elapsed_s)
        self._update_smooth(state, elapsed_s)
        battery = self._battery.plan(
            state, now_ns, settings.minutes_to_last, settings.battery_reserve
        )
        problems = [battery.problem] if battery.problem else []
        margins: list[tuple[float, str]] = []
        if settings.power_limit_w > 0.0:
            self._add_user_limit(settings.power_limit_w, margins, problems)
        if battery.budget_w is not None:
            self._add_battery_limit(battery.budget_w, state, margins, problems)
        budget_w, reason = None, ""
        power_w = self._model.power_w
        if margins and power_w is not None:
            margin_w, reason = min(margins)
            budget_w = power_w + margin_w
        return PowerBudget(
            self._model.full_load_w,
            power_w,
            self._model.base_w,
            budget_w,
            reason,
            tuple(problems),
            battery,
        )

    def _add_user_limit(
        self, limit_w: float, margins: list[tuple[float, str]], problems: list[str]
    ) -> None:
        measured = self._smooth.get(Role.TOTAL_POWER)
        if measured is None:
            measured = self._smooth.get(Role.RAILS_SUM)
            problems.append(
                "power_limit_w cannot be kept: this board has no power sensor"
                if measured is None
                else "power_limit_w: only a sum of rails is measured; the board takes more"
            )
        if measured is not None:
            margins.append((_AIM * limit_w - measured, f"the limit of {limit_w:g} W"))

    def _add_battery_limit(
        self,
        budget_w: float,
        state: PlatformState,
        margins: list[tuple[float, str]],
        problems: list[str],
    ) -> None:
        for role in (Role.BATTERY_POWER, Role.TOTAL_POWER):
            if role in self._smooth:
                reason = f"the battery budget of {budget_w:.1f} W"
                margins.append((budget_w - self._smooth[role], reason))
                return
        batteries = sum_batteries(state)
        problem = batteries.problems.get(Role.BATTERY_POWER) if batteries is not None else None
        problem = problem or "this machine has no power sensor"
        problems.append(f"minutes_to_last cannot be kept: {problem}")

    def _update_smooth(self, state: PlatformState, elapsed_s: float) -> None:
        weight = min(1.0, elapsed_s / _SMOOTH_POWER_S)
        self._smooth = {
            role: before + weight * (value - before)
            for role, value in measured_powers(state).items()
            for before in (self._smooth.get(role, value),)
        }


class PowerController:
    """Holds the sustainable power, between the bounds of each update: it cannot wind up."""

    def __init__(self) -> None:
        """Start without a limit."""
        self._sustainable = self._budget = 0.0
        self._error_c: float | None = None
        self._is_unlimited = True

    def update(self, error_c: float, elapsed_s: float, lowest: float, highest: float) -> float:
        """Return the budget for a temperature ``error_c`` below its target (above: negative)."""
        error_c = self._smooth(error_c, elapsed_s)
        span = max(0.0, highest - lowest)
        gain = span / _PROPORTIONAL_C
        if self._is_unlimited:
            # As long as nothing was limited, a higher demand is not limited either.
            self._sustainable = self._budget = highest
        integral_s = _INTEGRAL_UP_S if error_c > 0.0 else _INTEGRAL_DOWN_S
        moved = self._sustainable + gain * error_c * elapsed_s / integral_s
        self._sustainable = min(highest, max(lowest, moved))
        budget = min(highest, max(lowest, self._sustainable + gain * error_c))
        budget = min(budget, max(lowest, self._budget) + _RISE_PER_S * span * elapsed_s)
        self._budget = budget
        self._is_unlimited = budget >= highest and self._sustainable >= highest
        return budget

    def drop(self) -> None:
        """Set the budget to the minimum at once; it then rises slowly as always."""
        self._budget = 0.0
        self._is_unlimited = False

    def _smooth(self, error_c: float, elapsed_s: float) -> float:
        if self._error_c is None:
            self._error_c = error_c
        self._error_c += min(1.0, elapsed_s / _SMOOTH_ERROR_S) * (error_c - self._error_c)
        return self._error_c


def total_utilization(workloads: Sequence[Workload], settings: GovernorSettings) -> float:
    """Return the seconds of inference per second of some nodes, as they report them."""
    return sum(_utilization(each, settings) for each in workloads)


def _utilization(workload: Workload, settings: GovernorSettings) -> float:
    rate = valid_number(workload.rate_hz)
    operating_point = workload.operating_point
    if (
        not rate
        or operating_point is None
        or not 0 <= operating_point < len(workload.operating_points)
    ):
        return 0.0
    return rate * inference_seconds(workload.operating_points, settings)[operating_point]
