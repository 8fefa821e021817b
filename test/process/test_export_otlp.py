"""Metrics sent by OTLP arrive at a receiver; a receiver that is away is said once."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from edge_inference.errors import ConfigError
from edge_inference.observe.export import otlp
from edge_inference.observe.export.otlp import OtlpSender
from robot_snapshot import full_snapshot, make_stage

TIMEOUT_S = 60.0


@pytest.fixture
def needs_the_packages() -> None:
    pytest.importorskip("opentelemetry.sdk.metrics", reason="opentelemetry-sdk is not installed")
    pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http",
        reason="opentelemetry-exporter-otlp-proto-http is not installed",
    )


class Receiver:
    """A collector that keeps what it gets, and answers with ``status``."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[Any] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
                    ExportMetricsServiceRequest,
                )

                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/metrics"
                receiver.requests.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/metrics"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()


@pytest.fixture
def receiver(needs_the_packages: None) -> Iterator[Receiver]:
    made = Receiver()
    with made.running():
        yield made


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_metrics_arrive_with_names_units_and_attributes(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=robot7")
    with closing(OtlpSender(receiver.url, pytest.fail)) as sender:
        sender.send(full_snapshot())
        wait_for(lambda: receiver.requests)
    (group,) = receiver.requests[0].resource_metrics
    about = {each.key: each.value.string_value for each in group.resource.attributes}
    assert about["service.name"] == "edge-inference" and about["host.name"] == "robot7"
    metrics = {metric.name: metric for scope in group.scope_metrics for metric in scope.metrics}
    process = metrics["edge_inference.stage.process"]
    assert process.unit == "s"
    values = {
        tuple(sorted((each.key, each.value.string_value) for each in point.attributes)): point
        for point in process.gauge.data_points
    }
    point = values[("node", "/ai/decode"), ("quantile", "0.99"), ("stage", "decode")]
    assert point.as_double == 0.04
    assert point.time_unix_nano == 1_700_000_001_500_000_000
    frames = metrics["edge_inference.stage.frames"].sum
    assert frames.is_monotonic and frames.data_points[0].as_int == 1000
    assert metrics["edge_inference.engine.info"].gauge.data_points[0].as_double == 1.0


def test_what_has_gone_is_not_sent_again(receiver: Receiver) -> None:
    with closing(OtlpSender(receiver.url, pytest.fail)) as sender:
        sender.send(full_snapshot())
        wait_for(lambda: receiver.requests)
        sender.send(replace(full_snapshot(), stages=(make_stage("decode", "/ai/decode"),)))
        wait_for(lambda: len(receiver.requests) == 2)
    text = str(receiver.requests[1])
    assert "/ai/decode" in text and "/ai/preprocess" not in text


@pytest.mark.parametrize("pause_s", [0.0, 0.05], ids=["endless", "slow"])
def test_an_answer_that_does_not_end_is_a_failure(
    needs_the_packages: None, monkeypatch: pytest.MonkeyPatch, pause_s: float
) -> None:
    monkeypatch.setattr(otlp, "_EXPORT_S", 2.0)
    sent, messages = [], []

    def answer(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        part = b"x" * (1 if pause_s else 65536)
        with suppress(OSError):
            while True:
                client.sendall(part)
                sent.append(len(part))
                time.sleep(pause_s)

    def serve() -> None:
        with suppress(OSError):  # until it is closed
            while True:
                answer(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/metrics"
        with closing(OtlpSender(url, messages.append)) as sender:
            sender.send(full_snapshot())
            wait_for(lambda: sender.state.has_failed)
    assert "the answer is too long, or does not end" in messages[0]
    assert sum(sent) < 50_000_000  # what the kernels of both ends hold


def test_of_snapshots_that_wait_only_the_newest_is_sent(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, blocked = threading.Event(), threading.Event()
    make = otlp.make_metrics_data

    def make_late(*arguments: Any) -> Any:
        blocked.set()
        assert gate.wait(TIMEOUT_S)
        return make(*arguments)

    monkeypatch.setattr(otlp, "make_metrics_data", make_late)
    with closing(OtlpSender(receiver.url, pytest.fail)) as sender:
        sender.send(full_snapshot())
        assert blocked.wait(TIMEOUT_S)
        for second in range(100):
            sender.send(replace(full_snapshot(), at_s=float(second)))
        gate.set()
        wait_for(lambda: len(receiver.requests) == 2)
    assert len(receiver.requests) == 2
    assert "time_unix_nano: 99000000000\n" in str(receiver.requests[1])


@pytest.mark.usefixtures("needs_the_packages")
def test_a_receiver_that_is_away_is_said_once_and_used_when_it_is_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "_EXPORT_S", 0.5)
    receiver, said = Receiver(), list[str]()
    receiver.status = 400
    with receiver.running(), closing(OtlpSender(receiver.url, said.append)) as sender:
        for _ in range(3):
            seen = len(receiver.requests)
            sender.send(full_snapshot())
            wait_for(lambda seen=seen: len(receiver.requests) > seen)
        wait_for(lambda: sender.state.has_failed)
        assert len(said) == 1 and "400" in said[0] and receiver.url in said[0]
        receiver.status = 200
        sender.send(full_snapshot())
        wait_for(lambda: not sender.state.has_failed)
    assert len(said) == 2 and "works again" in said[1]
    assert caplog.text == ""


@pytest.mark.usefixtures("needs_the_packages")
def test_a_port_that_nobody_serves_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "_EXPORT_S", 2.0)
    receiver, said = Receiver(), list[str]()
    receiver.server.server_close()
    with closing(OtlpSender(receiver.url, said.append)) as sender:
        sender.send(full_snapshot())
        wait_for(lambda: said)
    assert said == [f"{receiver.url}: Connection refused; everything else goes on"]
    assert caplog.text == ""


def test_without_the_packages_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    package = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match="pip install opentelemetry-sdk"):
        OtlpSender("http://127.0.0.1:4318/v1/metrics", pytest.fail)
