"""What the dashboard's server refuses, and that good pages do not notice."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from dashboard_kit import (
    DEADLINE_S,
    HOST,
    PAGE,
    FeedDouble,
    close_of,
    connect,
    get,
    handshake,
    receive,
    send,
    serve,
    until,
)
from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.connection_guard import DEFAULT_LIMITS

TOKEN = "correct-horse-battery"
WITH_TOKEN = AccessRules(HOST, TOKEN)
PATIENT = replace(DEFAULT_LIMITS, request_s=600.0)
HASTY = replace(DEFAULT_LIMITS, request_s=1.0, idle_s=1.0, grace_s=0.5)


def frame(text: bytes) -> bytes:
    """Return a message of a client; its mask is zero."""
    return b"\x81" + bytes([0x80 | len(text)]) + bytes(4) + text


HELLO = frame(b'{"type":"hello"}')


def test_the_right_token() -> None:
    with serve(FeedDouble(), WITH_TOKEN) as port, connect(port, TOKEN) as page:
        receive(page, "welcome")
        receive(page, "snapshot")
        assert get(port, "/")[0] == 200  # the page itself has nothing to hide


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN.upper()])
def test_a_wrong_token(token: str) -> None:
    feed = FeedDouble()
    with serve(feed, WITH_TOKEN) as port, connect(port, token) as page:
        code, reason = close_of(page)
        assert (code, "token" in reason) == (1008, True)
        assert TOKEN not in reason


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
def test_figures_need_the_token(header: str) -> None:
    with serve(FeedDouble(), WITH_TOKEN) as port:
        status, headers, content = get(port, "/metrics", authorization=header)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert b"edge_inference_" not in content


def test_figures_with_the_token() -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus-client")
    with serve(FeedDouble(), WITH_TOKEN) as port:
        assert get(port, "/metrics", authorization=f"Bearer {TOKEN}")[0] == 200


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://localhost:1", "http://127.0.0.1"]
)
def test_pages_of_others_get_no_websocket(origin: str | None) -> None:
    with serve(FeedDouble()) as port:
        own = f"{HOST}:{port}"
        assert handshake(port, Host=own, Origin=f"http://{own}") == 101
        headers = {} if origin is None else {"Origin": origin}
        assert handshake(port, Host=own, **headers) == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example"])
def test_names_of_others_are_not_this_machine(host: str) -> None:
    with serve(FeedDouble()) as port:
        assert get(port, "/", host=host)[0] == 421
        assert get(port, "/metrics", host=host)[0] == 421
        assert handshake(port, Host=host, Origin=f"http://{host}") == 403
        assert get(port, "/", host="localhost:1")[0] == 200  # a forwarded port


def test_a_large_message_closes_the_websocket() -> None:
    with serve(FeedDouble()) as port, connect(port) as page:
        receive(page, "welcome")
        send(page, type="history", padding="x" * (DEFAULT_LIMITS.message_bytes - 100))
        receive(page, "history")
        with suppress(OSError):
            send(page, type="history", padding="x" * DEFAULT_LIMITS.message_bytes)
        assert close_of(page)[0] == 1009
        with connect(port) as other:
            receive(other, "snapshot")


@pytest.mark.parametrize("size", [1, 1000, 3_000_000])
def test_a_request_with_a_body_is_refused(size: int) -> None:
    with serve(FeedDouble()) as port:
        assert status_of(port, b"POST / HTTP/1.1\r\nHost: localhost\r\n", size) == 413


def test_a_request_with_a_body_of_unknown_length_is_refused() -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serve(FeedDouble()) as port, open_socket(port) as client:
        client.sendall(head + b"5\r\nhello\r\n")
        assert answer_of(client) == 413


@pytest.mark.parametrize("size", [20_000, 200_000, 2_000_000])
def test_a_large_head_is_refused(size: int) -> None:
    with serve(FeedDouble()) as port, open_socket(port) as client:
        with suppress(OSError):  # the server may answer and close before all is sent
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"x" * size)
        assert answer_of(client) == 431


def test_a_complete_head_of_any_size_is_refused_alike() -> None:
    with serve(FeedDouble()) as port, open_socket(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"x" * 30_000 + b"\r\n\r\n")
        assert answer_of(client) == 431
        assert get(port, "/", x="x" * 10_000)[0] == 200


@pytest.mark.parametrize("data", [b"\0" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01" * 99])
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with serve(FeedDouble()) as port, open_socket(port) as client:
        client.sendall(data + b"\r\n\r\n")
        assert answer_of(client) == 400
        assert get(port, "/")[0] == 200


def test_forty_slow_clients_do_not_keep_a_good_one_out() -> None:
    with serve(FeedDouble(), limits=PATIENT) as port, ExitStack() as stack, connect(port) as page:
        receive(page, "welcome")
        slow = [stack.enter_context(open_socket(port)) for _ in range(40)]
        for client in slow:
            with suppress(OSError):
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert get(port, "/")[::2] == (200, PAGE)
        until(lambda: sum(map(has_ended, slow)) >= len(slow) - DEFAULT_LIMITS.max_waiting)
        receive(page, "snapshot")
        with connect(port) as other:
            receive(other, "snapshot")


def test_a_request_that_does_not_come_is_not_waited_for() -> None:
    with serve(FeedDouble(), limits=HASTY) as port, open_socket(port) as client:
        client.sendall(b"GET / HT")
        until(lambda: has_ended(client))


def test_a_dripping_request_is_cut() -> None:
    with serve(FeedDouble(), limits=HASTY) as port, open_socket(port) as client:
        ended = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                while not ended.wait(0.05):
                    client.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        until(lambda: has_ended(client))
        ended.set()
        thread.join()


def test_an_idle_connection_ends() -> None:
    with serve(FeedDouble(), limits=HASTY) as port, open_socket(port) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_of(client) == 200
        until(lambda: has_ended(client))


def test_a_websocket_without_hello_ends() -> None:
    with serve(FeedDouble(), limits=HASTY) as port, connect(port, token=None) as page:
        code, reason = close_of(page)
        assert (code, "hello" in reason) == (1002, True)


@pytest.mark.parametrize("first", ['{"type":"history"}', "x", '{"type":"hello","token":1}', b"x"])
def test_another_first_message_ends_the_websocket(first: str | bytes) -> None:
    with serve(FeedDouble()) as port, connect(port, token=None) as page:
        page.send(first)
        assert close_of(page)[0] == 1002


def test_a_page_that_does_not_read_is_dropped() -> None:
    feed = FeedDouble()
    image = bytes(500_000)
    limits = replace(DEFAULT_LIMITS, stalled_s=0.5)
    with serve(feed, limits=limits) as port, connect(port) as good:
        with open_unread_page(port) as client:
            client.sendall(HELLO + frame(b'{"type":"image","on":true}'))
            until(lambda: feed.watchers)

            def is_dropped() -> bool:
                feed.show(image, 1)
                return not feed.watchers

            until(is_dropped)
        for _ in range(3):
            receive(good, "snapshot")


@pytest.mark.parametrize(
    ("first", "again"),
    [(HELLO, b"\x89\xfd" + bytes(129)), (b"\x01" + HELLO[1:], b"\x00\x80" + bytes(4))],
    ids=["pings", "parts of a message"],
)
def test_endless_frames_end_the_websocket(first: bytes, again: bytes) -> None:
    limits = replace(PATIENT, buffer_bytes=100_000)
    with serve(FeedDouble(), limits=limits) as port, open_unread_page(port) as client:
        client.sendall(first)
        assert send_until_cut(client, again * 100) < 10_000_000


def test_unread_answers_end_the_websocket() -> None:
    pings = (b"\x89\xfd" + bytes(129)) * 300
    limits = replace(PATIENT, stalled_s=600.0, buffer_bytes=1_000_000)
    with serve(FeedDouble(), limits=limits) as port, open_unread_page(port) as client:
        client.sendall(HELLO)
        # Each message is read by the server, but no answer to a ping by the client.
        assert send_until_cut(client, frame(b'{"type":"image","on":false}') + pings) < 15_000_000


def send_until_cut(client: socket.socket, data: bytes) -> int:
    """Send the same again and again until the connection is cut; return the number of bytes."""
    sent = 0
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        while True:
            client.sendall(data)
            sent += len(data)
    return sent


def test_many_complete_messages_are_not_too_much() -> None:
    limits = replace(DEFAULT_LIMITS, buffer_bytes=100_000)
    with serve(FeedDouble(), limits=limits) as port, connect(port) as page:
        for _ in range(5):
            send(page, type="quit", padding="x" * 50_000)
            receive(page, "error")


def test_the_server_ends_although_a_page_does_not_read() -> None:
    feed = FeedDouble()
    with ExitStack() as stack:
        with serve(feed, limits=replace(PATIENT, stalled_s=600.0)) as port:
            client = stack.enter_context(open_unread_page(port))
            client.sendall(HELLO + frame(b'{"type":"image","on":true}'))
            until(lambda: feed.watchers)
            feed.show(b"begin" + bytes(1_500_000), 1)
            data = b""
            while b"begin" not in data:
                data += client.recv(1000)
        assert feed.watchers == []


def open_unread_page(port: int) -> socket.socket:
    """Open a websocket of which nothing but the first line is read; its buffer is small."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE_S)
    client.connect((HOST, port))
    own = f"{HOST}:{port}"
    client.sendall(
        f"GET /ws HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert client.recv(12) == b"HTTP/1.1 101"
    return client


def open_socket(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=DEADLINE_S)


def status_of(port: int, head: bytes, body_bytes: int) -> int:
    """Send a request with a body, and return the status of the answer, which may come before."""
    with open_socket(port) as client:
        client.sendall(head + f"Content-Length: {body_bytes}\r\n\r\n".encode())
        with suppress(OSError):
            client.sendall(bytes(body_bytes))
        return answer_of(client)


def answer_of(client: socket.socket) -> int:
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.status


def has_ended(client: socket.socket) -> bool:
    """Tell whether the server has closed or cut a connection on which it sent no more."""
    client.setblocking(False)
    try:
        return client.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        client.settimeout(DEADLINE_S)
