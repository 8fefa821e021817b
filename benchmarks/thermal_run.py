"""One simulated hour of one machine under one preset."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchmarks.thermal_machines import CRITICAL, Case
from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.governor.governor import Governor
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.simulated_node import SimulatedNode
from edge_inference.governor.thermal_model import ThermalModel

LOOK_S = 0.5
HOUR_S = 3600.0


@dataclass(frozen=True)
class Trial:
    """What is tried on a machine; ``lost_s`` is when its sensors are lost, ``loss`` how."""

    case: Case
    settings: GovernorSettings
    seconds: float = HOUR_S
    with_power: bool = True
    lost_s: float | None = None
    loss: str = ""
    battery_j: float | None = None
    trace_s: float | None = None
    until_error: bool = False


@dataclass(frozen=True)
class Moment:
    """One line of a trace."""

    time_s: float
    die_c: float
    rate_hz: float
    engine: int
    power_w: float


@dataclass
class Outcome:
    """What came of it; temperatures are the true ones of the die."""

    trial: Trial
    worst_c: float = 0.0
    worst_after_loss_c: float = 0.0
    utility: float = 0.0
    power_w: float = 0.0
    engine_changes: int = 0
    directives: int = 0
    critical_share: float = 1.0
    first_error_s: float | None = None
    asked_safe_s: float | None = None
    slow_s: float | None = None
    safe_s: float | None = None
    battery_left_j: float | None = None
    trace: list[Moment] = field(default_factory=list)

    @property
    def passes_limit(self) -> bool:
        """Tell whether the die was ever hotter than it may be."""
        return self.worst_c > self.trial.settings.max_c


def run(trial: Trial) -> Outcome:
    """Simulate; the governor looks twice a second, as its node does."""
    return _Run(trial).to_the_end()


class _Run:
    def __init__(self, trial: Trial) -> None:
        chance = random.Random(trial.case.number)
        self._trial = trial
        self._plant = ThermalModel(trial.case.plant, chance)
        self._nodes = [SimulatedNode(each, chance) for each in trial.case.nodes]
        self._flexible = [each for each in self._nodes if not each.parameters.safety_critical]
        self._critical = next(each for each in self._nodes if each.parameters.name == CRITICAL)
        self._governor = Governor(trial.settings)
        self._last_state: PlatformState | None = None
        self._last_ids: tuple[int, ...] = ()
        self._battery_j = trial.battery_j
        self._outcome = Outcome(trial)

    def to_the_end(self) -> Outcome:
        looks = int(self._trial.seconds / LOOK_S)
        outcome = self._outcome
        for look in range(looks):
            self._step(look * LOOK_S)
            outcome.utility += sum(node.utility for node in self._flexible) / looks
            outcome.power_w += self._plant.power_w / looks
            if self._trial.until_error and outcome.first_error_s is not None:
                break
        outcome.engine_changes = sum(node.engine_changes for node in self._nodes)
        outcome.battery_left_j = self._battery_j
        return outcome

    def _step(self, time_s: float) -> None:
        case = self._trial.case
        if time_s >= case.event_s:
            self._plant.parameters = case.later
            self._critical.demand_hz = case.critical_later_hz
        state = self._sense(time_s)
        workloads = [node.workload() for node in self._nodes]
        decision = self._governor.decide(state, workloads, int(time_s * 1e9))
        asked = {directive.node: directive for directive in decision.directives}
        for node in self._nodes:
            node.hear(asked[node.parameters.name])
            node.advance(LOOK_S)
        self._plant.advance(LOOK_S, sum(node.power_w for node in self._nodes))
        if self._battery_j is not None:
            self._battery_j = max(0.0, self._battery_j - LOOK_S * self._plant.power_w)
        if decision.severity == "error" and self._outcome.first_error_s is None:
            self._outcome.first_error_s = time_s
        ids = tuple(asked[node.parameters.name].id for node in self._flexible)
        self._outcome.directives += ids != self._last_ids
        self._last_ids = ids
        if self._trial.lost_s is not None and time_s >= self._trial.lost_s:
            levels = [asked[node.parameters.name].level for node in self._flexible]
            self._after_loss(time_s - self._trial.lost_s, levels)
        self._note(time_s)

    def _sense(self, time_s: float) -> PlatformState:
        trial = self._trial
        state = self._plant.sense(int(time_s * 1e9), with_power=trial.with_power)
        if self._battery_j is not None:
            readings = (*state.readings, *_battery(self._battery_j, trial.battery_j, state))
            state = replace(state, readings=readings)
        if trial.lost_s is not None and time_s >= trial.lost_s:
            return LOSSES[trial.loss](state, self._last_state or state)
        self._last_state = state
        return state

    def _after_loss(self, since_s: float, levels: list[DirectiveLevel]) -> None:
        outcome = self._outcome
        outcome.worst_after_loss_c = max(outcome.worst_after_loss_c, self._plant.die_c)
        if outcome.asked_safe_s is None and all(each is DirectiveLevel.FAILSAFE for each in levels):
            outcome.asked_safe_s = since_s
        end_s = since_s + LOOK_S
        if outcome.slow_s is None and all(node.is_slowest for node in self._flexible):
            outcome.slow_s = end_s
        if outcome.safe_s is None and all(node.is_at_least for node in self._flexible):
            outcome.safe_s = end_s

    def _note(self, time_s: float) -> None:
        outcome, plant = self._outcome, self._plant
        outcome.worst_c = max(outcome.worst_c, plant.die_c)
        share = self._critical.rate_hz / self._critical.demand_hz
        outcome.critical_share = min(outcome.critical_share, share)
        if self._trial.trace_s and time_s % self._trial.trace_s == 0.0:
            node = self._flexible[0]
            outcome.trace.append(
                Moment(time_s, plant.die_c, node.rate_hz, node.engine, plant.power_w)
            )


def _battery(left_j: float, full_j: float | None, state: PlatformState) -> tuple[Reading, ...]:
    charge = left_j / full_j if full_j else 0.0
    values = (
        (Role.BATTERY_ENERGY, Quantity.ENERGY, left_j),
        (Role.BATTERY_CHARGE, Quantity.SHARE, charge),
    )
    return tuple(
        Reading(role.value, quantity, value, "simulated", state.stamp_ns, role=role)
        for role, quantity, value in values
    )


def _without_value(state: PlatformState, status: ReadingStatus) -> PlatformState:
    readings = tuple(
        replace(each, value=None, status=status) if each.role is Role.CONTROL else each
        for each in state.readings
    )
    return replace(state, readings=readings)


#: How sensors are lost: from what they would show and what they showed last.
LOSSES: dict[str, Callable[[PlatformState, PlatformState], PlatformState]] = {
    "vanished": lambda state, _: replace(state, readings=()),
    "absent": lambda state, _: _without_value(state, ReadingStatus.ABSENT),
    "stale": lambda state, _: _without_value(state, ReadingStatus.STALE),
    "implausible": lambda state, _: _without_value(state, ReadingStatus.INVALID),
    "gated": lambda state, _: _without_value(state, ReadingStatus.GATED),
    "frozen": lambda _, last: last,
}
