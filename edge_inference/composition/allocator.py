"""Tuning of glibc's malloc: keep freed blocks of the size of an image in the process.

By default glibc returns blocks of this size to the kernel at once, and the kernel
zeroes every page again for the next image. That costs more than the copy of the image
(measured: 1080p publish to callback 2.5 ms, tuned 1.1 ms). The cost of the tuning is
resident memory, which each malloc arena keeps for itself. glibc creates up to eight
arenas for every processor as threads come and go, so their number is limited (measured
over 60 changes of engine on two processors: 1040 MB and growing, limited 390 MB).
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_BLOCK_BYTES = 32 << 20
_KEEP_BYTES = 64 << 20
#: About the number of threads that allocate large blocks at the same time.
_ARENAS = 4


def keep_large_blocks() -> bool:
    """Tune glibc's malloc for this process; False if the C library has no mallopt."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    options = {
        _M_MMAP_THRESHOLD: _BLOCK_BYTES,
        _M_TRIM_THRESHOLD: _KEEP_BYTES,
        _M_ARENA_MAX: _ARENAS,
    }
    return all(mallopt(option, value) for option, value in options.items())


def release_free_memory() -> None:
    """Return free memory to the kernel, for use after a model is opened.

    Opening a model needs a multiple of its memory. Measured with the voice pipeline's models:
    194 MiB before, 137 MiB after. Does nothing if the C library has no malloc_trim.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
