"""All actuators by name, in the order in which they build on each other."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.platforms.actuators.actuator import Actuator
from edge_inference.platforms.actuators.clock_cap import ClockCap
from edge_inference.platforms.actuators.clock_domain import CPU, GPU_NAMES, gpu_domain
from edge_inference.platforms.actuators.clock_governor import ClockGovernor
from edge_inference.platforms.actuators.jetson_clocks import JetsonClocks
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.power_mode import PowerModeActuator

#: Those that a governor may lower and raise all the time.
CLOCK_CAPS = ("cpu_clock_cap", "gpu_clock_cap")
#: What may be allowed.
ACTUATOR_NAMES = ("power_mode", "cpu_governor", "gpu_governor", "jetson_clocks", *CLOCK_CAPS)


def make_actuators(machine: Machine, gpu_names: Sequence[str] = GPU_NAMES) -> dict[str, Actuator]:
    """Return every actuator; one that the machine lacks raises ActuatorError when it is used."""
    gpu = gpu_domain(gpu_names)
    actuators: list[Actuator] = [
        PowerModeActuator(machine),
        ClockGovernor(machine, CPU),
        ClockGovernor(machine, gpu),
        JetsonClocks(machine, gpu),
        ClockCap(machine, CPU),
        ClockCap(machine, gpu),
    ]
    return {actuator.name: actuator for actuator in actuators}
