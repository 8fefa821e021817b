"""Who may talk to the dashboard."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from edge_inference.cli.dashboard.access_token import make_token, read_token
from edge_inference.errors import ConfigError
from edge_inference.observe.dashboard.access_rules import AccessRules, is_loopback
from edge_inference.observe.dashboard.listening_socket import open_listening_socket

LOCAL = AccessRules("127.0.0.1")
OPEN = AccessRules("0.0.0.0", "a" * 32)
TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    "header",
    ["127.0.0.1:8080", "127.0.0.1", "localhost:8080", "LOCALHOST", "[::1]:8080", "localhost:9"],
)
def test_this_machine_is_known_under_its_own_names(header: str) -> None:
    assert LOCAL.is_known_host(header)
    assert OPEN.is_known_host(header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost:http",
        "localhost:99999",
        "a@localhost",
        "localhost/x",
        "[::1",
        "localhost, evil.example",
    ],
)
def test_a_name_of_a_stranger_is_unknown(header: str) -> None:
    assert not LOCAL.is_known_host(header)
    assert not OPEN.is_known_host(header)


def test_on_a_network_addresses_and_the_name_of_the_machine_are_known() -> None:
    own = socket.gethostname()
    for header in ("192.168.1.7:8080", "[fe80::1]", own, f"{own}.local:8080"):
        assert OPEN.is_known_host(header)
    assert not LOCAL.is_known_host("192.168.1.7:8080")
    assert AccessRules("robot.example", "t").is_known_host("robot.example:80")


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("http://localhost:8080", True),
        ("HTTPS://LocalHost:8080", True),
        (None, False),
        ("", False),
        ("null", False),
        ("http://localhost", False),
        ("http://localhost:8081", False),
        ("http://evil.example:8080", False),
        ("http://localhost:8080.evil.example", False),
    ],
)
def test_only_the_own_page_is_of_the_own_origin(origin: str | None, is_own: bool) -> None:
    assert AccessRules.is_own_origin(origin, "localhost:8080") is is_own


def test_the_token() -> None:
    assert LOCAL.is_right_token("")
    assert LOCAL.is_right_token("anything")
    assert OPEN.is_right_token("a" * 32)
    for wrong in ("", "a" * 31, "A" * 32, "ä", "\ud800"):
        assert not OPEN.is_right_token(wrong)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
        ("robot", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_made_tokens_differ_and_could_be_in_a_file(tmp_path: Path) -> None:
    made = {make_token() for _ in range(3)}
    assert len(made) == 3
    for token in made:
        assert read_token(write(tmp_path / "token", token)) == token


def write(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_token_file_is_read(tmp_path: Path) -> None:
    assert read_token(write(tmp_path / "token", f"{TOKEN}\n")) == TOKEN


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        (TOKEN, 0o644, "nobody else may read, got the mode 0644"),
        (TOKEN, 0o620, "nobody else may read"),
        ("", 0o600, "16 to 512"),
        ("short", 0o600, "16 to 512"),
        (f"{TOKEN}\n{TOKEN}", 0o600, "16 to 512"),
        (f"{TOKEN} {TOKEN}", 0o600, "16 to 512"),
        ("ä" * 20, 0o600, "16 to 512"),
        ("a" * 513, 0o600, "16 to 512"),
        ("a" * 5000, 0o600, "expected at most 4096 bytes"),
    ],
)
def test_a_wrong_token_file_is_refused(tmp_path: Path, text: str, mode: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_token(write(tmp_path / "token", text, mode))
    assert len(text) < len(TOKEN) or text not in str(caught.value)


def test_the_home_of_nobody_is_said() -> None:
    with pytest.raises(ConfigError, match=r"--token-file ~nobody-of-here/x: no such user"):
        read_token(Path("~nobody-of-here/x"))


def test_a_missing_token_file_is_refused_with_a_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*openssl rand"):
        read_token(tmp_path / "none")
    with pytest.raises(ConfigError, match="expected a file, got a folder"):
        read_token(tmp_path)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EADDRINUSE, r"port 80 of 127\.0\.0\.1 is taken by another program.*--port"),
        (errno.EACCES, r"port 80 of 127\.0\.0\.1 is only for root.*from 1024 on with --port"),
        (errno.EADDRNOTAVAIL, r"--host 127\.0\.0\.1: expected an address of this machine"),
        (errno.ENOBUFS, r"port 80 of 127\.0\.0\.1 cannot be opened: No buffer space"),
    ],
)
def test_a_port_that_cannot_be_opened_is_said(
    monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def bind(listener: socket.socket, address: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(ConfigError, match=message):
        open_listening_socket("127.0.0.1", 80)
