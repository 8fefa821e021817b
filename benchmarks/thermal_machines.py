"""The machines that the governor is proved on: drawn at random, sorted by what they can do."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edge_inference.governor.simulated_node import SimulatedEngine, SimulatedNodeParameters
from edge_inference.governor.thermal_model import ThermalModelParameters

MAX_C = 80.0
#: Plants that settle this near to the limit at the least work are neither one nor the other.
_BAND_C = 1.0
SCENARIOS = ("steady", "warmer air", "fan fails", "more critical work")
CRITICAL = "/guard"


@dataclass(frozen=True)
class Case:
    """One machine and what happens to it: at ``event_s`` it becomes ``later``."""

    number: int
    scenario: str
    plant: ThermalModelParameters
    later: ThermalModelParameters
    event_s: float
    critical_later_hz: float
    nodes: tuple[SimulatedNodeParameters, ...]

    def least_c(self) -> float:
        """Return where the die settles at the least work, in the worse of both conditions."""
        flexible = sum(_least_w(node) for node in self.nodes if not node.safety_critical)
        critical = next(node for node in self.nodes if node.safety_critical)
        joules = critical.engines[0].joules
        return max(
            self.plant.settles_at_c(flexible + critical.demand_hz * joules),
            self.later.settles_at_c(flexible + self.critical_later_hz * joules),
        )

    def everything_c(self) -> float:
        """Return where the die settles with all that is wanted, as the machine is at first."""
        work = sum(node.demand_hz * node.engines[0].joules for node in self.nodes)
        return self.plant.settles_at_c(work)

    @property
    def is_feasible(self) -> bool:
        """Tell whether the limit can be kept, and only by doing less than is wanted."""
        return self.least_c() <= MAX_C - _BAND_C and self.everything_c() > MAX_C

    @property
    def is_infeasible(self) -> bool:
        """Tell whether the limit cannot be kept by asking the flexible nodes for their least."""
        return self.least_c() >= MAX_C + _BAND_C


def draw(seed: int) -> Iterator[Case]:
    """Yield random machines without end; the same for the same seed."""
    chance = random.Random(seed)
    number = 0
    while True:
        yield _case(number, SCENARIOS[number % len(SCENARIOS)], chance)
        number += 1


def feasible(seed: int, count: int) -> list[Case]:
    """Return the first so many that can be kept below the limit."""
    return _first(seed, count, lambda case: case.is_feasible)


def infeasible(seed: int, count: int) -> list[Case]:
    """Return the first so many that cannot."""
    return _first(seed, count, lambda case: case.is_infeasible)


def _first(seed: int, count: int, keeps: Callable[[Case], bool]) -> list[Case]:
    """Take as many of every scenario, give or take one."""
    most = math.ceil(count / len(SCENARIOS))
    found: list[Case] = []
    taken = Counter[str]()
    for case in draw(seed):
        if keeps(case) and taken[case.scenario] < most:
            taken[case.scenario] += 1
            found.append(case)
        if len(found) == count:
            break
    return found


def _case(number: int, scenario: str, chance: random.Random) -> Case:
    draw = chance.uniform
    plant = ThermalModelParameters(
        die_j_per_k=8.0 * draw(0.6, 1.6),
        die_to_sink_k_per_w=0.6 * draw(0.6, 1.4),
        sink_j_per_k=180.0 * draw(0.5, 2.0),
        sink_to_air_k_per_w=2.6 * draw(0.6, 1.4),
        ambient_c=draw(15.0, 40.0),
        base_w=draw(3.0, 6.0),
        leak_w=draw(0.5, 2.0),
        leak_scale_c=draw(25.0, 45.0),
        noise_c=0.5,
        delay_s=draw(0.3, 3.0),
    )
    critical = _node(CRITICAL, 10.0, 10.0, (("fp16", 1.0, 0.15),), chance, critical=True)
    engines = (("fp32", 1.0, 0.42), ("fp16", 0.98, 0.25), ("int8", 0.88, 0.14))
    detector = _node("/detector", 30.0, 3.0, engines, chance)
    later, critical_hz = plant, critical.demand_hz
    if scenario == "warmer air":
        later = replace(plant, ambient_c=plant.ambient_c + draw(5.0, 15.0))
    elif scenario == "fan fails":
        later = replace(plant, sink_to_air_k_per_w=plant.sink_to_air_k_per_w * draw(1.2, 1.6))
    elif scenario == "more critical work":
        critical_hz *= draw(1.5, 2.5)
    event_s = draw(1200.0, 2400.0)
    return Case(number, scenario, plant, later, event_s, critical_hz, (critical, detector))


def _node(
    name: str,
    demand_hz: float,
    minimum_hz: float,
    engines: tuple[tuple[str, float, float], ...],
    chance: random.Random,
    *,
    critical: bool = False,
) -> SimulatedNodeParameters:
    """Vary energies and times; time does not tell energy exactly, as on a real machine."""
    scale = chance.uniform(0.7, 1.4)
    watts = chance.uniform(17.0, 24.0)
    made = []
    for precision, accuracy, nominal in engines:
        joules = nominal * scale * chance.uniform(0.9, 1.1)
        made.append(
            SimulatedEngine(
                precision, accuracy, joules, joules / (watts * chance.uniform(0.85, 1.15))
            )
        )
    return SimulatedNodeParameters(
        name,
        tuple(made),
        demand_hz,
        minimum_hz,
        priority=10 if critical else 0,
        safety_critical=critical,
        follows_after_s=chance.uniform(0.1, 1.0),
        changes_engine_in_s=chance.uniform(0.5, 4.0),
    )


def _least_w(node: SimulatedNodeParameters) -> float:
    return node.minimum_rate_hz * min(engine.joules for engine in node.engines)
