"""Runs the commands of the set-up, with their output in a log."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path


class SetUpError(Exception):
    """A step of the set-up failed; the message says how to mend it."""


class Commands:
    """Runs commands for one environment; what they print goes to one log file."""

    def __init__(self, python: Path, log: Path, cache: Path) -> None:
        self.python = python
        self.log = log
        self._cache = cache

    def run(self, command: list[str], **options: object) -> None:
        """Run one command. Raises SetUpError, with the log's end, where it fails."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            log.write(f"$ {shlex.join(command)}\n")
            log.flush()
            done = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, check=False, **options
            )
        if done.returncode != 0:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])
            raise SetUpError(f"{tail}\nfailed: {shlex.join(command)}\nwhole log: {self.log}")

    def pip(self, arguments: list[str], **options: object) -> None:
        """Let the environment's pip install something."""
        quiet = ["--disable-pip-version-check", "--no-input", "--cache-dir", str(self._cache)]
        self.run([str(self.python), "-m", "pip", "install", *quiet, *arguments], **options)

    def ask(self, code: str) -> str:
        """Return what a line of Python prints in the environment, or nothing where it fails."""
        done = subprocess.run(
            [str(self.python), "-c", code], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""
