"""The power that the batteries may deliver together to last for a given time."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Role
from edge_inference.governor.battery_sum import sum_batteries


@dataclass(frozen=True)
class BatteryPlan:
    """``budget_w`` is None without a limit; ``problem`` says what cannot be kept, and why."""

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
        """Return the power that the batteries may deliver from now on.

        Batteries that charge as a whole set no limit.
        """
        if minutes_to_last != self._minutes:
            self._minutes = minutes_to_last
            self._until_ns = now_ns + int(minutes_to_last * 60e9)
        if minutes_to_last <= 0.0:
            return BatteryPlan()
        left_s = min(minutes_to_last * 60.0, (self._until_ns - now_ns) / 1e9)
        if left_s <= 0.0:
            return BatteryPlan(minutes_left=0.0)
        minutes_left = left_s / 60.0
        batteries = sum_batteries(state)
        if batteries is None:
            return BatteryPlan(None, minutes_left, "minutes_to_last: this machine has no battery")
        if not batteries.delivers:
            return BatteryPlan(minutes_left=minutes_left)
        energy_j, full_j, problems = batteries.energy_j, batteries.full_energy_j, batteries.problems
        if energy_j is None:
            problem = problems[Role.BATTERY_ENERGY]
            return BatteryPlan(None, minutes_left, f"minutes_to_last cannot be kept: {problem}")
        if full_j is None and reserve > 0.0:
            problem = f"battery_reserve cannot be kept: {problems[Role.BATTERY_FULL_ENERGY]}"
            return BatteryPlan(energy_j / left_s, minutes_left, problem)
        usable_j = max(0.0, energy_j - reserve * (full_j or 0.0))
        return BatteryPlan(usable_j / left_s, minutes_left)
