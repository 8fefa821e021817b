"""The files that a machine shows itself in: /sys, /proc and a few in /etc and /var."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

#: More than any file that is read here holds.
_LONGEST_READ = 65536


class SystemFiles(Protocol):
    """Files by path from the root, without a leading slash: ``sys/class/thermal/…``."""

    def read(self, path: str) -> bytes:
        """Return a file's content; raises OSError with the errno that the kernel gave.

        May block for as long as the kernel does.
        """

    def list(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; empty where there is no such folder."""


class HostFiles:
    """The tree below a folder, by default this machine's own."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        # Joined as texts: dozens of files are read a second, and a path object costs as much.
        self._prefix = f"{str(root).rstrip('/')}/"

    def read(self, path: str) -> bytes:
        """Return a file's content, as in ``Tree``.

        Read without Python's text layer, which makes another error of EAGAIN.
        """
        handle = os.open(self._prefix + path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(handle, _LONGEST_READ)
        finally:
            os.close(handle)

    def list(self, path: str) -> list[str]:
        """Return the names in a folder, as in ``Tree``."""
        try:
            return sorted(entry.name for entry in (self._root / path).iterdir())
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []
