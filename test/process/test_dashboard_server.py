"""The dashboard's server on a real port: what a page gets, and what it may do."""

from __future__ import annotations

import errno
import json
import os
import sys
import time

import pytest

import edge_inference
from dashboard_kit import (
    HOST,
    LOCAL,
    PAGE,
    FeedDouble,
    close_of,
    connect,
    get,
    receive,
    receive_image,
    send,
    serve,
    until,
)
from edge_inference.errors import ConfigError
from edge_inference.observe.dashboard import listening_socket
from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.dashboard_server import DashboardServer, check_packages
from edge_inference.observe.dashboard.listening_socket import open_listening_socket
from edge_inference.observe.dashboard.live_hub import MAX_PAGES
from edge_inference.observe.monitor.snapshot import ProcessRow, Snapshot

CHANGING = AccessRules(HOST, may_change=True)
SETTING = {"type": "set_parameter", "node": "/ai/decode", "name": "confidence", "id": 5}


def test_the_page_and_its_files() -> None:
    with serve(FeedDouble()) as port:
        status, headers, content = get(port, "/")
        assert (status, content) == (200, PAGE)
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert get(port, "/panels/a.js")[2] == b"export {};"
        status, headers, content = get(port, "/", "HEAD")
        assert (status, content, headers["content-length"]) == (200, b"", str(len(PAGE)))


def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    with serve(FeedDouble()) as port:
        tag = get(port, "/")[1]["etag"]
        assert get(port, "/", if_none_match=tag)[::2] == (304, b"")
        assert get(port, "/", if_none_match='"other"')[::2] == (200, PAGE)


@pytest.mark.parametrize(
    "path", ["/none", "/panels", "/../setup.cfg", "/%2e%2e/setup.cfg", "//etc/passwd", "/panels/"]
)
def test_other_paths_are_not_found(path: str) -> None:
    with serve(FeedDouble()) as port:
        assert get(port, path)[0] == 404


def test_other_methods_are_refused() -> None:
    with serve(FeedDouble()) as port:
        assert get(port, "/", "DELETE")[0] == 405
        assert get(port, "/", "OPTIONS")[0] == 405


def test_a_sign_of_life_is_not_kept() -> None:
    with serve(FeedDouble()) as port:
        status, headers, content = get(port, "/healthz")
        assert (status, content, headers["cache-control"]) == (200, b"ok\n", "no-store")


