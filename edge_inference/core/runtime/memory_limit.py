"""The memory of this process and its limit, and the hint for errors where that is too low.

The limit applies to writable memory (RLIMIT_DATA): the heap, the stacks of threads and private
file mappings. A limit of the address space (RLIMIT_AS) is less useful, because libraries reserve
more address space than they use: ONNX Runtime twice its memory, CUDA the sum of all GPU and host
memory.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

#: Parts of the error messages of C++, of ONNX Runtime's arena, and of the kernel.
_MESSAGES = ("bad_alloc", "Failed to allocate memory", "BFCArena::", "annot allocate memory")
_MIB = 1 << 20
_STATM = Path("/proc/self/statm")

#: The limit that ``limit_memory`` set, in MiB, and the option that raises it.
_options: dict[int, str] = {}


def limit_memory(mib: int, option: str) -> None:
    """Limit the memory of this process to ``mib``; ``option`` is the option that raises it.

    A lower existing limit stays. The limit cannot be raised again.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [mib * _MIB, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), min(limits)))
    if min(limits) == mib * _MIB:
        _options[mib] = option


def memory_limit_mib() -> int | None:
    """Return the memory limit of this process in MiB, None where there is none."""
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
    return min((n // _MIB for n in limits if n != resource.RLIM_INFINITY), default=None)


def resident_mib() -> float:
    """Return the resident memory of this process in MiB. Raises OSError without /proc."""
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / _MIB


def machine_memory_mib() -> int:
    """Return the memory of this machine in MiB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB


def memory_hint() -> str:
    """Return what to do where memory is short."""
    limit = memory_limit_mib()
    if limit is None:
        return "memory is short; end other programs"
    return f"it may use at most {limit} MiB of memory; {raise_limit_hint()}"


def raise_limit_hint() -> str:
    """Return how to raise the limit of :func:`memory_limit_mib`."""
    option = _options.get(memory_limit_mib() or 0, "ulimit")
    return f"if this memory use is expected, raise the limit with {option}"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, including one of a library, means that memory was not available."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _MESSAGES)
