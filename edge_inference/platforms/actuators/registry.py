"""All actuators by name; an actuator depends only on those before it."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.platforms.actuators.actuator import Actuator
from edge_inference.platforms.actuators.clock_cap import ClockCap
from edge_inference.platforms.actuators.clock_domain import CPU, GPU_NAMES, make_gpu_domain
from edge_inference.platforms.actuators.clock_governor import ClockGovernor
from edge_inference.platforms.actuators.jetson_clocks import JetsonClocks
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.power_mode import PowerModeActuator

#: Actuators that the governor changes continuously.
CLOCK_CAPS = ("cpu_clock_cap", "gpu_clock_cap")
#: The names that an allow-list may contain.
ACTUATOR_NAMES = ("power_mode", "cpu_governor", "gpu_governor", "jetson_clocks", *CLOCK_CAPS)


def make_actuators(machine: Machine, gpu_names: Sequence[str] = GPU_NAMES) -> dict[str, Actuator]:
    """Return all actuators; one that the machine lacks raises ActuatorError when it is used."""
    gpu = make_gpu_domain(gpu_names)
    actuators: list[Actuator] = [
        PowerModeActuator(machine),
        ClockGovernor(machine, CPU),
        ClockGovernor(machine, gpu),
        JetsonClocks(machine, gpu),
        ClockCap(machine, CPU),
        ClockCap(machine, gpu),
    ]
    return {actuator.name: actuator for actuator in actuators}
