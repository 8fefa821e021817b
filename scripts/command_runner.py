"""Runs the commands of the set-up and writes their output to a log file."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import TextIO

from progress import Progress

TAIL_LINES = 25
NO_SPACE = "No space left on device"
# Messages of pip, uv and their libraries when an index is not reachable.
NO_NETWORK_PATTERN = (
    r"failed to (fetch|download)|dns error|name resolution|error sending request|"
    r"NewConnectionError|Max retries exceeded|ConnectTimeout|ReadTimeout|certificate"
)
HINTS = (
    (
        NO_SPACE,
        "The disk is full: the environment and its cache need about 1.5 GB here. With torch they "
        "need 2.5 GB, and several more if pip takes a build of torch for CUDA.",
    ),
    (
        NO_NETWORK_PATTERN,
        "The package index is not reachable. Check the network connection. The set-up reads a "
        "proxy, a mirror or your own certificate from pip's configuration: HTTPS_PROXY, "
        "PIP_INDEX_URL, PIP_CERT, pip.conf.",
    ),
    (
        "No matching distribution found",
        "The package index has no build of this version for this Python and machine. Check which "
        "index pip is configured with (PIP_INDEX_URL, pip.conf), or name another Python: "
        "make PYTHON=/path/to/python3.12",
    ),
)


class SetUpError(Exception):
    """A step of the set-up failed; the message says how to fix it."""


class StoppedError(SetUpError):
    """A command was ended, or not started, because another step failed."""


def find_hint(output: str) -> str:
    """Return a sentence on how to fix the error in a command's last lines, or "" for no hint."""
    for pattern, text in HINTS:
        if re.search(pattern, output, re.IGNORECASE):
            return f"\n{text}"
    return ""


class CommandRunner:
    """Runs commands for one environment; their output goes to one log file."""

    def __init__(
        self, python: Path, log: Path, cache: Path, progress: Progress | None = None
    ) -> None:
        self.python = python
        self.log = log
        self.progress = progress or Progress()
        self._cache = cache
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def run(self, command: list[str], *, step: str = "", **options: object) -> None:
        """Run one command. Raises SetUpError with its last lines if it fails.

        ``step`` names the step whose progress shows the command's lines.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        with self.log.open("a") as log:
            log.write(f"$ {shlex.join(command)}\n")
            log.flush()
            try:
                status = self._stream_output(command, step, log, tail, options)
            except FileNotFoundError as error:
                raise SetUpError(f"{error.filename} cannot be started: {error.strerror}") from error
        if self._is_stopped:
            raise StoppedError(f"ended: {shlex.join(command)}")
        if status != 0:
            output = "".join(tail)
            failed = f"failed ({status}): {shlex.join(command)}"
            raise SetUpError(f"{output}{failed}\nwhole log: {self.log}{find_hint(output)}")

    def _stream_output(
        self,
        command: list[str],
        step: str,
        log: TextIO,
        tail: deque[str],
        options: dict[str, object],
    ) -> int:
        with self._lock:
            if self._is_stopped:
                raise StoppedError(f"not started: {shlex.join(command)}")
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
                # Parallel commands share the log: each writes whole lines, marked with its step.
                for line in process.stdout:
                    log.write(f"{step}: {line}" if step else line)
                    log.flush()
                    tail.append(line)
                    self.progress.update(step, line.strip())
        finally:
            with self._lock:
                self._running.discard(process)
        return process.returncode

    def stop(self) -> None:
        """End the running commands and refuse to start others."""
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                process.terminate()

    def pip_install(self, arguments: list[str], *, step: str = "", **options: object) -> None:
        """Install packages with the environment's pip."""
        quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
        quiet += ["--cache-dir", str(self._cache)]
        command = [str(self.python), "-m", "pip", "install", *quiet, *arguments]
        self.run(command, step=step, **options)

    def query_python(self, code: str) -> str:
        """Return what a line of Python prints in the environment, or "" if it fails."""
        done = subprocess.run(
            [str(self.python), "-c", code], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""
