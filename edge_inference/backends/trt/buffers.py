"""Named buffers on the host and the GPU, kept between runs; they only grow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.trt.cuda import CudaProvider, DeviceMemory

#: Sizes are rounded up to a multiple of this; an empty tensor has an address, too.
_GRAIN = 256


@dataclass(frozen=True)
class Buffer:
    """Page-locked host memory and, unless the tensor is on the host, GPU memory."""

    host: NDArray[np.uint8]
    device: DeviceMemory | None

    @property
    def host_address(self) -> int:
        """The address of the host memory."""
        return int(self.host.ctypes.data)

    @property
    def address(self) -> int:
        """The address for TensorRT."""
        return self.host_address if self.device is None else self.device.address


class Buffers:
    """The buffers of one worker. Use it inside the provider's ``current``.

    ``generation`` changes whenever an address changes: earlier addresses are then invalid.
    """

    def __init__(self, provider: CudaProvider) -> None:
        self._provider = provider
        self._buffers: dict[str, Buffer] = {}
        self.generation = 0

    def reserve(self, name: str, size: int, *, on_host: bool = False) -> Buffer:
        """Return the buffer of a name with at least ``size`` bytes.

        A buffer that grows loses its content. Raises BackendError without free memory; the name
        then has no buffer and may be reserved again.
        """
        buffer = self._buffers.get(name)
        if buffer is not None and buffer.host.size >= size:
            return buffer
        # Free the old memory first: a GPU that is nearly full cannot hold both.
        self._drop(name)
        self._buffers[name] = buffer = self._make(max(-(-size // _GRAIN), 1) * _GRAIN, on_host)
        return buffer

    def close(self) -> None:
        """Free everything."""
        for name in list(self._buffers):
            self._drop(name)

    def _make(self, size: int, on_host: bool) -> Buffer:
        host = self._provider.page_lock(size)
        if on_host:
            return Buffer(host, None)
        try:
            return Buffer(host, self._provider.allocate(size))
        except BaseException:
            self._provider.unlock(host)
            raise

    def _drop(self, name: str) -> None:
        self.generation += 1
        buffer = self._buffers.pop(name, None)
        if buffer is None:
            return
        self._provider.unlock(buffer.host)
        if buffer.device is not None:
            self._provider.free(buffer.device)
