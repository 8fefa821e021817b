"""Finds the instructions of this machine's CPU for products of bytes, from /proc/cpuinfo.

x86 without VNNI adds pairs of such products in 16 bits with saturation (``vpmaddubsw``). VNNI,
AMX and ARM add them in 32 bits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CPU_FILE = Path("/proc/cpuinfo")
UNKNOWN = "unknown"

# Names of /proc/cpuinfo, best first.
_VNNI = ("amx_int8", "avx512_vnni", "avx_vnni")
_X86 = (*_VNNI, "avx512bw", "avx2", "avx", "sse4_1", "sse2")
_ARM = ("i8mm", "asimddp", "asimd", "neon")


@dataclass(frozen=True)
class CpuInstructions:
    """``instruction_set`` is the best one for products of bytes, or UNKNOWN.

    ``saturates`` tells whether sums of such products may saturate at 16 bits; an unknown CPU
    counts as one that saturates.
    """

    instruction_set: str
    saturates: bool


@functools.cache
def find_cpu_instructions(cpu_file: Path = CPU_FILE) -> CpuInstructions:
    """Return the CPU's abilities, read once; of different cores, those that all have."""
    try:
        lines = cpu_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for key, known in (("flags", _X86), ("Features", _ARM)):
        found = _best(_common_flags(lines, key), known)
        if found is not None:
            return CpuInstructions(found, saturates=known is _X86 and found not in _VNNI)
    return CpuInstructions(UNKNOWN, saturates=True)


def _common_flags(lines: Sequence[str], field: str) -> set[str]:
    """Return the flags in every line of a field."""
    entries = (line.partition(":") for line in lines)
    flags = [set(value.split()) for key, _, value in entries if key.strip() == field]
    return set.intersection(*flags) if flags else set()


def _best(flags: set[str], known: Sequence[str]) -> str | None:
    return next((name for name in known if name in flags), None)
