"""A dashboard's server with a robot that a test makes up, and clients of it."""

from __future__ import annotations

import base64
import http.client
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from edge_inference.errors import ConfigError
from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.connection_guard import DEFAULT_LIMITS, ConnectionLimits
from edge_inference.observe.dashboard.dashboard_server import DashboardServer
from edge_inference.observe.dashboard.listening_socket import open_listening_socket
from edge_inference.observe.dashboard.page_files import PageFile
from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.parameter_row import ParameterRow
from edge_inference.observe.monitor.snapshot import ProcessRow, Snapshot

for _package in ("starlette", "uvicorn", "websockets"):
    pytest.importorskip(_package, reason=f"the dashboard needs {_package}: pip install {_package}")

DEADLINE_S = 120.0
HOST = "127.0.0.1"
LOCAL = AccessRules(HOST)
PAGE = b"<!DOCTYPE html><title>a page</title>"
FILES = {
    "": PageFile(PAGE, "text/html; charset=utf-8", '"1"'),
    "panels/a.js": PageFile(b"export {};", "text/javascript; charset=utf-8", '"2"'),
}
ROW = ParameterRow("confidence", "double", 0.4, 0.0, 1.0, (), "lowest score", False)


class ParametersDouble:
    """The parameters of one node, /ai/decode."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, object]] = []

    def read(self, node: str) -> Sequence[ParameterRow]:
        if node != "/ai/decode":
            raise ConfigError(f"{node!r}: expected a node of the observed pipeline")
        return (ROW,)

    def change(self, node: str, name: str, value: object) -> str:
        self.read(node)
        if value == 2.0:
            return "confidence: expected at most 1, got 2"
        self.changes.append((name, value))
        return ""


class FeedDouble:
    """A robot whose figures are partly unknown; ``watchers`` get the images."""

    def __init__(self) -> None:
        self.history = History()
        self.parameters = ParametersDouble()
        self.watchers: list[Callable[[bytes, int], None]] = []

    def snapshot(self) -> Snapshot:
        row = ProcessRow(7, ("/ai/decode",), 0.5, math.nan, math.nan, math.inf, 0.1)
        return Snapshot(time.time(), "/ai", ("/ai",), processes=(row,))

    def watch_image(self, callback: Callable[[bytes, int], None]) -> Callable[[], None]:
        self.watchers.append(callback)
        return lambda: self.watchers.remove(callback)

    def show(self, image: bytes, stamp_ns: int) -> None:
        for callback in [*self.watchers]:
            callback(image, stamp_ns)


@contextmanager
def serve(
    feed: FeedDouble, rules: AccessRules = LOCAL, limits: ConnectionLimits = DEFAULT_LIMITS
) -> Iterator[int]:
    """Serve a feed and yield the port; the server must not have complained."""
    messages: list[str] = []
    listener = open_listening_socket(HOST, 0)
    port = int(listener.getsockname()[1])
    server = DashboardServer(listener, feed, rules, FILES, messages.append, limits)
    server.start()
    try:
        yield port
    finally:
        server.close()
    assert messages == []


def until(predicate: Callable[[], object]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.01)


def get(
    port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and content of a response; ``if_none_match`` is If-None-Match."""
    connection = http.client.HTTPConnection(HOST, port, timeout=DEADLINE_S)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        content = response.read()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, content
    finally:
        connection.close()


@contextmanager
def connect(port: int, token: str | None = "", **options: Any) -> Iterator[Any]:
    """Open the websocket as the page does; without a hello where ``token`` is None."""
    from websockets.sync.client import connect as open_websocket

    given = {"origin": f"http://{HOST}:{port}", "max_size": None, **options}
    with open_websocket(f"ws://{HOST}:{port}/ws", compression=None, **given) as socket:
        if token is not None:
            send(socket, type="hello", token=token)
        yield socket


def send(socket: Any, **message: object) -> None:
    socket.send(json.dumps(message))


def receive(socket: Any, kind: str) -> dict[str, Any]:
    """Return the next message of this type; every one before it must be valid, too."""
    while True:
        data = socket.recv(timeout=DEADLINE_S)
        if isinstance(data, str):
            message: dict[str, Any] = json.loads(data, parse_constant=refuse)
            if message["type"] == kind:
                return message


def receive_image(socket: Any) -> bytes:
    while True:
        data = socket.recv(timeout=DEADLINE_S)
        if isinstance(data, bytes):
            return data


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def close_of(socket: Any) -> tuple[int, str]:
    """Return code and reason with which the server closes the websocket."""
    from websockets.exceptions import ConnectionClosed

    with pytest.raises(ConnectionClosed) as caught:
        while True:
            socket.recv(timeout=DEADLINE_S)
    assert caught.value.rcvd is not None, caught.value
    return caught.value.rcvd.code, caught.value.rcvd.reason


def handshake(port: int, **headers: str) -> int:
    """Ask for a websocket with these headers only; return the status of the response."""
    connection = http.client.HTTPConnection(HOST, port, timeout=DEADLINE_S)
    try:
        connection.putrequest("GET", "/ws", skip_host=True, skip_accept_encoding=True)
        key = base64.b64encode(os.urandom(16)).decode()
        fixed = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        for name, value in {**fixed, "Sec-WebSocket-Key": key, **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()
