"""Which steady clock the times of a process are on."""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def clock_id() -> int:
    """Return a number for this machine and boot; 0 where the system does not tell.

    Times of the steady clock (CLOCK_MONOTONIC) can be compared where it is the same.
    """
    try:
        return zlib.crc32(_BOOT_ID.read_bytes().strip())
    except OSError:
        return 0
