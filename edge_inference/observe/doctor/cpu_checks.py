"""Checks of the CPU: cores, governors, frequency limits, and the quota of a container."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge_inference.observe.doctor.check import DoctorCheck
from edge_inference.observe.doctor.control_groups import find_group_files
from edge_inference.observe.doctor.finding import Finding
from edge_inference.observe.doctor.machine_activity import Activity
from edge_inference.observe.doctor.system_view import SystemView, UnknownStateError

_CPU = "sys/devices/system/cpu"
_POLICIES = f"{_CPU}/cpufreq"
_POLICY = re.compile(r"policy\d+")
_SLOW_GOVERNORS = ("powersave", "conservative", "ondemand", "userspace")
#: With these drivers "powersave" still follows the load.
_ADAPTIVE_DRIVERS = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
_NO_CLOCKS = "the kernel shows no CPU clocks here; a virtual machine leaves them to its host"
_SET_GOVERNOR = "sudo edge-inference platform tune --apply"


def _cores(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    online = parse_cores(view.read(f"{_CPU}/online"))
    present = parse_cores(view.find(f"{_CPU}/present") or view.read(f"{_CPU}/online"))
    usable = online & view.cores()
    if len(usable) < len(online):
        yield check.warning(
            f"{len(usable)} of {len(online)} cores",
            "this process may use only a part of the cores",
            "start it without taskset, or give its container more cores (docker: --cpuset-cpus)",
        )
    elif online < present:
        yield check.note(
            f"{len(online)} of {len(present)} cores",
            "the others are switched off, on a Jetson by the power mode",
            "choose a power mode with all cores, if the power budget allows",
            "sudo nvpmodel -q --verbose",
        )
    else:
        yield check.ok(f"{len(online)} cores")


def _governor(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    governors = {
        policy: view.read(f"{_POLICIES}/{policy}/scaling_governor") for policy in _policies(view)
    }
    drivers = {view.find(f"{_POLICIES}/{policy}/scaling_driver") for policy in governors}
    value = _by_value(governors)
    slow = sorted({name for name in governors.values() if name in _SLOW_GOVERNORS})
    if slow and not (slow == ["powersave"] and drivers <= set(_ADAPTIVE_DRIVERS)):
        yield check.warning(
            value,
            f"with {', '.join(slow)} a core that has slept computes at a low clock at first, so "
            "that times of equal work differ",
            "select the governor performance",
            _SET_GOVERNOR,
        )
    elif set(governors.values()) != {"performance"}:
        yield check.note(
            value,
            "the clock follows the load; with performance the times of equal work differ less",
            "select the governor performance for measurements",
            _SET_GOVERNOR,
        )
    else:
        yield check.ok(value)


def _frequency_limits(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    lowered = {}
    for policy in _policies(view):
        limit = int(view.read(f"{_POLICIES}/{policy}/scaling_max_freq"))
        highest = int(view.read(f"{_POLICIES}/{policy}/cpuinfo_max_freq"))
        if limit < highest:
            lowered[policy] = f"{limit / 1e6:.2f} of {highest / 1e6:.2f} GHz"
    if lowered:
        yield check.warning(
            _by_value(lowered),
            "the highest clock is not allowed; a power mode, a governor of temperatures or a "
            "user has lowered it",
            "raise scaling_max_freq, or choose a power mode without this limit",
            "grep . /sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq",
        )
    else:
        yield check.ok("none")


def _quota(check: DoctorCheck, view: SystemView, activity: Activity) -> Iterator[Finding]:
    quotas = [
        quota / period
        for quota, period in (_parse_quota(text) for text in _quota_texts(view))
        if quota is not None
    ]
    if not quotas:
        yield check.ok("none")
        return
    before, after = activity.before.throttled_periods, activity.after.throttled_periods
    is_throttled = before is not None and after is not None and after > before
    cores = min(quotas)
    usable = len(view.cores())
    if cores >= usable and not is_throttled:
        yield check.ok(f"{cores:g} cores, as many as there are")
        return
    make = check.problem if cores < 1 or is_throttled else check.warning
    yield make(
        f"{cores:g} of {usable} cores" + (", used up just now" if is_throttled else ""),
        "when the quota of a period is used up, every thread stands still until the next one: "
        "pauses of up to 100 ms",
        "give the container more CPU time (docker: --cpus, Kubernetes: limits.cpu), or no quota",
        "cat /sys/fs/cgroup/cpu.stat",
    )


def parse_cores(text: str) -> set[int]:
    """Return the numbers in a list of the kernel, such as ``0-3,6``. Raises ValueError."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _policies(view: SystemView) -> list[str]:
    names = [name for name in view.list(_POLICIES) if _POLICY.fullmatch(name)]
    if not names:
        raise UnknownStateError(_NO_CLOCKS)
    return sorted(names, key=lambda name: int(name.removeprefix("policy")))


def _by_value(values: dict[str, str]) -> str:
    """Return one value for all policies, or each value with its policies."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    groups: dict[str, list[str]] = {}
    for policy, value in values.items():
        groups.setdefault(value, []).append(policy)
    return "; ".join(f"{', '.join(names)}: {value}" for value, names in groups.items())


def _quota_texts(view: SystemView) -> Iterator[str]:
    """Yield quota and period of each control group of this process, as version 2 writes them."""
    for path in find_group_files(view, "", "cpu.max"):
        yield view.read(path)
    for path in find_group_files(view, "cpu", "cpu.cfs_quota_us"):
        period = view.read(path.replace("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        yield f"{view.read(path)} {period}"


def _parse_quota(text: str) -> tuple[float | None, float]:
    """Return quota and period in microseconds; None for no quota. Raises ValueError."""
    quota, period = text.split()
    if quota in ("max", "-1"):
        return None, float(period)
    if float(period) <= 0:
        raise ValueError(f"the CPU quota has an impossible period, {period}")
    return float(quota), float(period)


CPU_CHECKS = (
    DoctorCheck("cpu", "cores", _cores),
    DoctorCheck("cpu", "governor", _governor),
    DoctorCheck("cpu", "frequency limit", _frequency_limits),
    DoctorCheck("cpu", "quota", _quota),
)
