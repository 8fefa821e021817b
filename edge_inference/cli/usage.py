"""How a command ends: its exit codes, and how it tells what went wrong."""

from __future__ import annotations

import sys

from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError

EXIT_FAILED, EXIT_USAGE = 1, 2
#: Of a process that a signal ends, with the signal's number added.
EXIT_SIGNALLED = 128


class UsageError(ConfigError):
    """Options that exclude each other, or that would have no effect."""


def print_error(text: object, name: str = "edge-inference") -> None:
    """Tell on stderr what went wrong, in one line: files' and tensors' names may hold anything."""
    sys.stderr.write(f"{name}: {one_line(str(text))}\n")
    sys.stderr.flush()
