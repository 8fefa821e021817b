"""The power that the battery may deliver to last for a given time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Role


@dataclass(frozen=True)
class BatteryPlan:
    """``budget_w`` is None if there is no plan; ``problem`` says why one is not possible."""

    budget_w: float | None = None
    minutes_left: float | None = None
    problem: str = ""


class BatteryBudget:
    """Counts down from the moment at which ``minutes_to_last`` is set."""

    def __init__(self) -> None:
        """Start without a plan."""
        self._minutes = 0.0
        self._until_ns = 0

    def plan(
        self, state: PlatformState, now_ns: int, minutes_to_last: float, reserve: float
    ) -> BatteryPlan:
        """Return the power that the battery may deliver from now on."""
        if minutes_to_last != self._minutes:
            self._minutes = minutes_to_last
            self._until_ns = now_ns + int(minutes_to_last * 60e9)
        if minutes_to_last <= 0.0:
            return BatteryPlan()
        left_s = min(minutes_to_last * 60.0, (self._until_ns - now_ns) / 1e9)
        if left_s <= 0.0:
            return BatteryPlan(minutes_left=0.0)
        power = _value(state, Role.BATTERY_POWER)
        if power is not None and power <= 0.0:
            return BatteryPlan(minutes_left=left_s / 60.0)  # the battery is charging
        energy = _value(state, Role.BATTERY_ENERGY)
        charge = _value(state, Role.BATTERY_CHARGE)
        if energy is None or energy < 0.0:
            return BatteryPlan(
                minutes_left=left_s / 60.0,
                problem="minutes_to_last: no battery reports its remaining energy",
            )
        full = energy / charge if charge is not None and 0.0 < charge <= 1.0 else energy
        usable = max(0.0, energy - reserve * full)
        return BatteryPlan(usable / left_s, left_s / 60.0)


def _value(state: PlatformState, role: Role) -> float | None:
    values = (each.value for each in state.by_role(role))
    return next((each for each in values if each is not None and math.isfinite(each)), None)
