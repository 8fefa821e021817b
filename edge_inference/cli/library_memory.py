"""Checks that the memory limit is high enough to import the libraries.

Under a low limit some libraries report nothing: OpenBLAS, during the import of numpy, repeats its
allocation forever, and OpenCV crashes. So a child process with limited CPU time imports both
first. Without a memory limit there is no check.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal

from edge_inference.core.runtime.memory_limit import memory_limit_mib
from edge_inference.errors import EdgeInferenceError

#: The imports take half a second, and about three on a slow board.
_CPU_S = 12
#: Memory that this process needs besides; without it a library that just fits would crash here.
_SPARE = 96 << 20


def library_memory_problem() -> str | None:
    """Return the problem where the memory limit is too low for the libraries, else None.

    Call it before any library is imported, because it forks.
    """
    limit = memory_limit_mib()
    if limit is None or _can_import():
        return None
    return (
        f"the libraries need more memory than the limit of this process, {limit} MiB; raise it "
        "with ulimit -v and ulimit -d"
    )


def _can_import() -> bool:
    """Tell whether a child process survives the imports; a later import reports their errors."""
    child = os.fork()
    if child == 0:
        try:
            silent = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(silent, number)
            for number in (signal.SIGINT, signal.SIGTERM):  # a signal must end OpenBLAS's loop
                signal.signal(number, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            spare = mmap.mmap(-1, _SPARE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            import edge_inference.core.images.silent_opencv  # noqa: F401 - numpy and OpenCV, no more
            from edge_inference.backends.ort import import_onnxruntime

            import_onnxruntime()
            spare.close()
        except (ImportError, EdgeInferenceError):  # reported where the module is needed
            os._exit(0)
        except BaseException:  # does not happen on a working machine
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return status == 0
