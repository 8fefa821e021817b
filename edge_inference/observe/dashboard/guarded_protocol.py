"""The protocols of uvicorn within the limits of a guard: uvicorn has no deadline for a request.

Each object here stands between a transport and a protocol of uvicorn, passes everything on, and
tells the guard what the connection does.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from edge_inference.observe.dashboard.connection_guard import (
    ConnectionGuard,
    GuardedConnection,
    Phase,
)

#: The key of the scope under which the application finds its connection.
CONNECTION = "edge_inference.connection"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEAD_END = re.compile(rb"\n\r?\n")
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 27\r\nconnection: close\r\n\r\n"
    b"request header is too large"
)
# The kernel would keep megabytes for a client that reads nothing.
_KERNEL_BUFFER_BYTES = 256 * 1024


class GuardedProtocol(asyncio.Protocol):
    """Passes the events of a connection on to ``inner``, a protocol that runs ``inner.app``."""

    def __init__(self, inner: Any, guard: ConnectionGuard) -> None:
        self._inner = inner
        self._guard = guard
        self._app = inner.app
        inner.app = self._run
        self._transport: Any = None
        self._connection: GuardedConnection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on, unless the guard refuses the connection."""
        self._transport = transport
        self._connection = self._admit()
        if self._connection is not None:
            self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, and forget the connection."""
        self._guard.forget(self._transport)
        if self._connection is not None:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass it on, unless it is too much."""
        if self._connection is not None and self._takes(self._connection, data):
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        if self._connection is None:
            return None
        keeps_open: bool | None = self._inner.eof_received()
        return keeps_open

    def pause_writing(self) -> None:
        """Pass it on: the send buffer is full."""
        if self._connection is not None:
            self._connection.stall()
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on: the client reads."""
        if self._connection is not None:
            self._connection.flow()
            self._inner.resume_writing()

    def _admit(self) -> GuardedConnection | None:
        raise NotImplementedError

    def _takes(self, connection: GuardedConnection, data: bytes) -> bool:
        """Tell whether the data may be passed on; else end the connection."""
        raise NotImplementedError

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class GuardedHttp(GuardedProtocol):
    """An HTTP connection."""

    def __init__(self, inner: Any, guard: ConnectionGuard) -> None:
        super().__init__(inner, guard)
        self._head = b""

    def _admit(self) -> GuardedConnection | None:
        return self._guard.admit(self._transport)

    def _takes(self, connection: GuardedConnection, data: bytes) -> bool:
        if connection.phase is Phase.IDLE:
            connection.enter(Phase.WAITING)
        if connection.phase is not Phase.WAITING:
            return True
        self._head += data
        end = _HEAD_END.search(self._head)
        if (end.end() if end else len(self._head)) <= connection.limits.head_bytes:
            return True
        self._transport.write(_TOO_LARGE)
        self._transport.close()
        connection.enter(Phase.ENDING)
        return False

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = self._connection
        assert connection is not None
        self._head = b""
        connection.enter(Phase.ANSWERING)
        try:
            await self._app(scope, receive, send)
        finally:
            connection.enter(Phase.IDLE)


class GuardedWebSocket(GuardedProtocol):
    """A websocket, which takes over the transport of an HTTP connection.

    It is in the phase of greeting until the application lets it enter another one.
    """

    def __init__(self, inner: Any, guard: ConnectionGuard) -> None:
        super().__init__(inner, guard)
        self._unread_bytes = 0

    def _admit(self) -> GuardedConnection | None:
        connection = self._guard.find(self._transport)
        if connection is not None:
            connection.enter(Phase.GREETING)
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
        return connection

    def _takes(self, connection: GuardedConnection, data: bytes) -> bool:
        # A ping is answered whether the client reads the answers or not, and a message may have any
        # number of empty parts.
        self._unread_bytes += len(data)
        unsent_bytes = self._transport.get_write_buffer_size()
        if max(self._unread_bytes, unsent_bytes) <= connection.limits.buffer_bytes:
            return True
        self._transport.abort()
        return False

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = self._connection
        assert connection is not None

        async def receive_message() -> MutableMapping[str, Any]:
            message = await receive()
            self._unread_bytes = 0
            return message

        try:
            await self._app({**scope, CONNECTION: connection}, receive_message, send)
        finally:
            connection.enter(Phase.ENDING)
