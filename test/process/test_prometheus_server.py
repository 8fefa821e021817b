"""The server of the metrics: what it answers, and that no client keeps others from an answer."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from edge_inference.errors import ConfigError
from edge_inference.observe.export import metrics_server
from edge_inference.observe.export.metrics_server import MetricsServer

TIMEOUT_S = 30.0
PAGE = b"edge_inference_pipeline_running 1\n" * 20_000


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """A server whose page says how it was asked for."""
    with closing(MetricsServer("127.0.0.1", 0, lambda accept: (accept.encode(), "text/x"))) as made:
        yield made


@pytest.fixture
def large() -> Iterator[MetricsServer]:
    with closing(MetricsServer("127.0.0.1", 0, lambda accept: (PAGE, "text/plain"))) as made:
        yield made


def connect(server: MetricsServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S)


def ask(server: MetricsServer, request: bytes) -> bytes:
    """Return everything that the server answers until it closes the connection."""
    with connect(server) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def get(server: MetricsServer) -> tuple[int, bytes]:
    """Ask for the page as any client does."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    with closing(client):
        client.request("GET", "/metrics", headers={"Accept": "text/plain"})
        response = client.getresponse()
        return response.status, response.read()


def test_the_page_is_of_the_type_that_was_asked_for(server: MetricsServer) -> None:
    head, _, body = ask(
        server, b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\naccept: text/a\r\nACCEPT:text/b\r\n\r\n"
    ).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Type: text/x\r\n" in head and b"\r\nContent-Length: 13\r\n" in head
    assert b"\r\nConnection: close" in head
    assert body == b"text/a,text/b"


def test_a_large_page_comes_whole(large: MetricsServer) -> None:
    assert get(large) == (200, PAGE)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"HEAD /metrics HTTP/1.1", b"200"),
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /metrics/../../etc/passwd HTTP/1.1", b"404"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"GET /metrics", b"400"),
        (b"GET /metrics HTTP/2", b"400"),
        (b"\xff\x00 \x01", b"400"),
        (b"", b"400"),
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000, b"431"),
    ],
)
def test_each_request_gets_its_answer(
    server: MetricsServer, request_line: bytes, status: bytes
) -> None:
    answer = ask(server, request_line + b"\r\n\r\n")
    assert answer.split(b" ", 2)[1] == status
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_request_with_a_body_gets_its_answer(server: MetricsServer) -> None:
    request = b"POST /metrics HTTP/1.1\r\n\r\n" + b"x" * 20_000_000
    assert ask(server, request).startswith(b"HTTP/1.1 405 ")


def test_a_client_that_reads_late_gets_the_page_whole() -> None:
    page = PAGE * 12
    with closing(MetricsServer("127.0.0.1", 0, lambda accept: (page, "text/plain"))) as server:
        answer = ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n" + page)


def test_a_head_request_has_no_body(large: MetricsServer) -> None:
    head, _, body = ask(large, b"HEAD /metrics HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert f"Content-Length: {len(PAGE)}".encode() in head and not body


@pytest.mark.parametrize("begin", [b"", b"GET /metrics HTTP/1.1\r\nX: "], ids=["silent", "half"])
def test_half_open_connections_keep_nobody_from_the_page(
    server: MetricsServer, begin: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(server)).sendall(begin)
        assert get(server) == (200, b"text/plain")
        assert server.connections <= 32
    wait_until_idle(server)
    assert caplog.text == ""


def test_a_client_that_does_not_read_keeps_nobody_from_the_page(large: MetricsServer) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", large.port))
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert get(large) == (200, PAGE)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /metrics HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"],
    ids=["nothing", "half a request", "a request that is answered"],
)
def test_a_connection_ends_in_time(
    server: MetricsServer, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "_CONNECTION_S", 0.2)
    with connect(server) as connection:
        connection.sendall(sent)
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass
        wait_until_idle(server)


def test_a_client_that_goes_leaves_nothing(large: MetricsServer) -> None:
    for sent in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
        with connect(large) as connection:
            connection.sendall(sent)
    assert get(large) == (200, PAGE)
    wait_until_idle(large)


def wait_until_idle(server: MetricsServer) -> None:
    """Wait until the server has no connection."""
    wait_for(lambda: server.connections == 0)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_it_ends_with_connections_open(caplog: pytest.LogCaptureFixture) -> None:
    server = MetricsServer("127.0.0.1", 0, lambda accept: (b"", ""))
    with connect(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n")
        wait_for(lambda: server.connections == 1)
        server.close()
        with pytest.raises(ConnectionRefusedError):
            connect(server)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("host", "words"),
    [("127.0.0.1", "in use"), ("no-such-host.invalid", "no-such-host"), ("192.0.2.1", "192.0.2.1")],
)
def test_an_address_that_is_not_free_is_said(server: MetricsServer, host: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot listen on.*{words}"):
        MetricsServer(host, server.port, lambda accept: (b"", ""))
