"""CUDA through pycuda: device, primary context and memory. No other file imports pycuda."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.trt.cuda import (
    DeviceInfo,
    DeviceMemory,
    Event,
    Graph,
    Kernel,
    Stream,
    out_of_memory,
)
from edge_inference.backends.trt.driver_library import DriverLibrary
from edge_inference.errors import BackendError

_log = logging.getLogger(__name__)


class PrimaryContexts:
    """The primary contexts of this process, each retained once for all its users.

    pycuda frees memory from any thread, if the context object that was current at the
    allocation is current again. All users must therefore share the object.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, tuple[Any, int]] = {}

    def retain(self, device: int, make: Callable[[], Any]) -> Any:
        """Return the context of a device; the first user makes it."""
        with self._lock:
            primary, users = self._held.get(device) or (make(), 0)
            self._held[device] = (primary, users + 1)
            return primary

    def release(self, device: int, driver: DriverLibrary) -> None:
        """Release one use; the last one frees the context."""
        with self._lock:
            primary, users = self._held.pop(device)
            if users > 1:
                self._held[device] = (primary, users - 1)
                return
            # pycuda's detach leaves the context on the driver's stack and pushes the one below
            # on top of it. A new thread has an empty stack, so that popping one is enough.
            worker = threading.Thread(target=_detach, args=(primary, driver), daemon=True)
            worker.start()
            worker.join()


_contexts = PrimaryContexts()


