"""Connections of a server end at their deadlines, and are at most so many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge_inference.observe.dashboard.connection_guard import (
    ConnectionGuard,
    ConnectionLimits,
    GuardedConnection,
    Phase,
)
from edge_inference.observe.dashboard.guarded_protocol import GuardedHttp

LIMITS = ConnectionLimits(max_open=6, max_waiting=3, head_bytes=100)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class FakeTransport:
    """A transport that notes what is written and how it ends."""

    def __init__(self) -> None:
        self.is_cut = False
        self.is_closed = False
        self.unsent = 0
        self.written = b""

    def abort(self) -> None:
        self.is_cut = True

    def close(self) -> None:
        self.is_closed = True

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent


class FakeProtocol:
    """uvicorn's protocol, which notes what it gets."""

    app = None

    def __init__(self) -> None:
        self.events: list[object] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.events.append((name, *arguments))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> ConnectionGuard:
    return ConnectionGuard(LIMITS, clock)


def admit(guard: ConnectionGuard) -> tuple[FakeTransport, GuardedConnection]:
    transport = FakeTransport()
    connection = guard.admit(transport)  # type: ignore[arg-type]
    assert connection is not None
    return transport, connection


@pytest.mark.parametrize(
    ("phase", "lasts_s"),
    [
        (Phase.WAITING, LIMITS.request_s),
        (Phase.GREETING, LIMITS.request_s + LIMITS.grace_s),
        (Phase.ANSWERING, LIMITS.response_s),
        (Phase.IDLE, LIMITS.idle_s + LIMITS.grace_s),
        (Phase.ENDING, LIMITS.grace_s),
    ],
)
def test_every_phase_but_streaming_ends(
    guard: ConnectionGuard, clock: Clock, phase: Phase, lasts_s: float
) -> None:
    transport, connection = admit(guard)
    connection.enter(phase)
    clock.now_s += lasts_s
    guard.sweep()
    assert not transport.is_cut
    clock.now_s += 0.01
    guard.sweep()
    assert transport.is_cut
    assert len(guard) == 0


def test_a_stream_goes_on_while_it_is_read(guard: ConnectionGuard, clock: Clock) -> None:
    transport, connection = admit(guard)
    connection.enter(Phase.STREAMING)
    clock.now_s += 1e6
    guard.sweep()
    transport.unsent = 1000
    connection.stall()
    for _ in range(5):  # slow, but something is read
        clock.now_s += LIMITS.stalled_s - 1
        transport.unsent -= 1
        guard.sweep()
    assert not transport.is_cut
    connection.flow()
    clock.now_s += 1e6
    guard.sweep()
    assert not transport.is_cut
    connection.stall()
    clock.now_s += LIMITS.stalled_s + 1
    guard.sweep()
    assert transport.is_cut


def test_the_longest_wait_without_a_request_makes_room(
    guard: ConnectionGuard, clock: Clock
) -> None:
    waiting = []
    for _ in range(10):
        waiting.append(admit(guard)[0])
        clock.now_s += LIMITS.settle_s
    assert [each.is_cut for each in waiting] == [True] * 7 + [False] * 3
    assert len(guard) == LIMITS.max_waiting


def test_what_comes_at_once_may_send_its_requests(guard: ConnectionGuard, clock: Clock) -> None:
    at_once = [admit(guard) for _ in range(5)]
    guard.sweep()
    assert not any(transport.is_cut for transport, _ in at_once)
    at_once[0][1].enter(Phase.ANSWERING)
    clock.now_s += LIMITS.settle_s
    guard.sweep()
    assert [transport.is_cut for transport, _ in at_once] == [False, True, False, False, False]


def test_a_websocket_without_hello_counts_as_waiting(guard: ConnectionGuard, clock: Clock) -> None:
    first, connection = admit(guard)
    connection.enter(Phase.GREETING)
    for _ in range(3):
        clock.now_s += LIMITS.settle_s
        admit(guard)
    assert first.is_cut


def test_idle_connections_make_room_but_busy_ones_do_not(
    guard: ConnectionGuard, clock: Clock
) -> None:
    idle, connection = admit(guard)
    connection.enter(Phase.IDLE)
    busy = []
    for phase in [Phase.STREAMING, Phase.ANSWERING] * 3:
        clock.now_s += 0.1
        transport, connection = admit(guard)
        connection.enter(phase)
        busy.append(transport)
    assert idle.is_cut
    refused = FakeTransport()
    assert guard.admit(refused) is None  # type: ignore[arg-type]
    assert refused.is_cut
    assert not any(each.is_cut for each in busy)
    assert len(guard) == LIMITS.max_open


def test_all_are_cut_at_the_end(guard: ConnectionGuard) -> None:
    transports = [admit(guard)[0] for _ in range(3)]
    guard.cut_all()
    assert all(each.is_cut for each in transports)
    assert len(guard) == 0


def connect(guard: ConnectionGuard) -> tuple[GuardedHttp, FakeProtocol, FakeTransport]:
    inner, transport = FakeProtocol(), FakeTransport()
    protocol = GuardedHttp(inner, guard)
    protocol.connection_made(transport)  # type: ignore[arg-type]
    return protocol, inner, transport


def test_a_head_that_is_too_large_is_answered_and_not_passed_on(guard: ConnectionGuard) -> None:
    protocol, inner, transport = connect(guard)
    protocol.data_received(b"GET / HTTP/1.1\r\n")
    protocol.data_received(b"x: y\r\n" * 20)
    assert transport.written.startswith(b"HTTP/1.1 431 ")
    assert transport.is_closed
    assert [name for name, *_ in inner.events] == ["connection_made", "data_received"]


def test_the_length_of_the_answer_is_right(guard: ConnectionGuard) -> None:
    protocol, _, transport = connect(guard)
    protocol.data_received(b"x" * 101)
    head, _, body = transport.written.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}\r\n".encode() in head + b"\r\n"


def test_a_body_is_no_part_of_the_head(guard: ConnectionGuard) -> None:
    protocol, _, transport = connect(guard)
    protocol.data_received(b"POST / HTTP/1.1\r\n\r\n" + b"x" * 1000)
    assert transport.written == b""


def test_a_dripping_second_request_has_the_deadline_of_the_first(
    guard: ConnectionGuard, clock: Clock
) -> None:
    protocol, inner, transport = connect(guard)
    run = inner.app
    assert run is not None

    async def answer(scope: object, receive: object, send: object) -> None:
        connection = guard.find(transport)  # type: ignore[arg-type]
        assert connection is not None
        assert connection.phase is Phase.ANSWERING

    protocol._app = answer
    protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
    asyncio.run(run({}, None, None))
    for _ in range(20):
        protocol.data_received(b"G")
        clock.now_s += 0.3
        guard.sweep()
    assert transport.is_cut


def test_a_refused_connection_is_not_passed_on() -> None:
    guard = ConnectionGuard(ConnectionLimits(max_open=0, max_waiting=1))
    protocol, inner, transport = connect(guard)
    protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
    protocol.pause_writing()
    protocol.resume_writing()
    protocol.connection_lost(None)
    assert transport.is_cut
    assert inner.events == []
