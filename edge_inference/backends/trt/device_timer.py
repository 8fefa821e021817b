"""Times what a stream does on the GPU, with two CUDA events around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edge_inference.backends.trt.cuda import CudaProvider, Event, Stream
from edge_inference.errors import BackendError


class DeviceTimer:
    """The time of the last run of one stream. Use it inside the provider's ``current``.

    An event costs about a microsecond. Where the driver has none, or one fails, the time is unknown
    and the run goes on.
    """

    def __init__(self, provider: CudaProvider, stream: Stream) -> None:
        self._provider = provider
        self._stream = stream
        self._events: list[Event] = []

    def open(self) -> None:
        """Make the events."""
        with suppress(BackendError):
            self._events.append(self._provider.make_event())
            self._events.append(self._provider.make_event())

    def close(self) -> None:
        """Free the events."""
        while self._events:
            self._provider.drop_event(self._events.pop())

    @contextmanager
    def around(self) -> Iterator[None]:
        """Time the work that is queued in the block."""
        self._record(0)
        yield
        self._record(1)

    def read_ms(self) -> float | None:
        """Return the milliseconds between the events, once the stream is idle; None if unknown."""
        if len(self._events) < 2:
            return None
        try:
            return self._provider.elapsed_ms(*self._events)
        except BackendError:
            self._forget()
            return None

    def _record(self, number: int) -> None:
        if len(self._events) == 2:
            try:
                self._provider.record(self._events[number], self._stream)
            except BackendError:
                self._forget()

    def _forget(self) -> None:
        """Stop timing: an event has failed, and would fail again."""
        with suppress(BackendError):
            self.close()
        self._events.clear()
