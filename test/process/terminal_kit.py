"""A program on a pseudo-terminal, and what a user would see on it."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.cells import cell_len

ROOT = Path(__file__).parents[2]
#: Long, because the machine may be busy; only a test that fails waits for it.
DEADLINE_S = 60.0
_SEQUENCE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\x1b(?!\[)(.)", re.DOTALL)


class SeenTerminal:
    """The characters on a terminal after what a program has written.

    It knows what the monitor and a shell need; what else comes is kept in ``unknown``.
    """

    def __init__(self, width: int, height: int) -> None:
        self.unknown: list[str] = []
        self.styles: set[str] = set()
        self.is_alternate = False
        self.has_cursor = True
        self.wraps = True
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._row = self._column = 0
        self._cells = [[" "] * width for _ in range(height)]

    @property
    def lines(self) -> list[str]:
        return ["".join(row) for row in self._cells]

    def write(self, text: str) -> str:
        """Take what a program has written; return what is not complete yet."""
        while text:
            if text[0] != "\x1b":
                self._put(text[0])
                text = text[1:]
                continue
            found = _SEQUENCE.match(text)
            if found is None:
                return text
            self._obey(found)
            text = text[found.end() :]
        return ""

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._row += 1
            if self._row == self.height:
                self._row -= 1
                self._cells = [*self._cells[1:], [" "] * self.width]
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character == "\x07":
            pass
        elif character.isprintable():
            if self._column >= self.width:
                if not self.wraps:
                    self.unknown.append(f"{character!r} beyond the end of line {self._row}")
                self._put("\r")
                self._put("\n")
            self._cells[self._row][self._column] = character
            for rest in range(1, cell_len(character)):
                self._cells[self._row][self._column + rest] = ""
            self._column += cell_len(character)
        else:
            self.unknown.append(repr(character))

    def _obey(self, found: re.Match[str]) -> None:
        private, numbers, letter, _ = found.groups()
        is_on = letter == "h"
        if private and letter in "hl" and numbers in ("1049", "25", "7", "2004"):
            if numbers == "1049":
                self.is_alternate = is_on
                self.resize(self.width, self.height)
            elif numbers == "25":
                self.has_cursor = is_on
            elif numbers == "7":
                self.wraps = is_on
        elif not private and letter == "H":
            row, column = (int(each) - 1 for each in (numbers or "1;1").split(";"))
            self._row, self._column = min(row, self.height - 1), min(column, self.width - 1)
        elif not private and (letter, numbers) == ("J", "2"):
            self._cells = [[" "] * self.width for _ in range(self.height)]
        elif not private and letter == "K":
            row = self._cells[self._row]
            row[self._column :] = [" "] * (self.width - self._column)
        elif not private and letter == "m":
            self.styles.update(numbers.split(";"))
        else:
            self.unknown.append(repr(found[0]))


class OnTerminal:
    """A program whose standard streams are a pseudo-terminal, started by a shell as a user would.

    The shell stays, so that the terminal can be looked at when the program has ended. It continues
    a stopped program when a line is typed.
    """

    def __init__(self, command: Sequence[str], width: int, height: int, **env: str) -> None:
        self._master, self.slave = os.openpty()
        self.seen = SeenTerminal(width, height)
        self.resize(width, height)
        self.attributes = termios.tcgetattr(self.slave)
        self.received = 0
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "bash", "-c", _SHELL, "shell", *command],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if name not in _UNWANTED},
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "TERM": "xterm-256color",
                "LC_ALL": "C.UTF-8",
                **env,
            },
        )

    @property
    def pid(self) -> int:
        """The number of the program's process: the last child."""
        pid = self._shell.pid
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
        return pid

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.seen.resize(width, height)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, is_seen: Callable[[SeenTerminal], object], what: str = "") -> None:
        """Read until the terminal shows something."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not is_seen(self.seen):
            shown = "\n".join(self.seen.lines)
            assert time.monotonic() < deadline_s, f"{what} is not on\n{shown}"
            self._read(0.05)

    def wait_for_text(self, *texts: str) -> None:
        self.wait_for(
            lambda seen: all(any(text in line for line in seen.lines) for text in texts),
            ", ".join(texts),
        )

    def wait(self) -> int:
        """Read until the program has ended; return its exit code."""
        self.wait_for(lambda seen: _ENDED.search("\n".join(seen.lines)), "the end")
        found = _ENDED.search("\n".join(self.seen.lines))
        assert found is not None
        return int(found[1])

    def hang_up(self) -> None:
        """Close the terminal, as a connection that ends."""
        os.close(self.slave)
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        """End the program, if it still runs, and the shell."""
        if self._master >= 0:
            self.hang_up()  # which ends both
        self._shell.kill()
        self._shell.wait()

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal is as the program found it."""
        return (
            termios.tcgetattr(self.slave) == self.attributes
            and not self.seen.is_alternate
            and self.seen.has_cursor
            and self.seen.wraps
        )

    def _read(self, timeout_s: float) -> None:
        if select.select([self._master], [], [], timeout_s)[0]:
            data = os.read(self._master, 65536)
            self.received += len(data)
            self._rest = self.seen.write(self._rest + self._decoder.decode(data))


_UNWANTED = ("NO_COLOR", "CI", "COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE")
_ENDED = re.compile(r"ended with (\d+)")
# 148 is the exit code of a program that Ctrl-Z has stopped.
_SHELL = """
set -m
follow() {  # no loop: bash leaves loops when a program is stopped
    if [ $1 = 148 ]; then
        echo stopped
        read -r line
        fg > /dev/null
        follow $?
    else
        echo "ended with $1"
        exec sleep infinity
    fi
}
"$@"
follow $?
"""
