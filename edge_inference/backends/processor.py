"""Which instructions this machine's processor has for products of bytes, as Linux tells.

x86 without VNNI adds such products in pairs, in 16 bits, and cuts off what does not fit
(``vpmaddubsw``). VNNI, AMX and ARM add them up in 32 bits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CPU_FILE = Path("/proc/cpuinfo")
UNKNOWN = "unknown"

# As Linux names them, best first.
_VNNI = ("amx_int8", "avx512_vnni", "avx_vnni")
_X86 = (*_VNNI, "avx512bw", "avx2", "avx", "sse4_1", "sse2")
_ARM = ("i8mm", "asimddp", "asimd", "neon")


@dataclass(frozen=True)
class Processor:
    """``instruction_set`` is the best one for products of bytes, or UNKNOWN.

    ``saturates`` tells whether sums of such products may be cut off at 16 bits; what is
    unknown is taken for such a processor.
    """

    instruction_set: str
    saturates: bool


@functools.cache
def find_processor(cpu_file: Path = CPU_FILE) -> Processor:
    """Return what the processor can do, read once; of cores that differ, what all can do."""
    try:
        lines = cpu_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for key, known in (("flags", _X86), ("Features", _ARM)):
        found = _best(_words_of_all(lines, key), known)
        if found is not None:
            return Processor(found, saturates=known is _X86 and found not in _VNNI)
    return Processor(UNKNOWN, saturates=True)


def _words_of_all(lines: Sequence[str], wanted: str) -> set[str]:
    """Return the words that stand behind every occurrence of a key."""
    entries = (line.partition(":") for line in lines)
    words = [set(value.split()) for key, _, value in entries if key.strip() == wanted]
    return set.intersection(*words) if words else set()


def _best(words: set[str], known: Sequence[str]) -> str | None:
    return next((name for name in known if name in words), None)
