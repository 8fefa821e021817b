"""What the TensorRT backend needs of CUDA, so that another binding than pycuda can serve it.

A provider works on one GPU and its primary context, which it shares with every
other user of CUDA in the process. All calls but ``open``, ``close`` and
``current`` are made inside ``with provider.current():``. What is made by a
provider is freed through it, before ``close``. Failures are BackendErrors.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_inference.errors import BackendError

#: Which stream the GPU prefers when several have work.
PRIORITIES = ("low", "normal", "high")

#: Results of the driver after which nothing works any more in this process:
#: illegal address, launch time-out, assert, hardware stack error, illegal
#: instruction, misaligned address, invalid address space, invalid program
#: counter, launch failure, uncorrectable memory error, unknown.
LOST_CONTEXT = frozenset((700, 702, 710, 714, 715, 716, 717, 718, 719, 214, 999))


@dataclass(frozen=True)
class DeviceInfo:
    """A GPU. ``total_memory`` is in bytes; ``integrated`` shares it with the processor."""

    name: str
    compute_capability: str
    total_memory: int
    integrated: bool


@dataclass(frozen=True)
class DeviceMemory:
    """Memory of the GPU; ``handle`` belongs to the provider."""

    address: int
    size: int
    handle: Any


@dataclass(frozen=True)
class Stream:
    """A queue of the GPU's work, as the driver knows it."""

    handle: int


@dataclass(frozen=True)
class Kernel:
    """A function that runs on the GPU, and the module it is part of."""

    handle: int
    module: int


@dataclass(frozen=True)
class Graph:
    """Recorded work that is launched as a whole."""

    handle: int


class CudaProvider(Protocol):
    """One GPU, through one CUDA binding."""

    def open(self) -> DeviceInfo:
        """Take part in the GPU's primary context. Raises BackendError without driver or GPU."""

    def close(self) -> None:
        """Let go of the primary context; closing a closed provider does nothing."""

    def current(self) -> AbstractContextManager[None]:
        """Make the primary context this thread's for the block, and restore what was before."""

    def allocate(self, size: int) -> DeviceMemory:
        """Allocate memory of the GPU, ``size`` in bytes."""

    def free(self, memory: DeviceMemory) -> None:
        """Free memory of the GPU."""

    def page_lock(self, size: int) -> NDArray[np.uint8]:
        """Allocate host memory that the GPU copies from and to while the processor goes on."""

    def unlock(self, host: NDArray[np.uint8]) -> None:
        """Free an array of ``page_lock``; no view of it may be used afterwards."""

    def make_stream(self, priority: str) -> Stream:
        """Make a stream of one of ``PRIORITIES`` that does not wait for the default stream."""

    def drop_stream(self, stream: Stream) -> None:
        """Destroy a stream."""

    def copy_in(self, address: int, host_address: int, size: int, stream: Stream) -> None:
        """Queue a copy of ``size`` bytes from page-locked memory to the GPU."""

    def copy_out(self, host_address: int, address: int, size: int, stream: Stream) -> None:
        """Queue a copy of ``size`` bytes from the GPU to page-locked memory."""

    def synchronize(self, stream: Stream) -> None:
        """Wait until all work of the stream is done, without the GIL."""

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
        """Queue a kernel whose only parameter is the structure at the host address ``argument``."""

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what ``work`` queues on the stream instead of running it.

        Raises BackendError where this driver or that work cannot be recorded; the
        stream is as before then. What ``work`` raises comes through.
        """

    def launch_graph(self, graph: Graph, stream: Stream) -> None:
        """Queue recorded work."""

    def drop_graph(self, graph: Graph) -> None:
        """Free recorded work."""


def driver_error(call: str, code: int, words: str) -> BackendError:
    """Say what a failed call of the driver means for the caller."""
    said = f"the GPU driver failed in {call} ({words or 'no description'}, error {code})"
    if code in LOST_CONTEXT:
        return BackendError(f"{said}: the GPU's state for this process is lost; restart it")
    return BackendError(f"{said}; close this backend and open it again")


def out_of_memory(what: str, size: int, free: int | None) -> BackendError:
    """Say how much memory was asked for and how much there is."""
    left = "" if free is None else f", {_mib(free)} are free"
    return BackendError(
        f"there is no room for {_mib(size)} of {what}{left}; "
        "close other programs or models, or build a smaller profile"
    )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
