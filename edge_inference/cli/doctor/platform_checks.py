"""What the sensors and the power mode of this machine say to the doctor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from edge_inference.composition.pipeline import share_folder
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Reading, Role
from edge_inference.errors import ActuatorError, EdgeInferenceError
from edge_inference.observe.doctor.finding import Finding, FindingLevel
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.actuators.power_mode import PowerModeActuator
from edge_inference.platforms.board_files import list_board_folders
from edge_inference.platforms.platform import Platform, open_platform
from edge_inference.platforms.sensors.power_mode import MODES_FILE
from edge_inference.platforms.system_files import HostFiles

#: A zone that is closer to its limit heats up to it under load.
_CLOSE_C = 8.0
_SAMPLES = 3


def examine_platform(root: Path = Path("/")) -> Iterator[Finding]:
    """Yield the findings of the power mode and of all sensors."""
    yield _examine_power_mode(Machine(root))
    try:
        with open_sensors(root) as platform:
            # Loads and energies need two samples, and a busy machine time for its probes.
            for _ in range(_SAMPLES):
                state = platform.sense(time.monotonic_ns())
    except EdgeInferenceError as error:
        yield Finding("heat", "sensors", FindingLevel.UNKNOWN, "unknown", str(error))
        return
    yield from examine_state(state)


def open_sensors(root: Path = Path("/")) -> Platform:
    """Open the sensors of this machine, or of the one whose files are below ``root``."""
    folders = list_board_folders("", share_folder() / "config" / "platforms")
    return open_platform(folders, None if root == Path("/") else HostFiles(root))


def examine_state(state: PlatformState) -> Iterator[Finding]:
    """Yield the findings of a state: throttling, temperature, power."""
    yield _examine_throttling(state)
    yield _examine_temperature(state)
    source = describe_power_source(state)
    if source:
        yield Finding("power", "power sensor", FindingLevel.OK, source)
    else:
        yield Finding(
            "power",
            "power sensor",
            FindingLevel.NOTE,
            "none",
            "the energy of a frame cannot be measured here",
        )


def describe_power_source(state: PlatformState) -> str:
    """Return which reading is the power of this machine; empty without one."""
    reading = find_power(state)
    return (
        ""
        if reading is None
        else f"{reading.name}, {reading.quantity.describe(reading.value or 0)}"
    )


def find_power(state: PlatformState) -> Reading | None:
    """Return the power of the board, or else the sum of its rails; None where neither is known."""
    for role in (Role.TOTAL_POWER, Role.RAILS_SUM):
        known = [each for each in state.by_role(role) if each.value is not None]
        if known:
            return max(known, key=lambda each: each.value or 0.0)
    return None


def _examine_power_mode(machine: Machine) -> Finding:
    area, name = "power", "power mode"
    if not machine.exists(MODES_FILE):
        return Finding(area, name, FindingLevel.OK, "this machine has none")
    actuator = PowerModeActuator(machine)
    try:
        current = actuator.read()
        best = actuator.find_most_powerful()
    except ActuatorError as error:
        return Finding(area, name, FindingLevel.UNKNOWN, "unknown", str(error))
    if current == best:
        return Finding(area, name, FindingLevel.OK, current)
    return Finding(
        area,
        name,
        FindingLevel.WARNING,
        f"{current}; {best} is the most powerful",
        "the power mode lowers the clocks, and switches cores off",
        f"choose {best}, if the power supply and the cooling allow",
        "sudo edge-inference platform tune --apply",
    )


def _examine_throttling(state: PlatformState) -> Finding:
    area, name = "heat", "throttling"
    signs = [each for each in state.by_role(Role.THROTTLE) if each.value is not None]
    active = [each.name for each in signs if each.quantity.value == "state" and each.value]
    if active:
        return Finding(
            area,
            name,
            FindingLevel.PROBLEM,
            f"now: {', '.join(active)}",
            "the machine lowers its clocks because of heat or current",
            "cool it, choose a lower power mode, or let the governor hold it below its limit",
            "edge-inference platform show",
        )
    if not signs:
        return Finding(
            area,
            name,
            FindingLevel.UNKNOWN,
            "unknown",
            "no sensor of this machine shows throttling",
        )
    return Finding(area, name, FindingLevel.OK, "none")


def _examine_temperature(state: PlatformState) -> Finding:
    area, name = "heat", "temperature"
    known = [(each.value, each) for each in state.by_role(Role.CONTROL) if each.value is not None]
    if not known:
        reason = state.problem or "no sensor shows the temperature of the die"
        return Finding(area, name, FindingLevel.UNKNOWN, "unknown", reason)
    limited = [
        (limit - value, value, limit, each)
        for value, each in known
        if (limit := each.throttle if each.throttle is not None else each.critical) is not None
    ]
    if not limited:
        value, hottest = max(known, key=lambda each: each[0])
        return Finding(area, name, FindingLevel.OK, f"{hottest.name} {value:.0f} °C, limit unknown")
    left, value, limit, reading = min(limited, key=lambda each: each[0])
    text = f"{reading.name} {value:.0f} °C, limit {limit:.0f} °C"
    if left > _CLOSE_C:
        return Finding(area, name, FindingLevel.OK, text)
    return Finding(
        area,
        name,
        FindingLevel.PROBLEM if left <= 0 else FindingLevel.WARNING,
        text,
        "the machine lowers its clocks at its limit, and figures depend on how long it has run",
        "cool it, or wait until it has cooled down",
        "edge-inference platform show",
    )
