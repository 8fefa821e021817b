"""The terminal monitor as a program on a pseudo-terminal: keys, sizes, signals, and the end."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from terminal_kit import DEADLINE_S, ROOT, OnTerminal

TOP = [sys.executable, str(Path(__file__).with_name("top_child.py")), "top", "--interval", "0.5"]
SIZES = [(80, 24), (200, 60)]
CLOCK = re.compile(r"\d\d:\d\d:\d\d$")

Start = Callable[..., OnTerminal]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[OnTerminal] = []

    def start_top(
        *options: str, width: int = 80, height: int = 24, before: Sequence[str] = (), **env: str
    ) -> OnTerminal:
        terminal = OnTerminal([*before, *TOP, *options], width, height, **env)
        started.append(terminal)
        return terminal

    yield start_top
    for terminal in started:
        terminal.close()


def run(*options: str, shell: str = "{}", **env: str) -> subprocess.CompletedProcess[str]:
    """Run it without a terminal."""
    command = " ".join(f"'{word}'" for word in (*TOP, *options))
    return subprocess.run(
        ["bash", "-c", shell.format(command)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pages_and_keys(start: Start, width: int, height: int) -> None:
    terminal = start(width=width, height=height)
    terminal.wait_for_text("/ai", "inference", "CPU", "q quit")
    assert terminal.seen.is_alternate and not terminal.seen.has_cursor
    for keys, texts in (
        ("2", ("age p50", "superseded 12")),
        ("\t", ("zone/tj-thermal", "of a core")),
        ("4", ("int8 on trt since 12:03: 78 °C", "the session speaks")),
        ("?", ("the stage's part of the time", "quit")),
        ("\x1b[Z", ("zone/tj-thermal",)),  # back to the page before the log
        ("1p", ("PAUSED", "end to end")),
        ("p", ("end to end",)),
    ):
        terminal.type(keys)
        terminal.wait_for_text(*texts)
    terminal.wait_for(lambda seen: not any("PAUSED" in line for line in seen.lines))
    terminal.type("q")
    assert terminal.wait() == 0
    terminal.wait_for_text("the session has ended")
    assert terminal.is_as_before
    assert terminal.seen.unknown == []


def test_a_long_page_is_scrolled(start: Start) -> None:
    terminal = start()
    terminal.type("3")
    terminal.wait_for_text("zone/tj-thermal", "1-22 of")
    terminal.type("j\x1b[B")
    terminal.wait_for_text("3-24 of")
    terminal.type("G")
    terminal.wait_for_text("zone/39")
    terminal.type("\x1b[5~g")
    terminal.wait_for_text("1-22 of")


def test_a_new_size_is_drawn_at_once(start: Start) -> None:
    terminal = start("--interval", "3600")
    terminal.wait_for_text("q quit")
    for width, height in ((200, 60), (60, 15), (20, 5), (120, 40)):
        terminal.resize(width, height)
        terminal.wait_for(lambda seen: CLOCK.search(seen.lines[0]), f"{width}x{height}")
        terminal.wait_for(lambda seen: "overview" in seen.lines[-1])
    assert terminal.seen.unknown == []


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_a_signal_gives_the_terminal_back(start: Start, number: int, code: int) -> None:
    terminal = start()
    terminal.wait_for_text("q quit")
    os.kill(terminal.pid, number)
    assert terminal.wait() == code
    assert terminal.is_as_before


def test_two_signals_give_the_terminal_back(start: Start) -> None:
    terminal = start("--namespace", "/twice")
    assert terminal.wait() == 143
    assert terminal.is_as_before


def test_ctrl_c_quits(start: Start) -> None:
    terminal = start()
    terminal.wait_for_text("q quit")
    terminal.type("\x03")
    assert terminal.wait() == 0
    assert terminal.is_as_before


def test_a_fault_gives_the_terminal_back_and_is_told(start: Start) -> None:
    terminal = start("--namespace", "/crash")
    assert terminal.wait() == 1
    assert terminal.is_as_before
    assert any("a fault of the monitor" in line for line in terminal.seen.lines)


def test_ctrl_z_gives_the_terminal_back_until_it_continues(start: Start) -> None:
    terminal = start()
    terminal.wait_for_text("q quit")
    for _ in range(2):
        terminal.type("\x1a")
        terminal.wait_for_text("stopped")
        assert terminal.is_as_before
        terminal.type("\n")
        terminal.wait_for_text("q quit", "inference")
        assert terminal.seen.is_alternate
    terminal.type("2")
    terminal.wait_for_text("age p50")
    terminal.type("q")
    assert terminal.wait() == 0
    assert terminal.is_as_before


def test_a_program_that_was_stopped_and_continues_takes_the_terminal_again(start: Start) -> None:
    terminal = start("--interval", "3600", before=("sh", "-c", '"$@"; exit $?', "sh"))
    terminal.wait_for_text("q quit")
    pid = terminal.pid
    os.kill(pid, signal.SIGSTOP)
    wait_for_state(pid, "T")
    # Meanwhile another program uses the terminal.
    termios.tcsetattr(terminal.slave, termios.TCSANOW, terminal.attributes)
    os.write(terminal.slave, b"\x1b[?1049lanother program\r\n")
    terminal.wait_for_text("another program")
    os.kill(pid, signal.SIGCONT)
    terminal.wait_for_text("q quit", "inference")
    assert termios.tcgetattr(terminal.slave) != terminal.attributes
    terminal.type("q")
    assert terminal.wait() == 0
    assert terminal.is_as_before


# In a session of its own no signal tells it.
@pytest.mark.parametrize("session", [(), ("setsid", "--wait")])
def test_a_terminal_that_hangs_up_ends_it(
    start: Start, tmp_path: Path, session: tuple[str, ...]
) -> None:
    errors = tmp_path / "errors"
    terminal = start(before=(*session, "sh", "-c", f'exec "$@" 2> {errors}', "sh"))
    terminal.wait_for_text("q quit")
    pid = terminal.pid
    terminal.hang_up()
    wait_for_state(pid, "Z")
    assert errors.read_text() == "the session has ended\n"


def test_a_terminal_that_takes_nothing_does_not_hold_it_up(start: Start) -> None:
    terminal = start("--namespace", "/quiet", width=200, height=60)
    terminal.wait_for_text("q quit")
    pid = terminal.pid
    for _ in range(40):  # each page has more than 4 kB, and the terminal keeps 64 at most
        terminal.type("2")
        time.sleep(0.02)
        terminal.type("1")
        time.sleep(0.02)
    os.kill(pid, signal.SIGTERM)
    wait_for_state(pid, "Z")


def wait_for_state(pid: int, state: str) -> None:
    """Wait until a process has a state; the last one is Z, and then it is gone."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            found = "Z"
        if found == state:
            return
        assert time.monotonic() < deadline_s, f"it is in {found}"
        time.sleep(0.02)  # a process that is not a child has no event


