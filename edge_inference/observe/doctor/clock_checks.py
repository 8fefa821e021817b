"""Checks of the clocks: their source, the system time, its synchronization, and steps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from edge_inference.observe.doctor.check import DoctorCheck
from edge_inference.observe.doctor.finding import Finding
from edge_inference.observe.doctor.machine_activity import Activity
from edge_inference.observe.doctor.system_view import SystemView

_SOURCE_FILE = "sys/devices/system/clocksource/clocksource0/current_clocksource"
#: Read through a device or a timer, which takes about a microsecond for every stamp.
_SLOW_SOURCES = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
#: No machine that runs this program was built before this; 2024-01-01 UTC.
_EARLIEST_NS = 1_704_067_200 * 10**9
_MAX_STEP_MS = 1.0


def _clock_source(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    source = view.read(_SOURCE_FILE)
    if source in _SLOW_SOURCES:
        yield check.warning(
            source,
            "each time stamp costs about a microsecond and a system call",
            "find out why the kernel left the CPU's own counter",
            "sudo dmesg | grep -i -e clocksource -e tsc",
        )
    else:
        yield check.ok(source)


def _system_time(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    now_ns = view.system_ns()
    text = datetime.fromtimestamp(now_ns // 10**9, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    if now_ns < _EARLIEST_NS:
        yield check.problem(
            text,
            "the system clock was never set, so that ages against other machines are wrong",
            "set the clock, or connect to a network with a time server",
            "sudo timedatectl set-ntp true",
        )
    else:
        yield check.ok(text)


def _synchronization(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    discipline = view.clock_discipline()
    if discipline.is_synchronized:
        yield check.ok(f"synchronized, error at most {discipline.max_error_s * 1e3:.0f} ms")
    else:
        yield check.warning(
            "not synchronized",
            "ages of images and sound from other machines contain the difference of the clocks",
            "synchronize the clock with a time server (NTP or PTP)",
            "sudo timedatectl set-ntp true",
        )


def _clock_steps(check: DoctorCheck, view: SystemView, activity: Activity) -> Iterator[Finding]:
    step_ms = activity.clock_step_ms
    value = f"{step_ms:+.2f} ms in {activity.seconds:.1f} s"
    if abs(step_ms) > _MAX_STEP_MS:
        yield check.warning(
            value,
            "the system clock moves against the steady clock, and the ages of frames with it",
            "let one service alone set the clock, and start after it has settled",
            "timedatectl timesync-status || chronyc tracking",
        )
    else:
        yield check.ok(f"steady: {value}")


CLOCK_CHECKS = (
    DoctorCheck("clocks", "clock source", _clock_source),
    DoctorCheck("clocks", "system time", _system_time),
    DoctorCheck("clocks", "synchronization", _synchronization),
    DoctorCheck("clocks", "clock steps", _clock_steps),
)
