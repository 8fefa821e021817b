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

STEP_S = 0.5
HOUR_S = 3600.0


@dataclass(frozen=True)
class Trial:
    """One run of a machine; its sensors are lost at ``lost_s``, in the way that ``loss`` names."""

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
    """The results of a trial; temperatures are the true ones of the die."""

    trial: Trial
    max_c: float = 0.0
    max_after_loss_c: float = 0.0
    utility: float = 0.0
    power_w: float = 0.0
    engine_changes: int = 0
    directives: int = 0
    critical_share: float = 1.0
    first_error_s: float | None = None
    safe_directive_s: float | None = None
    min_rate_s: float | None = None
    min_engine_s: float | None = None
    battery_left_j: float | None = None
    trace: list[Moment] = field(default_factory=list)

    @property
    def exceeds_limit(self) -> bool:
        """Tell whether the die ever exceeded its limit."""
        return self.max_c > self.trial.settings.max_c


def run(trial: Trial) -> Outcome:
    """Simulate a trial; the governor decides twice a second, as its node does."""
    return _Run(trial).complete()


class _Run:
    def __init__(self, trial: Trial) -> None:
        rng = random.Random(trial.case.number)
        self._trial = trial
        self._machine = ThermalModel(trial.case.machine, rng)
        self._nodes = [SimulatedNode(each, rng) for each in trial.case.nodes]
        self._flexible = [each for each in self._nodes if not each.parameters.safety_critical]
        self._critical = next(each for each in self._nodes if each.parameters.name == CRITICAL)
        self._governor = Governor(trial.settings)
        self._last_state: PlatformState | None = None
        self._last_ids: tuple[int, ...] = ()
        self._battery_j = trial.battery_j
        self._outcome = Outcome(trial)

    def complete(self) -> Outcome:
        steps = int(self._trial.seconds / STEP_S)
        outcome = self._outcome
        for step in range(steps):
            self._step(step * STEP_S)
            outcome.utility += sum(node.utility for node in self._flexible) / steps
            outcome.power_w += self._machine.power_w / steps
            if self._trial.until_error and outcome.first_error_s is not None:
                break
        outcome.engine_changes = sum(node.engine_changes for node in self._nodes)
        outcome.battery_left_j = self._battery_j
        return outcome

    def _step(self, time_s: float) -> None:
        case = self._trial.case
        if time_s >= case.event_s:
            self._machine.parameters = case.machine_later
            self._critical.demand_hz = case.critical_later_hz
        state = self._read_sensors(time_s)
        workloads = [node.workload() for node in self._nodes]
        decision = self._governor.decide(state, workloads, int(time_s * 1e9))
        directives = {directive.node: directive for directive in decision.directives}
        for node in self._nodes:
            node.receive(directives[node.parameters.name])
            node.advance(STEP_S)
        self._machine.advance(STEP_S, sum(node.power_w for node in self._nodes))
        if self._battery_j is not None:
            self._battery_j = max(0.0, self._battery_j - STEP_S * self._machine.power_w)
        if decision.severity == "error" and self._outcome.first_error_s is None:
            self._outcome.first_error_s = time_s
        ids = tuple(directives[node.parameters.name].id for node in self._flexible)
        self._outcome.directives += ids != self._last_ids
        self._last_ids = ids
        if self._trial.lost_s is not None and time_s >= self._trial.lost_s:
            levels = [directives[node.parameters.name].level for node in self._flexible]
            self._after_loss(time_s - self._trial.lost_s, levels)
        self._record(time_s)

    def _read_sensors(self, time_s: float) -> PlatformState:
        trial = self._trial
        state = self._machine.read_sensors(int(time_s * 1e9), with_power=trial.with_power)
        if self._battery_j is not None:
            readings = (*state.readings, *_battery(self._battery_j, trial.battery_j, state))
            state = replace(state, readings=readings)
        if trial.lost_s is not None and time_s >= trial.lost_s:
            return LOSSES[trial.loss](state, self._last_state or state)
        self._last_state = state
        return state

    def _after_loss(self, since_s: float, levels: list[DirectiveLevel]) -> None:
        outcome = self._outcome
        outcome.max_after_loss_c = max(outcome.max_after_loss_c, self._machine.die_c)
        if outcome.safe_directive_s is None and all(
            each is DirectiveLevel.FAILSAFE for each in levels
        ):
            outcome.safe_directive_s = since_s
        end_s = since_s + STEP_S
        if outcome.min_rate_s is None and all(node.is_at_minimum_rate for node in self._flexible):
            outcome.min_rate_s = end_s
        if outcome.min_engine_s is None and all(node.is_at_minimum for node in self._flexible):
            outcome.min_engine_s = end_s

    def _record(self, time_s: float) -> None:
        outcome, machine = self._outcome, self._machine
        outcome.max_c = max(outcome.max_c, machine.die_c)
        share = self._critical.rate_hz / self._critical.demand_hz
        outcome.critical_share = min(outcome.critical_share, share)
        if self._trial.trace_s and time_s % self._trial.trace_s == 0.0:
            node = self._flexible[0]
            outcome.trace.append(
                Moment(time_s, machine.die_c, node.rate_hz, node.engine, machine.power_w)
            )


def _battery(left_j: float, full_j: float | None, state: PlatformState) -> tuple[Reading, ...]:
    charge = left_j / full_j if full_j else 0.0
    values = (
        (Role.BATTERY_ENERGY, Quantity.ENERGY, left_j),
        (Role.BATTERY_CHARGE, Quantity.SHARE, charge),
    )
    return tuple(
        Reading(
            role.value, quantity, value, "simulated", state.stamp_ns, role=role, device="battery"
        )
        for role, quantity, value in values
    )


def _without_value(state: PlatformState, status: ReadingStatus) -> PlatformState:
    readings = tuple(
        replace(each, value=None, status=status) if each.role is Role.CONTROL else each
        for each in state.readings
    )
    return replace(state, readings=readings)


#: Ways to lose the sensors; each gets the present state and the last one.
LOSSES: dict[str, Callable[[PlatformState, PlatformState], PlatformState]] = {
    "vanished": lambda state, _: replace(state, readings=()),
    "absent": lambda state, _: _without_value(state, ReadingStatus.ABSENT),
    "stale": lambda state, _: _without_value(state, ReadingStatus.STALE),
    "implausible": lambda state, _: _without_value(state, ReadingStatus.INVALID),
    "gated": lambda state, _: _without_value(state, ReadingStatus.GATED),
    "frozen": lambda _, last: last,
}