def test_only_what_changes_is_written(start: Start) -> None:
    terminal = start(width=200, height=60)
    terminal.wait_for_text("q quit")
    whole = terminal.received
    clocks: set[str] = set()

    def has_seen_clocks(seen: object) -> bool:
        clocks.add(terminal.seen.lines[0][-8:])
        return len(clocks) > 4

    terminal.wait_for(has_seen_clocks)
    assert terminal.received - whole < whole / 2


def test_without_colors_and_without_utf8(start: Start) -> None:
    terminal = start(NO_COLOR="1", LC_ALL="C")
    terminal.wait_for_text("q quit", "* FAIL", "78.1 'C")
    assert all(line.isascii() for line in terminal.seen.lines)
    # Only bold, dim and reverse, and their end.
    assert terminal.seen.styles <= {"", "0", "1", "2", "7"}
    terminal.type("q")
    assert terminal.wait() == 0


def test_a_dumb_terminal_gets_lines(start: Start) -> None:
    terminal = start("--interval", "3600", TERM="dumb", height=100)
    terminal.wait_for_text("targets: 1 FAIL", "preprocess")
    assert not terminal.seen.is_alternate
    terminal.type("\x03")
    assert terminal.wait() == 0
    assert terminal.is_as_before
    assert terminal.seen.unknown == []


def test_once_and_plain() -> None:
    once = run("--once")
    assert (once.returncode, once.stderr.splitlines()) == (
        0,
        ["edge-inference: the session speaks", "the session has ended"],
    )
    assert "\x1b" not in once.stdout
    for words in ("/ai", "preprocess", "targets: 1 FAIL", "4711", "78.1 °C of 85", "move 0.5 m"):
        assert words in once.stdout
    none = run("--once", "--namespace", "/none")
    assert none.returncode == 1
    assert "no pipeline runs: start one" in none.stdout
    many = run("--plain", shell="{} | head -60; exit ${{PIPESTATUS[0]}}")
    assert many.returncode == 0
    assert many.stdout.count("end to end") >= 1
    assert "Traceback" not in many.stderr


def test_json_lines() -> None:
    once = run("--once", "--json")
    (line,) = once.stdout.splitlines()
    known = json.loads(line)
    assert known["namespace"] == "/ai"
    assert known["stages"][1]["drops"]["superseded"] == 12
    assert known["targets"][2]["value"] is None
    many = run("--json", shell="{} | head -2; exit ${{PIPESTATUS[0]}}")
    assert many.returncode == 0, many.stderr
    assert [json.loads(each)["namespace"] for each in many.stdout.splitlines()] == ["/ai", "/ai"]


def test_what_cannot_be_written_is_a_failure() -> None:
    for options in (["--once", "--json"], ["--once"], ["--plain"]):
        full = run(*options, shell="{} > /dev/full")
        assert (full.returncode, "No space left" in full.stderr) == (1, True)


def test_a_reader_that_does_not_read_does_not_hold_up_the_end() -> None:
    reading, writing = os.pipe()
    capacity = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([*TOP, "--json"], cwd=ROOT, stdout=writing, env=environment) as top:
        os.close(writing)
        deadline_s = time.monotonic() + DEADLINE_S
        while array("i", fcntl.ioctl(reading, termios.FIONREAD, bytes(4)))[0] < capacity:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        top.send_signal(signal.SIGTERM)
        try:
            assert top.wait(DEADLINE_S) == 128 + signal.SIGTERM
        finally:
            top.kill()
            os.close(reading)


def test_wrong_usage() -> None:
    both = run("--plain", "--json")
    assert both.returncode == 2
    assert "--plain and --json: expected one of them, got both" in both.stderr
    assert run("--interval", "0").returncode == 2
