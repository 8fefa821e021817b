"""Power as it is now, and the most that a user's limit or a battery leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.core.directives.directive import Workload
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Role
from edge_inference.governor.battery_budget import BatteryBudget, BatteryPlan
from edge_inference.governor.demand import inference_seconds, number
from edge_inference.governor.power_model import PowerModel
from edge_inference.governor.settings import GovernorSettings

_SMOOTH_S = 6.0
#: A limit is aimed at from a little below.
_AIM = 0.97


@dataclass(frozen=True)
class PowerBudget:
    """``price`` is watts for a second of work per second, None where nothing measures power.

    ``base_w`` is what the machine takes without any inference, ``budget_w`` the most that it may
    take in all, measured where ``power_w`` is; None without a limit that can be kept. ``reason``
    names the limit, ``problems`` what keeps a limit from being kept.
    """

    price: float | None
    power_w: float | None
    base_w: float
    budget_w: float | None
    reason: str
    problems: tuple[str, ...]
    battery: BatteryPlan


class PowerTracker:
    """Follows power and what is planned with it."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._model = PowerModel()
        self._mission = BatteryBudget()
        self._smooth: dict[Role, float] = {}

    def look(
        self,
        state: PlatformState,
        busy: float,
        elapsed_s: float,
        now_ns: int,
        settings: GovernorSettings,
    ) -> PowerBudget:
        """Bring everything up to date with one look."""
        self._model.update(state, busy, elapsed_s)
        self._follow(state, elapsed_s)
        battery = self._mission.plan(
            state, now_ns, settings.minutes_to_last, settings.battery_reserve
        )
        problems = [battery.problem] if battery.problem else []
        spare: list[tuple[float, str]] = []
        if settings.power_limit_w > 0.0:
            self._user_limit(settings.power_limit_w, spare, problems)
        if battery.budget_w is not None:
            self._battery_limit(battery.budget_w, spare, problems)
        budget, reason = None, ""
        power = self._model.power_w
        if spare and power is not None:
            least, reason = min(spare)
            budget = power + least
        price = self._model.watts_per_busy
        return PowerBudget(
            price, power, self._model.base_w, budget, reason, tuple(problems), battery
        )

    def _user_limit(
        self, limit_w: float, spare: list[tuple[float, str]], problems: list[str]
    ) -> None:
        measured = self._smooth.get(Role.TOTAL_POWER)
        if measured is None:
            measured = self._smooth.get(Role.RAILS_SUM)
            problems.append(
                "power_limit_w: nothing measures the power of this board; it cannot be kept"
                if measured is None
                else "power_limit_w: only a sum of rails is measured; the board takes more"
            )
        if measured is not None:
            spare.append((_AIM * limit_w - measured, f"the limit of {limit_w:g} W"))

    def _battery_limit(
        self, budget_w: float, spare: list[tuple[float, str]], problems: list[str]
    ) -> None:
        for role in (Role.BATTERY_POWER, Role.TOTAL_POWER):
            if role in self._smooth:
                words = f"the battery, which may give {budget_w:.1f} W"
                spare.append((budget_w - self._smooth[role], words))
                return
        problems.append("minutes_to_last: nothing measures power; it cannot be kept")

    def _follow(self, state: PlatformState, elapsed_s: float) -> None:
        values: dict[Role, float] = {}
        for role in (Role.TOTAL_POWER, Role.RAILS_SUM, Role.BATTERY_POWER):
            for reading in state.by_role(role):
                if reading.value is not None and math.isfinite(reading.value):
                    values.setdefault(role, reading.value)
        weight = min(1.0, elapsed_s / _SMOOTH_S)
        self._smooth = {
            role: before + weight * (value - before)
            for role, value in values.items()
            for before in (self._smooth.get(role, value),)
        }


def busy_share(workloads: Sequence[Workload], settings: GovernorSettings) -> float:
    """Return the seconds of work done per second by some nodes, as they report it."""
    return sum(_busy(each, settings) for each in workloads)


def _busy(workload: Workload, settings: GovernorSettings) -> float:
    rate = number(workload.rate_hz)
    operating_point = workload.operating_point
    if (
        not rate
        or operating_point is None
        or not 0 <= operating_point < len(workload.operating_points)
    ):
        return 0.0
    return rate * inference_seconds(workload.operating_points, settings)[operating_point]
