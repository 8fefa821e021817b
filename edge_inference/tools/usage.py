"""The error of a command line that asks for what does not go together."""

from __future__ import annotations

from edge_inference.errors import ConfigError

EXIT_FAILED, EXIT_USAGE = 1, 2
#: Of a process that a signal ends, with the signal's number added.
EXIT_SIGNALLED = 128


class UsageError(ConfigError):
    """Options that exclude each other, or that would have no effect."""
