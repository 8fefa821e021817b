"""Checks of memory: what is free, swapping, and the shared memory of the middleware."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge_inference.observe.doctor.check import DoctorCheck
from edge_inference.observe.doctor.control_groups import find_group_files
from edge_inference.observe.doctor.finding import Finding
from edge_inference.observe.doctor.machine_activity import Activity
from edge_inference.observe.doctor.middleware_profile import SHIPPED_SEGMENT_BYTES, find_profile
from edge_inference.observe.doctor.system_view import SystemView, UnknownStateError

_MIB = 1 << 20
_LINE = re.compile(r"^(\w+):\s+(\d+) kB", re.MULTILINE)
_LOW_SHARE, _SHORT_SHARE = 0.10, 0.03
#: Less swap than this share of the memory was written long ago, and is not read again.
_SWAP_SHARE = 0.01
_SWAPPINESS = 10
#: A limit of version 1 that is as good as none: the largest multiple of a page.
_NO_LIMIT = 1 << 60
#: Processes of a robot that use shared memory: two containers, a camera, tools.
_PROCESSES = 4
_SHM = "dev/shm"


def _available(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    memory = _memory(view)
    total, available = memory["MemTotal"], memory["MemAvailable"]
    value = f"{available // _MIB} of {total // _MIB} MiB"
    share = available / total
    if share < _LOW_SHARE:
        make = check.problem if share < _SHORT_SHARE else check.warning
        yield make(
            value,
            "the kernel drops pages of programs and reads them again from the disk, which takes "
            "milliseconds each",
            "end programs that use much memory",
            "ps -eo pid,rss,comm --sort=-rss | head",
        )
    else:
        yield check.ok(value)


def _swap(check: DoctorCheck, view: SystemView, activity: Activity) -> Iterator[Finding]:
    memory = _memory(view)
    total, used = memory.get("SwapTotal", 0), memory.get("SwapTotal", 0) - memory.get("SwapFree", 0)
    before, after = activity.before.swapped_pages, activity.after.swapped_pages
    moved = after - before if before is not None and after is not None else 0
    value = f"{used // _MIB} of {total // _MIB} MiB in use"
    reason = "a page in swap comes back only after milliseconds, in the middle of a frame"
    free_memory = "end programs that use much memory, then empty the swap"
    command = "sudo swapoff -a && sudo swapon -a"
    if moved > 0:
        yield check.problem(f"{value}, {moved} pages moved just now", reason, free_memory, command)
    elif used > _SWAP_SHARE * memory["MemTotal"]:
        yield check.warning(value, reason, free_memory, command)
    elif used > 0:
        yield check.note(value, reason, free_memory, command)
    else:
        yield check.ok("not in use" if total else "none")


def _swappiness(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    value = int(view.read("proc/sys/vm/swappiness"))
    if value > _SWAPPINESS and _memory(view).get("SwapTotal", 0):
        yield check.note(
            str(value),
            "the kernel swaps pages of programs out while there is free memory",
            f"set vm.swappiness to {_SWAPPINESS}",
            "sudo edge-inference platform tune --apply",
        )
    else:
        yield check.ok(str(value))


def _memory_limit(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    files = [
        *find_group_files(view, "", "memory.max"),
        *find_group_files(view, "memory", "memory.limit_in_bytes"),
    ]
    texts = [text for text in (view.read(file) for file in files) if text != "max"]
    limits = [limit for limit in map(int, texts) if limit < _NO_LIMIT]
    total = _memory(view)["MemTotal"]
    if not limits or min(limits) >= total:
        yield check.ok("none")
    else:
        yield check.note(
            f"{min(limits) // _MIB} of {total // _MIB} MiB",
            "the kernel ends a process of this container that needs more",
            "give the container more memory if models do not fit (docker: --memory)",
        )


def _shared_memory(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    if not view.exists(_SHM):
        yield check.problem(
            "no /dev/shm",
            "Fast DDS sends images between processes over UDP, in fragments",
            "mount a tmpfs there",
            "sudo mount -t tmpfs -o size=1g tmpfs /dev/shm",
        )
        return
    total, _used, free = view.disk(view.root / _SHM)
    segment = find_profile(view).segment_bytes or SHIPPED_SEGMENT_BYTES
    value = f"{free // _MIB} of {total // _MIB} MiB free"
    needs = f"each process with the Fast DDS profile takes {segment // _MIB} MiB"
    advice = "give the container more shared memory (docker: --shm-size=1g, or --ipc=host)"
    if free < segment:
        yield check.problem(
            value,
            f"{needs}; without it images between processes go over UDP, in fragments",
            f"{advice}, or remove segments that processes left behind",
            "fastdds shm clean",
        )
    elif total < _PROCESSES * segment:
        yield check.warning(
            value,
            f"{needs}; that is enough for {total // segment} of them only",
            advice,
            "df -h /dev/shm",
        )
    else:
        yield check.ok(value)


def _memory(view: SystemView) -> dict[str, int]:
    """Return the fields of /proc/meminfo in bytes; UnknownStateError without the main ones."""
    fields = {name: int(number) << 10 for name, number in _LINE.findall(view.read("proc/meminfo"))}
    if not fields.get("MemTotal") or "MemAvailable" not in fields:
        raise UnknownStateError("/proc/meminfo: expected MemTotal and MemAvailable")
    return fields


MEMORY_CHECKS = (
    DoctorCheck("memory", "available", _available),
    DoctorCheck("memory", "swap", _swap),
    DoctorCheck("memory", "swappiness", _swappiness),
    DoctorCheck("memory", "limit", _memory_limit),
    DoctorCheck("memory", "shared memory", _shared_memory),
)
