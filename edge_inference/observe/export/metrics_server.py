"""A small HTTP server for one page of metrics, which no client can block or fill up."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from edge_inference.errors import ConfigError

#: From the begin of a connection to the end of its answer. Prometheus takes milliseconds.
_CONNECTION_S = 5.0
#: Of more connections at one time the oldest is dropped: it is the slowest.
_MAX_CONNECTIONS = 32
_MAX_HEAD_BYTES = 8192
_STOP_S = 5.0
_PATH = "/metrics"


class _Answer(NamedTuple):
    status: str
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    has_body: bool = True


class MetricsServer:
    """Answers ``GET /metrics`` in a thread of its own, from the begin on.

    ``read_page`` takes the header ``Accept`` of a request and returns the page with its type. With
    port 0 the system chooses one; ``port`` is the one in use. Raises ConfigError where it cannot
    listen.
    """

    def __init__(self, host: str, port: int, read_page: Callable[[str], tuple[bytes, str]]) -> None:
        self._read_page = read_page
        self._connections: dict[asyncio.Task[Any], None] = {}
        self._loop = asyncio.new_event_loop()
        try:
            self._server = self._loop.run_until_complete(
                asyncio.start_server(self._serve, host, port, limit=_MAX_HEAD_BYTES)
            )
        except (OSError, UnicodeError) as error:
            self._loop.close()
            raise ConfigError(
                f"cannot listen on {host}, port {port} ({_describe(error)}); choose another "
                "address or port, or end the program that uses it"
            ) from error
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    def close(self) -> None:
        """Drop all connections and stop listening."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_STOP_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        if len(self._connections) >= _MAX_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.cancel()
        self._connections[connection] = None
        # So that drain() waits until the whole answer is on its way.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            await asyncio.wait_for(self._answer(reader, writer), _CONNECTION_S)
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is slow, or has gone
        except asyncio.CancelledError:
            pass  # dropped by this server; asyncio of Python 3.11 would print a traceback
        finally:
            writer.transport.abort()
            self._connections.pop(connection, None)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            answer = _Answer("431 Request Header Fields Too Large", b"the request is too long\n")
        else:
            answer = self._respond(head.decode("latin-1"))
        lines = (
            f"HTTP/1.1 {answer.status}",
            f"Content-Type: {answer.kind}",
            f"Content-Length: {len(answer.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        )
        writer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
        if answer.has_body:
            writer.write(answer.body)
        await writer.drain()
        writer.write_eof()
        # To close a connection with unread bytes would tear the answer out of the client's hands.
        while await reader.read(_MAX_HEAD_BYTES):
            pass

    def _respond(self, head: str) -> _Answer:
        request, *headers = head.split("\r\n")
        method, _, rest = request.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1."):
            return _Answer("400 Bad Request", b"expected a request of HTTP/1.1\n")
        if method not in ("GET", "HEAD"):
            return _Answer("405 Method Not Allowed", b"expected the method GET\n")
        if target.partition("?")[0] != _PATH:
            return _Answer("404 Not Found", f"the metrics are at {_PATH}\n".encode())
        pairs = (header.partition(":") for header in headers)
        accept = ",".join(value.strip() for name, _, value in pairs if name.lower() == "accept")
        body, kind = self._read_page(accept)
        return _Answer("200 OK", body, kind, method == "GET")


def _describe(error: Exception) -> str:
    """Return why a socket cannot listen, without the text that asyncio adds."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno is not None and error.errno > 0:  # the lookup of a name has others
        return os.strerror(error.errno)
    return error.strerror or str(error)
