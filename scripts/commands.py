"""Runs the commands of the set-up, with their output in a log."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import TextIO

from progress import Progress

TAIL = 25
NO_SPACE = "No space left on device"
# What pip, uv and the libraries under them say where an index is out of reach.
NO_NETWORK = (
    r"failed to (fetch|download)|dns error|name resolution|error sending request|"
    r"NewConnectionError|Max retries exceeded|ConnectTimeout|ReadTimeout|certificate"
)
HINTS = (
    (NO_SPACE, "The disk is full: the environment and its cache take about 1.5 GB here."),
    (
        NO_NETWORK,
        "The package index cannot be reached: is there a network? A proxy, a mirror or a "
        "certificate of your own is taken from where pip reads it: HTTPS_PROXY, PIP_INDEX_URL, "
        "PIP_CERT, pip.conf.",
    ),
)


class SetUpError(Exception):
    """A step of the set-up failed; the message says how to mend it."""


class StoppedError(SetUpError):
    """A command was ended, or not begun, because another step failed."""


def hint(output: str) -> str:
    """Return a sentence on how to mend what a command's last lines complain of, or nothing."""
    for pattern, text in HINTS:
        if re.search(pattern, output, re.IGNORECASE):
            return f"\n{text}"
    return ""


class Commands:
    """Runs commands for one environment; what they print goes to one log file."""

    def __init__(
        self, python: Path, log: Path, cache: Path, progress: Progress | None = None
    ) -> None:
        self.python = python
        self.log = log
        self.progress = progress or Progress()
        self._cache = cache
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, command: list[str], *, step: str = "", **options: object) -> None:
        """Run one command. Raises SetUpError, with its last lines, where it fails.

        ``step`` names the step whose progress the command's lines show.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        tail: deque[str] = deque(maxlen=TAIL)
        with self.log.open("a") as log:
            log.write(f"$ {shlex.join(command)}\n")
            log.flush()
            try:
                status = self._follow(command, step, log, tail, options)
            except FileNotFoundError as error:
                raise SetUpError(f"{error.filename} cannot be started: {error.strerror}") from error
        if self._stopped:
            raise StoppedError(f"ended: {shlex.join(command)}")
        if status != 0:
            output = "".join(tail)
            failed = f"failed ({status}): {shlex.join(command)}"
            raise SetUpError(f"{output}{failed}\nwhole log: {self.log}{hint(output)}")

    def _follow(
        self,
        command: list[str],
        step: str,
        log: TextIO,
        tail: deque[str],
        options: dict[str, object],
    ) -> int:
        with self._lock:
            if self._stopped:
                raise StoppedError(f"not begun: {shlex.join(command)}")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                **options,
            )
            self._running.add(process)
        try:
            with process:
                # Commands that run at the same time share the log: whole lines, told apart.
                for line in process.stdout:
                    log.write(f"{step}: {line}" if step else line)
                    log.flush()
                    tail.append(line)
                    self.progress.note(step, line.strip())
        finally:
            with self._lock:
                self._running.discard(process)
        return process.returncode

    def stop(self) -> None:
        """End what runs, and start nothing more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()

    def pip(self, arguments: list[str], *, step: str = "", **options: object) -> None:
        """Let the environment's pip install something."""
        quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
        quiet += ["--cache-dir", str(self._cache)]
        command = [str(self.python), "-m", "pip", "install", *quiet, *arguments]
        self.run(command, step=step, **options)

    def ask(self, code: str) -> str:
        """Return what a line of Python prints in the environment, or nothing where it fails."""
        done = subprocess.run(
            [str(self.python), "-c", code], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""
