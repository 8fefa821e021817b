"""The CUDA functions that the TensorRT backend needs, as an interface; pycuda implements it.

A provider works on one GPU and its primary context, which all users of CUDA in the process
share. Call every method except ``open``, ``close`` and ``current`` inside
``with provider.current():``. Free everything that a provider made through the same provider,
before ``close``. Failures raise BackendError.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_inference.errors import BackendError

#: Priorities of a stream among several with work.
PRIORITIES = ("low", "normal", "high")

#: Driver errors after which CUDA does not work any more in this process:
#: illegal address, launch time-out, assert, hardware stack error, illegal
#: instruction, misaligned address, invalid address space, invalid program
#: counter, launch failure, uncorrectable memory error, unknown.
LOST_CONTEXT = frozenset((700, 702, 710, 714, 715, 716, 717, 718, 719, 214, 999))


@dataclass(frozen=True)
class DeviceInfo:
    """A GPU. ``total_memory`` is in bytes; an ``integrated`` GPU shares it with the CPU."""

    name: str
    compute_capability: str
    total_memory: int
    integrated: bool


@dataclass(frozen=True)
class DeviceMemory:
    """GPU memory; ``handle`` belongs to the provider."""

    address: int
    size: int
    handle: Any


@dataclass(frozen=True)
class Stream:
    """A CUDA stream."""

    handle: int


@dataclass(frozen=True)
class Kernel:
    """A CUDA kernel and its module."""

    handle: int
    module: int


@dataclass(frozen=True)
class Graph:
    """A recorded CUDA graph."""

    handle: int


@dataclass(frozen=True)
class Event:
    """A CUDA event with a time."""

    handle: int


class CudaProvider(Protocol):
    """One GPU, through one CUDA binding."""

    def open(self) -> DeviceInfo:
        """Retain the GPU's primary context. Raises BackendError without driver or GPU."""

    def close(self) -> None:
        """Release the primary context; closing a closed provider does nothing."""

    def current(self) -> AbstractContextManager[None]:
        """Make the primary context current in this thread during the block."""

    def allocate(self, size: int) -> DeviceMemory:
        """Allocate GPU memory, ``size`` in bytes."""

    def free(self, memory: DeviceMemory) -> None:
        """Free GPU memory."""

    def page_lock(self, size: int) -> NDArray[np.uint8]:
        """Allocate page-locked host memory for asynchronous copies."""

    def unlock(self, host: NDArray[np.uint8]) -> None:
        """Free an array of ``page_lock``; its views are invalid afterwards."""

    def make_stream(self, priority: str) -> Stream:
        """Make a stream with one of ``PRIORITIES`` that does not wait for the default stream."""

    def drop_stream(self, stream: Stream) -> None:
        """Destroy a stream."""

    def copy_in(self, address: int, host_address: int, size: int, stream: Stream) -> None:
        """Queue a copy of ``size`` bytes from page-locked memory to the GPU."""

    def copy_out(self, host_address: int, address: int, size: int, stream: Stream) -> None:
        """Queue a copy of ``size`` bytes from the GPU to page-locked memory."""

    def synchronize(self, stream: Stream) -> None:
        """Wait until the stream is idle, without the GIL."""

    def make_event(self) -> Event:
        """Make an event with a time. Raises BackendError where the driver has none."""

    def drop_event(self, event: Event) -> None:
        """Destroy an event."""

    def record(self, event: Event, stream: Stream) -> None:
        """Queue an event, which takes the time when the stream comes to it."""

    def elapsed_ms(self, begin: Event, end: Event) -> float:
        """Return the milliseconds between two recorded events of an idle stream."""

    def load_kernel(self, image: bytes, name: str) -> Kernel:
        """Load a function of a compiled module (PTX text)."""

    def unload_kernel(self, kernel: Kernel) -> None:
        """Unload a kernel's module."""

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int],
        block: tuple[int, int],
        argument: int,
        stream: Stream,
    ) -> None:
        """Queue a kernel with one parameter, the structure at the host address ``argument``."""

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record the work that ``work`` queues on the stream, instead of running it.

        Raises BackendError where the driver has no graphs or the work cannot be recorded; the
        stream is unchanged then. Errors of ``work`` pass through.
        """

    def launch_graph(self, graph: Graph, stream: Stream) -> None:
        """Queue a graph."""

    def drop_graph(self, graph: Graph) -> None:
        """Free a graph."""


def driver_error(call: str, code: int, description: str) -> BackendError:
    """Return the error for a failed call of the driver."""
    text = f"the GPU driver failed in {call} ({description or 'no description'}, error {code})"
    if code in LOST_CONTEXT:
        return BackendError(f"{text}: the GPU context of this process is lost; restart the process")
    return BackendError(f"{text}; close this backend and open it again")


def out_of_memory(what: str, size: int, free: int | None) -> BackendError:
    """Return the error for an allocation that failed."""
    left = "" if free is None else f", {_mib(free)} are free"
    return BackendError(
        f"cannot allocate {_mib(size)} of {what}{left}; "
        "close other programs or models, or build a smaller profile"
    )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
