"""The power that the batteries may deliver together to last for a given time."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Role
from edge_inference.governor.battery_sum import BatterySum, sum_batteries


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
        #: The last one of this plan; it holds while the energy is unknown.
        self._budget_w: float | None = None

    def plan(
        self, state: PlatformState, now_ns: int, minutes_to_last: float, reserve: float
    ) -> BatteryPlan:
        """Return the power that the batteries may deliver from now on.

        Batteries that charge as a whole set no limit.
        """
        if minutes_to_last != self._minutes:
            self._minutes = minutes_to_last
            self._until_ns = now_ns + int(minutes_to_last * 60e9)
            self._budget_w = None
        if minutes_to_last <= 0.0:
            return BatteryPlan()
        left_s = min(minutes_to_last * 60.0, (self._until_ns - now_ns) / 1e9)
        if left_s <= 0.0:
            return BatteryPlan(minutes_left=0.0)
        problem = self._update_budget(sum_batteries(state), left_s, reserve)
        return BatteryPlan(self._budget_w, left_s / 60.0, problem)

    def _update_budget(self, batteries: BatterySum | None, left_s: float, reserve: float) -> str:
        """Divide the energy by the time; return what cannot be kept, empty if all can."""
        held = "" if self._budget_w is None else "; the last battery budget stays in force"
        if batteries is None:
            # A battery that delivered is hardly taken out, but its sensor may be lost.
            known = "no battery is left" if held else "this machine has no battery"
            return f"minutes_to_last: {known}{held}"
        if not batteries.delivers:
            self._budget_w = None
            return ""
        energy_j, full_j = batteries.energy_j, batteries.full_energy_j
        if energy_j is None:
            problem = f"minutes_to_last cannot be kept: {batteries.problems[Role.BATTERY_ENERGY]}"
            return problem + held
        if full_j is None and reserve > 0.0:
            self._budget_w = energy_j / left_s
            return f"battery_reserve cannot be kept: {batteries.problems[Role.BATTERY_FULL_ENERGY]}"
        self._budget_w = max(0.0, energy_j - reserve * (full_j or 0.0)) / left_s
        return ""
