"""Random machines to test the governor on, sorted by whether their limit can be kept."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edge_inference.governor.simulated_node import SimulatedEngine, SimulatedNodeParameters
from edge_inference.governor.thermal_model import ThermalModelParameters

MAX_C = 80.0
#: Machines that settle this near to the limit under minimum work are left out.
_BAND_C = 1.0
SCENARIOS = ("steady", "warmer air", "fan fails", "more critical work")
CRITICAL = "/guard"


@dataclass(frozen=True)
class Case:
    """One machine and its event: at ``event_s`` its parameters become ``machine_later``."""

    number: int
    scenario: str
    machine: ThermalModelParameters
    machine_later: ThermalModelParameters
    event_s: float
    critical_later_hz: float
    nodes: tuple[SimulatedNodeParameters, ...]

    def minimum_work_c(self) -> float:
        """Return the final die temperature under minimum work, before or after the event."""
        flexible = sum(_minimum_w(node) for node in self.nodes if not node.safety_critical)
        critical = next(node for node in self.nodes if node.safety_critical)
        joules = critical.engines[0].joules
        return max(
            self.machine.steady_state_c(flexible + critical.demand_hz * joules),
            self.machine_later.steady_state_c(flexible + self.critical_later_hz * joules),
        )

    def full_work_c(self) -> float:
        """Return the final die temperature under the whole demand, before the event."""
        work = sum(node.demand_hz * node.engines[0].joules for node in self.nodes)
        return self.machine.steady_state_c(work)

    @property
    def is_feasible(self) -> bool:
        """Tell whether the limit can be kept, and only by less than the whole demand."""
        return self.minimum_work_c() <= MAX_C - _BAND_C and self.full_work_c() > MAX_C

    @property
    def is_infeasible(self) -> bool:
        """Tell whether even the minimum work of the flexible nodes exceeds the limit."""
        return self.minimum_work_c() >= MAX_C + _BAND_C


def draw_cases(seed: int) -> Iterator[Case]:
    """Yield random machines endlessly; the same ones for the same seed."""
    rng = random.Random(seed)
    number = 0
    while True:
        yield _case(number, SCENARIOS[number % len(SCENARIOS)], rng)
        number += 1


def draw_feasible(seed: int, count: int) -> list[Case]:
    """Return the first ``count`` machines whose limit can be kept."""
    return _take_first(seed, count, lambda case: case.is_feasible)


def draw_infeasible(seed: int, count: int) -> list[Case]:
    """Return the first ``count`` machines whose limit cannot be kept."""
    return _take_first(seed, count, lambda case: case.is_infeasible)


def _take_first(seed: int, count: int, matches: Callable[[Case], bool]) -> list[Case]:
    """Return equal numbers of all scenarios, give or take one."""
    max_per_scenario = math.ceil(count / len(SCENARIOS))
    cases: list[Case] = []
    taken = Counter[str]()
    for case in draw_cases(seed):
        if matches(case) and taken[case.scenario] < max_per_scenario:
            taken[case.scenario] += 1
            cases.append(case)
        if len(cases) == count:
            break
    return cases


def _case(number: int, scenario: str, rng: random.Random) -> Case:
    uniform = rng.uniform
    machine = ThermalModelParameters(
        die_j_per_k=8.0 * uniform(0.6, 1.6),
        die_to_sink_k_per_w=0.6 * uniform(0.6, 1.4),
        sink_j_per_k=180.0 * uniform(0.5, 2.0),
        sink_to_air_k_per_w=2.6 * uniform(0.6, 1.4),
        ambient_c=uniform(15.0, 40.0),
        base_w=uniform(3.0, 6.0),
        leak_w=uniform(0.5, 2.0),
        leak_scale_c=uniform(25.0, 45.0),
        noise_c=0.5,
        delay_s=uniform(0.3, 3.0),
    )
    critical = _node(CRITICAL, 10.0, 10.0, (("fp16", 1.0, 0.15),), rng, critical=True)
    engines = (("fp32", 1.0, 0.42), ("fp16", 0.98, 0.25), ("int8", 0.88, 0.14))
    detector = _node("/detector", 30.0, 3.0, engines, rng)
    later, critical_hz = machine, critical.demand_hz
    if scenario == "warmer air":
        later = replace(machine, ambient_c=machine.ambient_c + uniform(5.0, 15.0))
    elif scenario == "fan fails":
        later = replace(
            machine, sink_to_air_k_per_w=machine.sink_to_air_k_per_w * uniform(1.2, 1.6)
        )
    elif scenario == "more critical work":
        critical_hz *= uniform(1.5, 2.5)
    event_s = uniform(1200.0, 2400.0)
    return Case(number, scenario, machine, later, event_s, critical_hz, (critical, detector))


def _node(
    name: str,
    demand_hz: float,
    minimum_hz: float,
    engines: tuple[tuple[str, float, float], ...],
    rng: random.Random,
    *,
    critical: bool = False,
) -> SimulatedNodeParameters:
    """Vary energies and durations; as on a real machine they are not quite proportional."""
    scale = rng.uniform(0.7, 1.4)
    watts = rng.uniform(17.0, 24.0)
    simulated = []
    for precision, accuracy, nominal in engines:
        joules = nominal * scale * rng.uniform(0.9, 1.1)
        seconds = joules / (watts * rng.uniform(0.85, 1.15))
        simulated.append(SimulatedEngine(precision, accuracy, joules, seconds))
    return SimulatedNodeParameters(
        name,
        tuple(simulated),
        demand_hz,
        minimum_hz,
        priority=10 if critical else 0,
        safety_critical=critical,
        response_s=rng.uniform(0.1, 1.0),
        engine_change_s=rng.uniform(0.5, 4.0),
    )


def _minimum_w(node: SimulatedNodeParameters) -> float:
    return node.minimum_rate_hz * min(engine.joules for engine in node.engines)