def test_figures_for_prometheus() -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus-client")
    with serve(FeedDouble()) as port:
        status, headers, content = get(port, "/metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        assert b"# TYPE edge_inference_" in content


def test_a_page_gets_snapshots_without_asking() -> None:
    feed = FeedDouble()
    with serve(feed) as port, connect(port) as page:
        welcome = receive(page, "welcome")
        assert welcome["read_only"] is True
        assert welcome["version"] == edge_inference.__version__
        first = receive(page, "snapshot")
        assert first["data"]["namespace"] == "/ai"
        (process,) = first["data"]["processes"]
        assert (process["cpu_share"], process["memory_mib"]) == (0.5, None)
        assert first["point"] is None
        feed.history.append(Snapshot(time.time(), "/ai", processes=(make_process(0.25),)))
        while (point := receive(page, "snapshot")["point"]) is None:
            pass
        assert point["at_s"] > first["data"]["at_s"]
        assert 0.25 in point["values"].values()
        later = [receive(page, "snapshot") for _ in range(2)]
        assert later[1]["data"]["at_s"] > later[0]["data"]["at_s"]


def make_process(share: float) -> ProcessRow:
    return ProcessRow(7, ("/ai/decode",), share, 100.0, 0.0, 0.0, 0.1)


def test_the_history_of_an_hour() -> None:
    feed = FeedDouble()
    for second in range(3600):
        feed.history.append(Snapshot(1e9 + second, "/ai", processes=(make_process(0.5),)))
    with serve(feed) as port, connect(port) as page:
        send(page, type="history", since_s=3600)
        found = receive(page, "history")
        assert found["times"][-1] == 1e9 + 3599
        assert 300 <= len(found["times"]) <= 720
        assert set(found["values"]) == set(found["names"]) == set(found["units"])
        send(page, type="history", since_s=10)
        assert len(receive(page, "history")["times"]) == 11


def test_images_come_only_while_they_are_wanted() -> None:
    feed = FeedDouble()
    with serve(feed) as port, connect(port) as page, connect(port) as other:
        receive(page, "snapshot")
        assert feed.watchers == []
        for each in (page, other):
            send(each, type="image", on=True)
        until(lambda: feed.watchers)
        feed.show(b"first", 7)
        for each in (page, other):
            assert receive_image(each) == (7).to_bytes(8, "big") + b"first"
        for number in range(20):  # at once: only the newest one is sent
            feed.show(b"%d" % number, number)
        assert receive_image(page)[8:] == b"19"
        send(other, type="image", on=False)
        send(page, type="image", on=False)
        until(lambda: not feed.watchers)
        send(page, type="image", on=True)
        until(lambda: feed.watchers)
        feed.show(b"again", 9)
        assert receive_image(page)[8:] == b"again"
        page.close()
        until(lambda: not feed.watchers)


def test_an_image_that_is_too_large_is_said() -> None:
    feed = FeedDouble()
    with serve(feed) as port, connect(port) as page:
        send(page, type="image", on=True)
        until(lambda: feed.watchers)
        feed.show(bytes((2 << 20) + 1), 1)
        assert (
            "an annotated image has 2.0 MiB: expected at most" in receive(page, "error")["message"]
        )
        until(lambda: not feed.watchers)
        send(page, type="image", on=True)  # it is not sent again unless it is asked for
        until(lambda: feed.watchers)
        feed.show(b"small", 2)
        assert receive_image(page)[8:] == b"small"


def test_parameters_are_shown() -> None:
    with serve(FeedDouble()) as port, connect(port) as page:
        send(page, type="parameters", node="/ai/decode")
        found = receive(page, "parameters")
        (row,) = found["parameters"]
        assert (row["name"], row["value"], row["maximum"]) == ("confidence", 0.4, 1.0)
        assert (found["node"], found["reason"]) == ("/ai/decode", "")
        send(page, type="parameters", node="/other/node")
        found = receive(page, "parameters")
        assert found["parameters"] == []
        assert "expected a node" in found["reason"]


def test_nothing_is_changed_unless_that_is_allowed() -> None:
    feed = FeedDouble()
    with serve(feed) as port, connect(port) as page:
        send(page, **SETTING, value=0.6)
        answer = receive(page, "set_result")
        assert (answer["id"], answer["ok"]) == (5, False)
        assert "--allow-changes" in answer["reason"]
    assert feed.parameters.changes == []


def test_a_change_is_answered_by_the_node() -> None:
    feed = FeedDouble()
    with serve(feed, CHANGING) as port, connect(port) as page:
        assert receive(page, "welcome")["read_only"] is False
        send(page, **SETTING, value=0.6)
        answer = receive(page, "set_result")
        assert answer == {"type": "set_result", "id": 5, "ok": True, "reason": ""}
        send(page, **SETTING, value=2.0)
        answer = receive(page, "set_result")
        assert (answer["ok"], answer["reason"]) == (False, "confidence: expected at most 1, got 2")
        send(page, **{**SETTING, "node": "/other/node"}, value=0.6)
        assert "expected a node" in receive(page, "set_result")["reason"]
    assert feed.parameters.changes == [("confidence", 0.6)]


@pytest.mark.parametrize("value", [None, [1, "a"], {"a": 1}, "x" * 5000])
def test_a_value_that_no_parameter_has_is_answered(value: object) -> None:
    feed = FeedDouble()
    with serve(feed, CHANGING) as port, connect(port) as page:
        send(page, **SETTING, value=value)
        answer = receive(page, "set_result")
        assert (answer["id"], answer["ok"]) == (5, False)
        assert answer["reason"].startswith("value: expected true, false, a number")
    assert feed.parameters.changes == []


@pytest.mark.parametrize("text", ["", "[" * 60_000, '{"type":"quit"}', '{"type":"hello"}', b"\0"])
def test_a_message_that_is_not_understood_is_said(text: str | bytes) -> None:
    with serve(FeedDouble()) as port, connect(port) as page:
        page.send(text)
        assert "expected" in receive(page, "error")["message"]
        receive(page, "snapshot")


def test_so_many_pages_and_no_more() -> None:
    feed = FeedDouble()
    with serve(feed) as port:
        opened = [connect(port) for _ in range(MAX_PAGES)]
        pages = [each.__enter__() for each in opened]
        for page in pages:
            receive(page, "welcome")
        with connect(port) as late:
            code, reason = close_of(late)
            assert (code, "close one" in reason) == (1013, True)
        opened[0].__exit__(None, None, None)
        for page in pages[1:]:
            receive(page, "snapshot")
        for each in opened[1:]:
            each.__exit__(None, None, None)
        with connect(port) as page:
            receive(page, "welcome")


def test_the_server_ends_with_open_pages() -> None:
    feed = FeedDouble()
    messages: list[str] = []
    listener = open_listening_socket(HOST, 0)
    port = listener.getsockname()[1]
    server = DashboardServer(listener, feed, LOCAL, {}, messages.append)
    server.start()
    with connect(port) as page, connect(port, token=None):
        send(page, type="image", on=True)
        until(lambda: feed.watchers)
        server.close()
        assert not server.is_alive
        assert feed.watchers == []
        close_of(page)
    assert messages == []
    open_listening_socket(HOST, port).close()  # and the port is free again


def test_what_ends_the_server_is_raised() -> None:
    feed = FeedDouble()
    listener = open_listening_socket(HOST, 0)
    port = listener.getsockname()[1]
    server = DashboardServer(listener, feed, LOCAL, {}, print)
    server.start()
    with connect(port) as page:
        receive(page, "snapshot")
        feed.snapshot = lambda: 1 / 0  # type: ignore[method-assign]
        until(lambda: not server.is_alive)
    with pytest.raises(ZeroDivisionError):
        server.close()


def test_a_taken_port_is_said() -> None:
    with serve(FeedDouble()) as port:
        with pytest.raises(ConfigError, match=f"port {port} of {HOST} is taken.*--port"):
            open_listening_socket(HOST, port)
        assert get(port, "/")[0] == 200


@pytest.mark.parametrize("host", ["203.0.113.1", "no.such.name.invalid", "a" * 300, "::g"])
def test_a_host_that_is_not_of_this_machine_is_said(host: str) -> None:
    with pytest.raises(ConfigError, match="--host"):
        open_listening_socket(host, 0)


def test_a_kernel_without_the_family_of_the_host_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(listening_socket.socket, "socket", refuse)
    with pytest.raises(ConfigError, match="port 0 of ::1 cannot be opened: Address family not"):
        open_listening_socket("::1", 0)


@pytest.mark.parametrize("name", ["starlette", "uvicorn", "websockets"])
def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(ConfigError, match=f"{name} is not installed; pip install {name}"):
        check_packages()


def test_snapshots_of_a_silent_robot_are_small() -> None:
    with serve(FeedDouble()) as port, connect(port) as page:
        assert len(json.dumps(receive(page, "snapshot"))) < 2000
