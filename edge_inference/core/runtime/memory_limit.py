"""How much memory this process may take, and what is said where that is not enough.

What is limited is what it can write to (RLIMIT_DATA): the heap, the stacks of threads and private
copies of files. The address space (RLIMIT_AS) says less: libraries reserve more of it than they
ever use, ONNX Runtime twice its memory, CUDA all of the GPU's and the machine's together.
"""

from __future__ import annotations

import os
import resource

#: In words of C++, of ONNX Runtime's arena, and of the kernel.
_SHORT = ("bad_alloc", "Failed to allocate memory", "BFCArena::", "annot allocate memory")
_MIB = 1 << 20

#: The limit that was set here, in MiB, and the option that allows more.
_given: dict[int, str] = {}


def limit_memory(mib: int, option: str) -> None:
    """Let this process take at most so many MiB from now on; ``option`` is what allows more.

    A lower limit that it has already stays. It cannot be raised again.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [mib * _MIB, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), min(limits)))
    if min(limits) == mib * _MIB:
        _given[mib] = option


def memory_limit_mib() -> int | None:
    """Return the most MiB that this process may take, None where only the machine sets an end."""
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
    return min((n // _MIB for n in limits if n != resource.RLIM_INFINITY), default=None)


def machine_memory_mib() -> int:
    """Return how much memory this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB


def memory_hint() -> str:
    """Say what to do where the memory is short."""
    limit = memory_limit_mib()
    if limit is None:
        return "the memory is short; end other programs"
    return f"it may take at most {limit} MiB of memory; {raise_limit_hint()}"


def raise_limit_hint() -> str:
    """Say how the limit of :func:`memory_limit_mib` is raised."""
    option = _given.get(memory_limit_mib() or 0, "ulimit")
    return f"allow more with {option} where it is meant to take as much"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, a library's too, means that there was no memory to be had."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _SHORT)
