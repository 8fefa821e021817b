"""The functions of the CUDA driver library that pycuda lacks, through ctypes.

pycuda has no graphs, and its streams have no priority and cannot wrap a stream from another
library. Streams, the work on them and graphs therefore come from this module. It needs no CUDA
headers: every driver since CUDA 11.4 has the functions below, in these versions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any

from edge_inference.backends.trt.cuda import driver_error
from edge_inference.errors import BackendError

LIBRARY = "libcuda.so.1"

_NON_BLOCKING = 1
_CAPTURE_THREAD_LOCAL = 1

_ADDRESS = c_ulonglong
_OUT = POINTER(c_void_p)

_SIGNATURES: dict[str, Sequence[Any]] = {
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuCtxPushCurrent_v2": (c_void_p,),
    "cuCtxPopCurrent_v2": (_OUT,),
    "cuCtxGetStreamPriorityRange": (POINTER(c_int), POINTER(c_int)),
    "cuStreamCreateWithPriority": (_OUT, c_uint, c_int),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (_ADDRESS, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, _ADDRESS, c_size_t, c_void_p),
    "cuModuleLoadData": (_OUT, c_char_p),
    "cuModuleUnload": (c_void_p,),
    "cuModuleGetFunction": (_OUT, c_void_p, c_char_p),
    "cuLaunchKernel": (c_void_p, *(c_uint,) * 7, c_void_p, _OUT, _OUT),
}

#: Needed for graphs only; without one of them, work is queued call by call.
_GRAPH_SIGNATURES: dict[str, Sequence[Any]] = {
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, _OUT),
    "cuGraphInstantiateWithFlags": (_OUT, c_void_p, c_ulonglong),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphExecDestroy": (c_void_p,),
}

#: Needed for the time on the GPU only; without one of them, it is unknown.
_EVENT_SIGNATURES: dict[str, Sequence[Any]] = {
    "cuEventCreate": (_OUT, c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cuEventDestroy_v2": (c_void_p,),
}
_EVENT_WITH_TIME = 0


_ALL_SIGNATURES = {**_SIGNATURES, **_GRAPH_SIGNATURES, **_EVENT_SIGNATURES}


class DriverLibrary:
    """The driver's functions; a result other than success becomes a BackendError."""

    def __init__(self, library: str = LIBRARY) -> None:
        try:
            loaded = ctypes.CDLL(library)
        except OSError as error:
            raise BackendError(
                f"the CUDA driver is missing ({error}); install the NVIDIA driver of this machine"
            ) from error
        self._functions = {
            name: function
            for name, arguments in _ALL_SIGNATURES.items()
            if (function := _function(loaded, name, arguments)) is not None
        }
        missing = [name for name in _SIGNATURES if name not in self._functions]
        if missing:
            raise BackendError(
                f"the CUDA driver is too old: it lacks {missing[0]}; install a driver of CUDA 11.4 "
                "or later"
            )
        self.missing_for_graphs = [
            name for name in _GRAPH_SIGNATURES if name not in self._functions
        ]
        self._missing_for_events = [
            name for name in _EVENT_SIGNATURES if name not in self._functions
        ]

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function, without the GIL."""
        code = self._functions[name](*arguments)
        if code:
            raise driver_error(name, code, self._description(code))

    def push_context(self, handle: int) -> None:
        """Push a context on this thread's stack."""
        self.call("cuCtxPushCurrent_v2", handle)

    def pop_context(self) -> None:
        """Pop the topmost context from this thread's stack."""
        self.call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def make_stream(self, priority: str) -> int:
        """Make a stream of priority "high", "normal" or "low"."""
        least, greatest = c_int(), c_int()
        self.call("cuCtxGetStreamPriorityRange", byref(least), byref(greatest))
        level = {"low": least.value, "normal": 0, "high": greatest.value}[priority]
        return self._create("cuStreamCreateWithPriority", _NON_BLOCKING, level)

    def make_event(self) -> int:
        """Make an event; raises BackendError where the driver lacks a function of events."""
        if self._missing_for_events:
            raise BackendError(f"the driver lacks {self._missing_for_events[0]}")
        return self._create("cuEventCreate", _EVENT_WITH_TIME)

    def elapsed_ms(self, begin: int, end: int) -> float:
        """Return the milliseconds between two events."""
        elapsed = c_float()
        self.call("cuEventElapsedTime", byref(elapsed), begin, end)
        return elapsed.value

    def load_module(self, image: bytes) -> int:
        """Load PTX text."""
        return self._create("cuModuleLoadData", image)

    def find_function(self, module: int, name: str) -> int:
        """Find a kernel of a module."""
        return self._create("cuModuleGetFunction", module, name.encode())

    def launch(
        self,
        function: int,
        grid: tuple[int, int],
        block: tuple[int, int],
        argument: int,
        stream: int,
    ) -> None:
        """Queue a kernel with one parameter, a structure at a host address."""
        parameters = (c_void_p * 1)(argument)
        self.call("cuLaunchKernel", function, *grid, 1, *block, 1, 0, stream, parameters, None)

    def begin_capture(self, stream: int) -> None:
        """Start the capture of a stream; other threads may allocate memory meanwhile."""
        self.call("cuStreamBeginCapture_v2", stream, _CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """End the capture, and return the graph template."""
        return self._create("cuStreamEndCapture", stream, output_last=True)

    def instantiate(self, template: int) -> int:
        """Make an executable graph from a graph template."""
        return self._create("cuGraphInstantiateWithFlags", template, 0)

    def _create(self, name: str, *arguments: Any, output_last: bool = False) -> int:
        handle = c_void_p()
        output = byref(handle)
        self.call(name, *((*arguments, output) if output_last else (output, *arguments)))
        if handle.value is None:
            raise driver_error(name, 0, "it returned no handle")
        return handle.value

    def _description(self, code: int) -> str:
        text = c_char_p()
        self._functions["cuGetErrorString"](code, byref(text))
        return (text.value or b"").decode(errors="replace")


def _function(loaded: ctypes.CDLL, name: str, arguments: Sequence[Any]) -> Any:
    try:
        function = getattr(loaded, name)
    except AttributeError:
        return None
    function.argtypes = arguments
    function.restype = c_int
    return function
