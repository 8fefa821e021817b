"""Whether the libraries get the memory that they take when they are imported.

Under a limit some do not say so: OpenBLAS asks for its buffer again for ever, in numpy's import,
and OpenCV crashes. Both are tried in a child first, which may spend so much of a processor's time
and no more; without a limit nothing is tried.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal

from edge_inference.core.runtime.memory_limit import memory_limit_mib
from edge_inference.errors import EdgeInferenceError

#: Both imports take half a second, and some three on a slow board.
_CPU_S = 12
#: What else the process itself takes by then: at the very edge a library crashes in it alone.
_SPARE = 96 << 20


def library_memory_problem() -> str | None:
    """Say that this process may take too little memory for the libraries, None where it is enough.

    Only for a process of which nothing has been imported yet, for it forks.
    """
    limit = memory_limit_mib()
    if limit is None or _imports():
        return None
    return (
        f"the libraries take more memory than the {limit} MiB that this process may; allow more "
        "with ulimit -v and ulimit -d"
    )


def _imports() -> bool:
    """Tell whether a child survives the imports; what they say themselves comes later."""
    child = os.fork()
    if child == 0:
        try:
            silent = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(silent, number)
            for number in (signal.SIGINT, signal.SIGTERM):  # OpenBLAS gives up by the first
                signal.signal(number, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            spare = mmap.mmap(-1, _SPARE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            import edge_inference.core.images.silent_opencv  # noqa: F401 - numpy and OpenCV, no more
            from edge_inference.backends.ort import import_onnxruntime

            import_onnxruntime()
            spare.close()
        except (ImportError, EdgeInferenceError):  # told where it is met
            os._exit(0)
        except BaseException:  # none of a sound machine
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return status == 0
