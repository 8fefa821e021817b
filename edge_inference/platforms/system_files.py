"""Access to the files that describe a machine: /sys, /proc and a few in /etc and /var."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

#: No file that is read here is larger.
_MAX_READ_BYTES = 65536


class SystemFiles(Protocol):
    """Files by path from the root, without a leading slash: ``sys/class/thermal/…``."""

    def read(self, path: str) -> bytes:
        """Return the content of a file; raises OSError with the kernel's errno.

        May block for as long as the kernel does.
        """

    def list(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; empty if the folder does not exist."""

    def modified_ns(self, path: str) -> int:
        """Return a number that changes when a file is written; raises OSError as ``read`` does.

        It is not comparable with any clock. For the kernel's own files it means nothing.
        """


class HostFiles:
    """The files below a root folder; the default is this machine's own root."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        # Paths are joined as strings: dozens of files are read each second, and creating a Path
        # object costs as much as the read.
        self._prefix = f"{str(root).rstrip('/')}/"

    def read(self, path: str) -> bytes:
        """Return the content of a file, as in ``SystemFiles``.

        Uses ``os.read``, because Python's text layer turns EAGAIN into another error.
        """
        handle = os.open(self._prefix + path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(handle, _MAX_READ_BYTES)
        finally:
            os.close(handle)

    def list(self, path: str) -> list[str]:
        """Return the names in a folder, as in ``SystemFiles``."""
        try:
            return sorted(entry.name for entry in (self._root / path).iterdir())
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []

    def modified_ns(self, path: str) -> int:
        """Return the time of the last write, as in ``SystemFiles``."""
        return os.stat(self._prefix + path).st_mtime_ns  # noqa: PTH116 (quicker than Path)
