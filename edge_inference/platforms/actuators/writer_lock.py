"""The lock of the one writer on a machine; the kernel releases it when the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from edge_inference.errors import ActuatorError


class WriterLock:
    """A lock file in the folder that every writer on this machine uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "writer.lock"
        self._handle: int | None = None

    @property
    def is_held(self) -> bool:
        """Tell whether this object holds the lock."""
        return self._handle is not None

    def acquire(self) -> None:
        """Take the lock; raises ActuatorError with the process that holds it."""
        if self.is_held:
            return
        handle = self._open()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise ActuatorError(
                f"process {holder} already sets this machine's clocks and power mode; only one "
                "writer is allowed at a time"
            ) from None
        except OSError as error:
            os.close(handle)
            raise ActuatorError(f"{self._file}: {error.strerror}") from error
        self._handle = handle

    def release(self) -> None:
        """Release the lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ActuatorError(
                f"{self._file}: {error.strerror}; the originals are saved in this folder before "
                "any change: run as root, or create the folder for this user"
            ) from error
