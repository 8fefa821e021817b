"""How many connections a server holds, and for how long: a slow client must not block the others.

A client that opens connections and sends little, or reads nothing, costs a few bytes and would
otherwise occupy a server for ever. Each connection here is in a phase that ends at a deadline.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable
from dataclasses import dataclass

_SWEEP_PERIOD_S = 0.25


@dataclass(frozen=True)
class ConnectionLimits:
    """What a connection may take; times in seconds.

    At most ``max_open`` connections are held, ``max_waiting`` of them without a complete request:
    the head of an HTTP request, or the first message on a websocket. More of these are cut after
    ``settle_s``, in which a request may come that is on its way. It must be complete within
    ``request_s``. A response must be out within ``response_s``, and the next request come within
    ``idle_s``. A client with a full send buffer must read something of it within ``stalled_s``. The
    server's own farewell comes ``grace_s`` before the connection is cut. On a websocket at most
    ``buffer_bytes`` may wait to be sent, or come without completing a message.
    """

    max_open: int = 64
    max_waiting: int = 16
    settle_s: float = 0.25
    request_s: float = 5.0
    response_s: float = 30.0
    idle_s: float = 15.0
    stalled_s: float = 10.0
    grace_s: float = 2.0
    head_bytes: int = 16 * 1024
    message_bytes: int = 64 * 1024
    buffer_bytes: int = 4 * 1024 * 1024


DEFAULT_LIMITS = ConnectionLimits()


class Phase(enum.Enum):
    """What a connection does.

    It waits for the head of a request, or on a websocket for the first message; it is answered, is
    idle, streams, or ends.
    """

    WAITING = enum.auto()
    GREETING = enum.auto()
    ANSWERING = enum.auto()
    IDLE = enum.auto()
    STREAMING = enum.auto()
    ENDING = enum.auto()


#: The phases without a complete request.
_INCOMPLETE = (Phase.WAITING, Phase.GREETING)


class GuardedConnection:
    """One connection, with its phase and the end of that phase on a monotonic clock."""

    def __init__(
        self, transport: asyncio.Transport, limits: ConnectionLimits, now_s: Callable[[], float]
    ) -> None:
        self.transport = transport
        self.limits = limits
        self._now_s = now_s
        self._stalled_until_s: float | None = None
        self._unsent_bytes = 0
        self.phase = Phase.WAITING
        self.since_s = 0.0
        self.until_s: float | None = None
        self.enter(Phase.WAITING)

    def enter(self, phase: Phase) -> None:
        """Begin a phase."""
        limits = self.limits
        lasts_s = {
            Phase.WAITING: limits.request_s,
            Phase.GREETING: limits.request_s + limits.grace_s,
            Phase.ANSWERING: limits.response_s,
            Phase.IDLE: limits.idle_s + limits.grace_s,
            Phase.STREAMING: None,
            Phase.ENDING: limits.grace_s,
        }[phase]
        self.phase = phase
        self.since_s = self._now_s()
        self.until_s = None if lasts_s is None else self.since_s + lasts_s

    def stall(self) -> None:
        """Note that the send buffer is full."""
        self._stalled_until_s = self._now_s() + self.limits.stalled_s
        self._unsent_bytes = self.transport.get_write_buffer_size()

    def flow(self) -> None:
        """Note that the client reads again."""
        self._stalled_until_s = None

    def check(self) -> bool:
        """Tell whether the connection may go on: no deadline has passed."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if self._stalled_until_s is not None and unsent_bytes < self._unsent_bytes:
            self.stall()  # a slow network is no client that does not read
        now_s = self._now_s()
        ends = (self.until_s, self._stalled_until_s)
        return all(end is None or now_s <= end for end in ends)


class ConnectionGuard:
    """All connections of a server; every method is called in the thread of its event loop."""

    def __init__(
        self,
        limits: ConnectionLimits = DEFAULT_LIMITS,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._now_s = now_s
        self._connections: dict[asyncio.Transport, GuardedConnection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, transport: asyncio.Transport) -> GuardedConnection | None:
        """Return a new connection, or None, with the transport cut, where there is no room.

        A new one replaces the one that has waited longest without a request, or has been idle
        longest: a client that means it sends its request at once.
        """
        self._limit_waiting(self.limits.max_waiting - 1)
        if len(self) >= self.limits.max_open and not (
            self._cut_oldest(Phase.IDLE) or self._cut_oldest(*_INCOMPLETE)
        ):
            transport.abort()
            return None
        connection = GuardedConnection(transport, self.limits, self._now_s)
        self._connections[transport] = connection
        return connection

    def find(self, transport: asyncio.Transport) -> GuardedConnection | None:
        """Return the connection of a transport; None where it has ended."""
        return self._connections.get(transport)

    def forget(self, transport: asyncio.Transport) -> None:
        """Note that a connection has ended."""
        self._connections.pop(transport, None)

    def sweep(self) -> None:
        """Cut the connections whose deadline has passed."""
        for connection in [each for each in self._connections.values() if not each.check()]:
            self._cut(connection)
        self._limit_waiting(self.limits.max_waiting)

    def cut_all(self) -> None:
        """Cut all connections."""
        for connection in list(self._connections.values()):
            self._cut(connection)

    async def watch(self) -> None:
        """Sweep until cancelled."""
        while True:
            self.sweep()
            await asyncio.sleep(_SWEEP_PERIOD_S)

    def _in_phases(self, *phases: Phase) -> list[GuardedConnection]:
        return [each for each in self._connections.values() if each.phase in phases]

    def _limit_waiting(self, count: int) -> None:
        """Cut the oldest connections without a request, until there are ``count`` of them."""
        waiting = sorted(self._in_phases(*_INCOMPLETE), key=lambda each: each.since_s)
        settled_s = self._now_s() - self.limits.settle_s
        for connection in waiting[: max(0, len(waiting) - count)]:
            if connection.since_s <= settled_s:
                self._cut(connection)

    def _cut_oldest(self, *phases: Phase) -> bool:
        found = self._in_phases(*phases)
        if found:
            self._cut(min(found, key=lambda each: each.since_s))
        return bool(found)

    def _cut(self, connection: GuardedConnection) -> None:
        # Its end is reported to the protocol later, and must not count until then.
        self.forget(connection.transport)
        connection.transport.abort()
