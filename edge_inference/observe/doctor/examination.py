"""The examination: all checks of the doctor that need neither ROS 2 nor sensors."""

from __future__ import annotations

from edge_inference.observe.doctor.check import run_checks
from edge_inference.observe.doctor.clock_checks import CLOCK_CHECKS
from edge_inference.observe.doctor.cpu_checks import CPU_CHECKS
from edge_inference.observe.doctor.finding import Finding
from edge_inference.observe.doctor.load_checks import LOAD_CHECKS
from edge_inference.observe.doctor.machine_activity import watch_activity
from edge_inference.observe.doctor.memory_checks import MEMORY_CHECKS
from edge_inference.observe.doctor.software_checks import SOFTWARE_CHECKS
from edge_inference.observe.doctor.system_view import SystemView

ALL_CHECKS = (*CLOCK_CHECKS, *CPU_CHECKS, *LOAD_CHECKS, *MEMORY_CHECKS, *SOFTWARE_CHECKS)


def examine(view: SystemView | None = None) -> list[Finding]:
    """Return the findings of a machine, by default of this one; takes about half a second."""
    view = view or SystemView()
    return list(run_checks(ALL_CHECKS, view, watch_activity(view)))
