"""Snapshots as lines of JSON."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_inference.core.disk import check_output_file, describe_write_error
from edge_inference.errors import ConfigError
from edge_inference.observe.export.output_state import OutputState
from edge_inference.observe.monitor.json_text import json_text
from edge_inference.observe.monitor.snapshot import Decision, Snapshot

_STDOUT = 1


class SnapshotLines:
    """Writes one JSON object a line to a file, or to stdout where ``target`` is ``-``.

    A decision is in one line only. A file is continued. Raises ConfigError where the file cannot
    be written; a disk that is full later is said, and tried again with the next line.
    """

    def __init__(self, target: str, on_message: Callable[[str], None]) -> None:
        self._is_own = target != "-"
        self._number = _open(target) if self._is_own else _STDOUT
        self.state = OutputState(target if self._is_own else "stdout", on_message)
        self._written: frozenset[Decision] = frozenset()
        self._is_cut = False

    def write(self, snapshot: Snapshot) -> None:
        """Write a line. Raises BrokenPipeError where the reader of stdout has gone."""
        new = tuple(each for each in snapshot.decisions if each not in self._written)
        line = json_text(replace(snapshot, decisions=new))
        try:
            self._write_line(line.encode() + b"\n")
        except BrokenPipeError:
            raise
        except OSError as error:
            self.state.note_failure(f"cannot be written ({describe_write_error(error)})")
        else:
            self._written = frozenset(snapshot.decisions)
            self.state.note_success()

    def close(self) -> None:
        """Close the file."""
        if self._is_own:
            os.close(self._number)

    def _write_line(self, line: bytes) -> None:
        # The end of a line that was cut off by a full disk would else spoil this one.
        rest = memoryview(b"\n" + line if self._is_cut else line)
        while rest:
            rest = rest[os.write(self._number, rest) :]
            self._is_cut = bool(rest)


def _open(target: str) -> int:
    file = Path(target)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    if not file.is_fifo():
        check_output_file(file, "--json")
        return os.open(file, flags, 0o666)
    try:
        number = os.open(file, flags | os.O_NONBLOCK)  # else it would wait for a reader
    except OSError as error:
        reason = error.strerror if error.errno != errno.ENXIO else "nobody reads from this pipe yet"
        raise ConfigError(f"--json {file}: cannot be written ({reason})") from error
    os.set_blocking(number, True)
    return number
