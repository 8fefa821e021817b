"""Checks of the load: what else runs, and who waits for cores, memory and disks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge_inference.observe.doctor.check import DoctorCheck
from edge_inference.observe.doctor.finding import Finding
from edge_inference.observe.doctor.machine_activity import Activity
from edge_inference.observe.doctor.system_view import SystemView, UnknownStateError

_MAX_BUSY = 0.3
_MAX_STEAL = 0.02
#: A process that uses more of one core is named.
_MAX_PROCESS = 0.15
_MAX_NAMED = 3
_AVERAGE = re.compile(r"^(some|full) avg10=([\d.]+)", re.MULTILINE)
#: Per cent of the last ten seconds in which somebody waited, above which it is a warning.
_MAX_PRESSURE = {"cpu": 10.0, "memory": 1.0, "io": 20.0}
_PRESSURE_ADVICE = {
    "cpu": ("tasks wait for a core", "end other programs, or give this one cores of its own"),
    "memory": ("tasks wait for memory", "end programs that use much memory"),
    "io": ("tasks wait for the disk", "end copies and recordings, or use a faster disk"),
}


def _busy(check: DoctorCheck, view: SystemView, activity: Activity) -> Iterator[Finding]:
    share = activity.busy_share()
    value = f"{share:.0%} of all cores busy"
    if share > _MAX_BUSY:
        yield check.warning(
            value,
            "other programs take time from the pipeline, and all figures are upper bounds",
            "end them, or measure later",
            "top -o %CPU",
        )
    else:
        yield check.ok(value)


def _run_queue(check: DoctorCheck, view: SystemView, activity: Activity) -> Iterator[Finding]:
    found = [each.runnable for each in (activity.before, activity.after)]
    known = [each for each in found if each is not None]
    if not known:
        raise UnknownStateError("/proc/stat does not show procs_running")
    runnable = max(min(known) - 1, 0)  # this program runs while it reads
    cores = len(view.cores())
    load = (view.find("proc/loadavg") or "").split()
    value = f"{runnable} tasks for {cores} cores" + (f", load {load[0]}" if load else "")
    is_loaded = bool(load) and float(load[0]) > cores
    if runnable >= cores or is_loaded:
        yield check.warning(
            value,
            "more tasks want to run than there are cores, so that each waits for the others",
            "end other programs, or measure later",
            "top -o %CPU",
        )
    else:
        yield check.ok(value)


def _processes(check: DoctorCheck, view: SystemView, activity: Activity) -> Iterator[Finding]:
    if not activity.after.processes:
        raise UnknownStateError("/proc shows no processes")
    busy = [each for each in activity.busiest(view.pid) if each[2] > _MAX_PROCESS]
    if not busy:
        yield check.ok("none uses much CPU time")
        return
    named = ", ".join(
        f"{name} (process {pid}) {cores:.0%}" for pid, name, cores in busy[:_MAX_NAMED]
    )
    more = f", and {len(busy) - _MAX_NAMED} more" if len(busy) > _MAX_NAMED else ""
    yield check.warning(
        f"{named} of a core{more}",
        "they share cores, caches and memory bandwidth with the pipeline",
        "end them if they are not part of the robot",
        f"ps -o pid,user,pcpu,args -p {','.join(str(pid) for pid, _, _ in busy[:_MAX_NAMED])}",
    )


def _pressure(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    texts = {name: view.find(f"proc/pressure/{name}") for name in _MAX_PRESSURE}
    if not any(texts.values()):
        raise UnknownStateError("the kernel does not report pressure (/proc/pressure)")
    values, high = [], []
    for name, text in texts.items():
        averages = {kind: float(average) for kind, average in _AVERAGE.findall(text or "")}
        if "some" in averages:
            values.append(f"{name} {averages['some']:g} %")
            if averages["some"] > _MAX_PRESSURE[name]:
                high.append(name)
    if not values:
        raise ValueError("/proc/pressure: expected lines such as 'some avg10=0.00'")
    if not high:
        yield check.ok(", ".join(values))
        return
    yield check.warning(
        ", ".join(values),
        "; ".join(_PRESSURE_ADVICE[name][0] for name in high) + ", in the last ten seconds",
        "; ".join(_PRESSURE_ADVICE[name][1] for name in high),
        "top",
    )


def _steal(check: DoctorCheck, view: SystemView, activity: Activity) -> Iterator[Finding]:
    share = activity.steal_share()
    if share > _MAX_STEAL:
        yield check.warning(
            f"{share:.1%}",
            "the host of this virtual machine gives its cores to others, and no figure here "
            "shows that",
            "measure on the robot, or on a machine with cores of its own",
        )
    else:
        yield check.ok(f"{share:.1%}")


LOAD_CHECKS = (
    DoctorCheck("load", "cpu time", _busy),
    DoctorCheck("load", "run queue", _run_queue),
    DoctorCheck("load", "other processes", _processes),
    DoctorCheck("load", "pressure", _pressure),
    DoctorCheck("load", "stolen time", _steal),
)
