"""A simulated machine, to test the governor.

It has two heat capacities, the die (junction) and the sink. The leakage grows exponentially with
the temperature of the die. The governor reads what a real machine reports: a temperature with
noise and delay, and the total power. It knows none of the parameters.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, Role

#: Heat flows are integrated in steps of this length.
STEP_S = 0.1


@dataclass(frozen=True)
class ThermalModelParameters:
    """Parameters of a machine: J/K, K/W, watts, °C. ``leak_w`` is the leakage at 60 °C."""

    die_j_per_k: float = 8.0
    die_to_sink_k_per_w: float = 0.6
    sink_j_per_k: float = 180.0
    sink_to_air_k_per_w: float = 2.6
    ambient_c: float = 25.0
    base_w: float = 4.0
    leak_w: float = 1.0
    leak_scale_c: float = 35.0
    noise_c: float = 0.5
    delay_s: float = 1.0
    power_noise: float = 0.02

    def leakage_w(self, die_c: float) -> float:
        """Return the leakage at a die temperature; it saturates far above any limit."""
        return self.leak_w * math.exp(min(80.0, die_c - 60.0) / self.leak_scale_c)

    def steady_state_c(self, work_w: float) -> float:
        """Return the final die temperature at a constant power of work; inf for a runaway."""
        die_c = self.ambient_c
        resistance = self.die_to_sink_k_per_w + self.sink_to_air_k_per_w
        for _ in range(500):
            total_w = self.base_w + work_w + self.leakage_w(die_c)
            settled_c = self.ambient_c + resistance * total_w
            if settled_c > 150.0:
                return math.inf
            if abs(settled_c - die_c) < 1e-4:
                break
            die_c = settled_c
        return die_c


class ThermalModel:
    """Simulates temperatures, power and sensors. ``parameters`` may change at any time."""

    def __init__(self, parameters: ThermalModelParameters, rng: random.Random) -> None:
        """Start at the ambient temperature."""
        self.parameters = parameters
        self.die_c = self.sink_c = parameters.ambient_c
        self.power_w = parameters.base_w
        self._rng = rng
        self._past: deque[float] = deque([self.die_c], maxlen=int(10.0 / STEP_S))

    def advance(self, seconds: float, work_w: float) -> None:
        """Advance the time while inference takes ``work_w``."""
        its = self.parameters
        for _ in range(round(seconds / STEP_S)):
            self.power_w = its.base_w + work_w + its.leakage_w(self.die_c)
            to_sink = (self.die_c - self.sink_c) / its.die_to_sink_k_per_w
            to_air = (self.sink_c - its.ambient_c) / its.sink_to_air_k_per_w
            self.die_c += STEP_S * (self.power_w - to_sink) / its.die_j_per_k
            self.sink_c += STEP_S * (to_sink - to_air) / its.sink_j_per_k
            self._past.append(self.die_c)

    def read_sensors(self, now_ns: int, *, with_power: bool = True) -> PlatformState:
        """Return the readings: the die temperature with delay and noise, and the power."""
        its, gauss = self.parameters, self._rng.gauss
        ago = min(len(self._past), 1 + round(its.delay_s / STEP_S))
        shown_c = self._past[-ago] + gauss(0.0, its.noise_c)
        readings = [_reading("zone/die", Quantity.TEMPERATURE, shown_c, Role.CONTROL, now_ns)]
        if with_power:
            shown_w = self.power_w * (1.0 + gauss(0.0, its.power_noise))
            readings.append(
                _reading("rail/input", Quantity.POWER, shown_w, Role.TOTAL_POWER, now_ns)
            )
        return PlatformState("simulated", tuple(readings), now_ns)


def _reading(name: str, quantity: Quantity, value: float, role: Role, now_ns: int) -> Reading:
    return Reading(name, quantity, value, "simulated", now_ns, role=role)
