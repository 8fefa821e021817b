"""Controls the CUDA driver's double: its counters, and failures on demand."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_char_p, c_int, c_long, c_size_t, c_void_p

OUT_OF_MEMORY = 2
INVALID_CONTEXT = 201
NOT_SUPPORTED = 801
LAUNCH_FAILED = 719

#: Counters that must be unchanged after a backend is closed.
LIVE = (
    "device_memory",
    "host_memory",
    "streams",
    "events",
    "graphs",
    "plans",
    "modules",
    "retained",
)

_Call = CFUNCTYPE(None, c_long)


class Double:
    """The loaded double. It also queues work of the TensorRT double on its streams."""

    def __init__(self) -> None:
        library = ctypes.CDLL("libcuda.so.1")
        library.double_last_misuse.restype = c_char_p
        library.double_count.restype = c_long
        library.double_count.argtypes = (c_char_p,)
        library.double_fail.argtypes = (c_char_p, c_int, c_int, c_int)
        library.double_set_memory.argtypes = (c_long,)
        library.double_is_capturing.argtypes = (c_void_p,)
        library.double_stream_priority.argtypes = (c_void_p,)
        library.double_holds.argtypes = (c_void_p, c_size_t, c_int)
        library.double_enqueue.argtypes = (c_void_p, _Call, _Call, c_long)
        library.cuStreamSynchronize.argtypes = (c_void_p,)
        self._library = library
        self._tokens = itertools.count(1)
        self._work: dict[int, Callable[[], None]] = {}
        self._run_c = _Call(lambda token: self._work[token]())
        self._release_c = _Call(lambda token: self._work.pop(token) and None)

    def reset(self) -> None:
        """Reset counts, failures and the GPU."""
        self._library.double_reset()

    def count(self, name: str) -> int:
        """Return the number of live objects, or of calls of a function since the reset."""
        return int(self._library.double_count(name.encode()))

    def live(self) -> dict[str, int]:
        """Return all counters that can leak."""
        return {name: self.count(name) for name in LIVE} | {"queued work": len(self._work)}

    def misuse(self) -> str:
        """Return the latest misuse of the driver, empty without one."""
        return self._library.double_last_misuse().decode() if self.count("misuses") else ""

    def fail(self, call: str, code: int, *, skip: int = 0, times: int = 1) -> None:
        """Let the next calls of a function fail, after ``skip`` successful ones."""
        self._library.double_fail(call.encode(), skip, times, code)

    def set_memory(self, size: int) -> None:
        """Set the bytes of the GPU."""
        self._library.double_set_memory(size)

    def set_devices(self, count: int) -> None:
        """Set the number of GPUs."""
        self._library.double_set_devices(count)

    def set_compute_capability(self, major: int, minor: int) -> None:
        """Set the model of the GPU."""
        self._library.double_set_compute_capability(major, minor)

    def priority(self, stream: int) -> int:
        """Return a stream's priority."""
        return int(self._library.double_stream_priority(stream))

    def is_capturing(self, stream: int) -> bool:
        """Tell whether a stream is being recorded."""
        return bool(self._library.double_is_capturing(stream))

    def holds(self, address: int, size: int, *, on_host: bool) -> bool:
        """Tell whether a range is in live memory of a kind."""
        return bool(self._library.double_holds(address, size, on_host))

    def synchronize(self, stream: int) -> bool:
        """Wait for a stream as another library in the process would."""
        return not self._library.cuStreamSynchronize(stream)

    def enqueue(self, stream: int, work: Callable[[], None]) -> bool:
        """Queue a callback on a stream; it may be recorded and run many times."""
        token = next(self._tokens)
        self._work[token] = work
        return not self._library.double_enqueue(stream, self._run_c, self._release_c, token)

    def pop(self) -> None:
        """Pop the topmost context from this thread's stack."""
        self._library.cuCtxPopCurrent_v2(ctypes.byref(c_void_p()))
