"""Keys of the terminal monitor, and its messages."""

from __future__ import annotations

import os
import sys

import pytest

from edge_inference.cli.signals import Interrupt
from edge_inference.cli.top.key_reader import KeyReader, split_keys
from edge_inference.cli.top.message_log import MessageLog, stderr_into
from edge_inference.cli.top.screen_loop import quit_code
from edge_inference.cli.top.show_top import TopOptions
from edge_inference.cli.top.top_control import TopControl
from edge_inference.cli.top.top_pages import TopPlace, TopScreen
from edge_inference.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "keys", "rest"),
    [
        ("", [], ""),
        ("qj", ["q", "j"], ""),
        ("\t\x1b[Z ", ["tab", "back tab", "page down"], ""),
        ("\x1b[A\x1bOB\x1b[5~", ["up", "down", "page up"], ""),
        ("\x1b[1;5A2", ["2"], ""),  # with Ctrl, which means nothing here
        ("j\x1b", ["j"], "\x1b"),
        ("\x1b[", [], "\x1b["),
        ("\x1b[1;", [], "\x1b[1;"),
        ("\x1bq", ["escape", "q"], ""),
        ("\x1b\x1b[A", ["escape", "up"], ""),
        ("\x1b[" + "1" * 300, [], ""),
        ("\x03", ["interrupt"], ""),
    ],
)
def test_keys_in_what_a_terminal_sends(text: str, keys: list[str], rest: str) -> None:
    assert split_keys(text) == (keys, rest)


def test_keys_of_a_terminal() -> None:
    reading, writing = os.pipe()
    keys = KeyReader(reading)
    assert keys.read(0.0) == []
    os.write(writing, b"j\x1b[")
    assert keys.read(1.0) == ["j"]
    os.write(writing, b"B\xff\x1b")
    assert keys.read(1.0) == ["down", "\ufffd"]
    assert keys.read(0.0) == ["escape"]
    assert keys.read(0.0) == []
    assert not keys.has_ended
    os.close(writing)
    assert keys.read(1.0) == []
    assert keys.has_ended
    os.close(reading)


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ("", TopPlace()),
        ("3", TopPlace(2)),
        ("59", TopPlace()),
        ("²", TopPlace()),
        (["tab"], TopPlace(1)),
        (["back tab"], TopPlace(3)),
        (["tab"] * 4, TopPlace(0)),
        ("2jjk", TopPlace(1, 1)),
        ("k", TopPlace()),
        (["2", "page down", "page down", "page up"], TopPlace(1, 9)),
        ("2G", TopPlace(1, 40)),
        ("2Gk", TopPlace(1, 39)),
        ("2Gg", TopPlace(1, 0)),
        ("2j3", TopPlace(2)),
        ("p", TopPlace(is_paused=True)),
        ("pp", TopPlace()),
        ("2j?", TopPlace(1, shows_help=True)),
        ("??", TopPlace()),
        (["?", "escape"], TopPlace()),
        ("?4", TopPlace(3)),
        ("zZ-", TopPlace()),
    ],
)
def test_what_keys_do(keys: str | list[str], place: TopPlace) -> None:
    control = TopControl()
    screen = TopScreen([], page_height=10, max_offset=40)
    control.settle(screen)
    for key in keys:
        control.press(key)
        control.settle(screen)
    assert control.place == place
    assert not control.has_quit


@pytest.mark.parametrize("key", ["q", "Q", "interrupt"])
def test_the_user_quits(key: str) -> None:
    control = TopControl()
    control.press(key)
    assert control.has_quit


@pytest.mark.parametrize(("number", "code"), [(None, 0), (2, 0), (15, 143), (1, 129)])
def test_the_exit_code(number: int | None, code: int) -> None:
    interrupted = Interrupt()
    if number is not None:
        interrupted.number = number
        interrupted.set()
    assert quit_code(interrupted) == code


def test_options_that_exclude_each_other() -> None:
    TopOptions(json=True, once=True).check()
    with pytest.raises(ConfigError, match="--plain and --json"):
        TopOptions(json=True, plain=True).check()


def test_messages_are_kept_within_bounds() -> None:
    log = MessageLog(lambda: 7.0)
    for text in ("", " \n", "a\nb", "a\nb", "c"):
        log.add(text)
    assert log.messages() == ((7.0, "a b"), (7.0, "c"))
    for number in range(1000):
        log.add(f"{number} " * 999)
    assert len(log.messages()) == 200
    assert max(len(text) for _, text in log.messages()) <= 500


def test_stderr_that_is_a_terminal_is_kept() -> None:
    reading, terminal = os.openpty()
    before = os.dup(2)
    os.dup2(terminal, 2)
    log = MessageLog(lambda: 7.0)
    try:
        with stderr_into(log):
            assert not os.isatty(2)
            os.write(2, b"one\ntwo \x1b[2J\n" + b"x" * 1200 + b"\nno end")
        assert os.isatty(2)
    finally:
        os.dup2(before, 2)
        for each in (before, terminal, reading):
            os.close(each)
    texts = [text for _, text in log.messages()]
    assert texts[:2] == ["one", "two \\x1b[2J"]
    assert texts[-1] == "no end"
    assert sum(text.count("x") for text in texts[2:]) >= 490


def test_other_stderr_stays(capfd: pytest.CaptureFixture[str]) -> None:
    log = MessageLog()
    with stderr_into(log):
        sys.stderr.write("kept\n")
        sys.stderr.flush()
    assert capfd.readouterr().err == "kept\n"
    assert log.messages() == ()
