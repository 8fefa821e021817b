"""Replay of a recording as the files of a machine."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge_inference.platforms.recording.recording import (
    FileContent,
    RecordingHeader,
    read_recording,
)

# A blocked file is checked this often, because it may unblock later in the recording.
_BLOCKED_POLL_S = 0.05


class RecordedFiles:
    """Plays a recording as ``SystemFiles``. Any thread may read.

    ``clock`` returns monotonic nanoseconds. The recording starts when this object is created and
    plays at ``speed`` times real time. With ``loop`` it repeats, else the files keep their last
    contents. Raises InputError if the file is not a valid recording.
    """

    def __init__(
        self,
        file: Path,
        clock: Callable[[], int] = time.monotonic_ns,
        speed: float = 1.0,
        loop: bool = False,
    ) -> None:
        recording = read_recording(file)
        self._header = recording.header
        self._duration_s = recording.duration_s
        self._samples = recording.samples
        self._clock = clock
        self._speed = speed
        self._loops = loop and recording.duration_s > 0
        self._start_ns = clock()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._files: dict[str, FileContent] = {}
        self._written: dict[str, int] = {}
        self._writes = 0
        self._played = 0
        self._round = 0

    @property
    def header(self) -> RecordingHeader:
        """The origin of the recording."""
        return self._header

    @property
    def duration_s(self) -> float:
        """The length of the recording, in recorded time."""
        return self._duration_s

    @property
    def elapsed_s(self) -> float:
        """The played time, in recorded time; it goes on after the end and through every loop."""
        return max(self._clock() - self._start_ns, 0) / 1e9 * self._speed

    @property
    def has_ended(self) -> bool:
        """Whether no more changes follow."""
        return not self._loops and self.elapsed_s >= self._duration_s

    def now_ns(self) -> int:
        """Return the clock of the recording, which runs ``speed`` times as fast as ours."""
        return self._start_ns + round(self.elapsed_s * 1e9)

    def read(self, path: str) -> bytes:
        """Return the content of a file; raises and blocks as the machine did."""
        while True:
            with self._lock:
                content = self._now().get(path)
                if content is None:
                    raise self._missing(path)
            if isinstance(content, bytes):
                return content
            if content.errno is not None:
                raise _error(content.errno, path)
            if self._closed.wait(_BLOCKED_POLL_S):
                raise _error(errno.ECANCELED, path)

    def list(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; empty if the folder does not exist."""
        start = f"{path}/" if path else ""
        with self._lock:
            below = (file for file in self._now() if file.startswith(start))
            return sorted({file[len(start) :].partition("/")[0] for file in below})

    def modified_ns(self, path: str) -> int:
        """Return a number that rises with each sample that holds the file."""
        with self._lock:
            if path not in self._now():
                raise self._missing(path)
            return self._written[path]

    def close(self) -> None:
        """Release the threads that are blocked in a read."""
        self._closed.set()

    def _now(self) -> dict[str, FileContent]:
        """Return the files at the current time; called with the lock held."""
        elapsed_s = self.elapsed_s
        if self._loops:
            turn, elapsed_s = divmod(elapsed_s, self._duration_s)
            if turn != self._round:
                self._round, self._played, self._files = int(turn), 0, {}
        while self._played < len(self._samples) and self._is_due(self._played, elapsed_s):
            for path, content in self._samples[self._played].files.items():
                if content is None:
                    self._files.pop(path, None)
                else:
                    self._writes += 1
                    self._files[path], self._written[path] = content, self._writes
            self._played += 1
        return self._files

    def _is_due(self, sample: int, elapsed_s: float) -> bool:
        return self._samples[sample].time_s <= elapsed_s

    def _missing(self, path: str) -> OSError:
        """Return the kernel's error for a path that is not a file: it may be a folder."""
        is_folder = any(file.startswith(f"{path}/") for file in self._files)
        return _error(errno.EISDIR if is_folder else errno.ENOENT, path)


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