class PycudaProvider:
    """One GPU through pycuda. See :class:`edge_inference.backends.trt.cuda.CudaProvider`."""

    def __init__(self, device: int = 0) -> None:
        self._device = device
        self._cuda: Any = None
        self._primary: Any = None
        self._driver: Any = None

    def open(self) -> DeviceInfo:
        """Retain the GPU's primary context."""
        cuda, driver = _import_pycuda(), DriverLibrary()
        try:
            cuda.init()
            count = cuda.Device.count()
        except cuda.Error as error:
            raise _no_device(error) from error
        if not 0 <= self._device < count:
            raise BackendError(
                f"device: expected {_range(count)}, got {self._device}; this machine has {count} "
                "CUDA device(s)"
            )
        try:
            device = cuda.Device(self._device)
            info = _info(cuda, device)
            self._primary = _contexts.retain(self._device, device.retain_primary_context)
        except cuda.Error as error:
            raise _failure("the GPU cannot be used", error) from error
        self._cuda, self._driver = cuda, driver
        return info

    def close(self) -> None:
        """Release the primary context."""
        if self._primary is not None:
            self._primary = None
            _contexts.release(self._device, self._driver)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the primary context current in this thread during the block."""
        try:
            self._primary.push()
        except self._cuda.Error as error:
            raise _failure("the GPU context cannot be made current", error) from error
        try:
            yield
        finally:
            self._pop()

    def allocate(self, size: int) -> DeviceMemory:
        """Allocate GPU memory."""
        try:
            handle = self._cuda.mem_alloc(size)
        except self._cuda.MemoryError as error:
            raise out_of_memory("GPU memory", size, self._free_bytes()) from error
        except self._cuda.Error as error:
            raise _failure("GPU memory cannot be allocated", error) from error
        return DeviceMemory(int(handle), size, handle)

    def free(self, memory: DeviceMemory) -> None:
        """Free GPU memory."""
        memory.handle.free()

    def page_lock(self, size: int) -> NDArray[np.uint8]:
        """Allocate page-locked host memory."""
        try:
            host: NDArray[np.uint8] = self._cuda.pagelocked_empty(size, np.uint8)
        except self._cuda.MemoryError as error:
            raise out_of_memory("page-locked host memory", size, None) from error
        except self._cuda.Error as error:
            raise _failure("page-locked host memory cannot be allocated", error) from error
        return host

    def unlock(self, host: NDArray[np.uint8]) -> None:
        """Free page-locked host memory."""
        allocation: Any = host.base
        allocation.free()

    def make_stream(self, priority: str) -> Stream:
        """Make a stream."""
        return Stream(self._driver.make_stream(priority))

    def drop_stream(self, stream: Stream) -> None:
        """Destroy a stream."""
        self._driver.call("cuStreamDestroy_v2", stream.handle)

    def copy_in(self, address: int, host_address: int, size: int, stream: Stream) -> None:
        """Queue a copy to the GPU."""
        self._driver.call("cuMemcpyHtoDAsync_v2", address, host_address, size, stream.handle)

    def copy_out(self, host_address: int, address: int, size: int, stream: Stream) -> None:
        """Queue a copy from the GPU."""
        self._driver.call("cuMemcpyDtoHAsync_v2", host_address, address, size, stream.handle)

    def synchronize(self, stream: Stream) -> None:
        """Wait for a stream."""
        self._driver.call("cuStreamSynchronize", stream.handle)

    def make_event(self) -> Event:
        """Make an event with a time."""
        return Event(self._driver.make_event())

    def drop_event(self, event: Event) -> None:
        """Destroy an event."""
        self._driver.call("cuEventDestroy_v2", event.handle)

    def record(self, event: Event, stream: Stream) -> None:
        """Queue an event."""
        self._driver.call("cuEventRecord", event.handle, stream.handle)

    def elapsed_ms(self, begin: Event, end: Event) -> float:
        """Return the milliseconds between two events."""
        return float(self._driver.elapsed_ms(begin.handle, end.handle))

    def load_kernel(self, image: bytes, name: str) -> Kernel:
        """Load a kernel."""
        module = self._driver.load_module(image)
        try:
            return Kernel(self._driver.find_function(module, name), module)
        except BackendError:
            self._driver.call("cuModuleUnload", module)
            raise

    def unload_kernel(self, kernel: Kernel) -> None:
        """Unload a kernel."""
        self._driver.call("cuModuleUnload", kernel.module)

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int],
        block: tuple[int, int],
        argument: int,
        stream: Stream,
    ) -> None:
        """Queue a kernel."""
        self._driver.launch(kernel.handle, grid, block, argument, stream.handle)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record the work that ``work`` queues."""
        driver = self._driver
        if driver.missing_for_graphs:
            raise BackendError(f"the driver lacks {driver.missing_for_graphs[0]}")
        driver.begin_capture(stream.handle)
        try:
            work()
        except BaseException:
            self._abandon_capture(stream)
            raise
        template = driver.end_capture(stream.handle)
        try:
            return Graph(driver.instantiate(template))
        finally:
            driver.call("cuGraphDestroy", template)

    def launch_graph(self, graph: Graph, stream: Stream) -> None:
        """Queue a graph."""
        self._driver.call("cuGraphLaunch", graph.handle, stream.handle)

    def drop_graph(self, graph: Graph) -> None:
        """Free a graph."""
        self._driver.call("cuGraphExecDestroy", graph.handle)

    def _abandon_capture(self, stream: Stream) -> None:
        """End the capture; a failed capture often has no graph template to free."""
        try:
            template = self._driver.end_capture(stream.handle)
        except BackendError:
            return
        self._driver.call("cuGraphDestroy", template)

    def _pop(self) -> None:
        """Pop the context. A context left on pycuda's stack would abort the process later."""
        try:
            self._cuda.Context.pop()
        except self._cuda.Error:
            # Other code popped it from the driver's stack; push it again, then pop both.
            self._driver.push_context(self._primary.handle)
            self._cuda.Context.pop()

    def _free_bytes(self) -> int | None:
        try:
            free, _ = self._cuda.mem_get_info()
        except self._cuda.Error:
            return None
        return int(free)


def _import_pycuda() -> Any:
    try:
        import pycuda.driver
    except (ImportError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendError(
            f"pycuda cannot be imported ({first}); install the NVIDIA driver of this machine, "
            "and pip install pycuda"
        ) from error
    return pycuda.driver


def _info(cuda: Any, device: Any) -> DeviceInfo:
    major, minor = device.compute_capability()
    integrated = device.get_attribute(cuda.device_attribute.INTEGRATED)
    return DeviceInfo(
        device.name(), f"{major}.{minor}", int(device.total_memory()), bool(integrated)
    )


def _detach(primary: Any, driver: DriverLibrary) -> None:
    try:
        primary.push()
        primary.detach()
        driver.pop_context()
    except Exception as error:  # an error would be lost in this thread: log it
        _log.warning("the GPU context could not be freed: %s", error)


def _range(count: int) -> str:
    return "0" if count == 1 else f"0 to {count - 1}"


def _no_device(error: Exception) -> BackendError:
    return BackendError(
        f"no CUDA device is usable ({error}); check the driver with nvidia-smi, and that this "
        "user and container may use the GPU"
    )


def _failure(what: str, error: Exception) -> BackendError:
    return BackendError(
        f"{what} ({error}); close this backend and open it again, or restart the process"
    )
