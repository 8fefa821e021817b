"""Records the sensor files of a machine: their contents and their read errors."""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from edge_inference.core.disk import describe_write_error
from edge_inference.errors import ConfigError
from edge_inference.platforms.recording.anonymizer import Anonymizer
from edge_inference.platforms.recording.recording import (
    FileContent,
    RecordedSample,
    RecordingHeader,
    RecordingLimits,
    UnreadableFile,
    format_header,
    format_sample,
    open_for_writing,
)
from edge_inference.platforms.recording.scope import RecordingScope
from edge_inference.platforms.system_files import SystemFiles

_BLOCKS_AFTER_S = 1.0
# Not a file, or no longer one.
_NOT_A_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)


@dataclass(frozen=True)
class CaptureSummary:
    """A summary of a recording: numbers of samples, files, and files that cannot be read."""

    samples: int
    files: int
    failing: int
    duration_s: float
    #: True if the recording stopped at the limits of the format.
    is_full: bool = False


def record(
    files: SystemFiles,
    destination: Path,
    header: RecordingHeader,
    scope: RecordingScope,
    *,
    duration_s: float,
    period_s: float,
    wait: Callable[[float], bool],
    host_name: str = "",
    clock: Callable[[], int] = time.monotonic_ns,
    blocks_after_s: float = _BLOCKS_AFTER_S,
) -> CaptureSummary:
    """Record the files in ``scope`` every ``period_s`` for ``duration_s``.

    A duration of 0 records a single sample. ``wait`` sleeps for some seconds and returns True to
    stop early. Each sample is written before the next one is read. The recording also stops at
    the limits of the format. Raises ConfigError if the file exists or cannot be written; what is
    in it by then is valid.
    """
    anonymizer = Anonymizer(host_name)
    header = replace(
        header,
        note=anonymizer.anonymize_text(header.note),
        kernel=anonymizer.anonymize_text(header.kernel),
    )
    try:
        with open_for_writing(destination) as file, _TimeoutReader(files, blocks_after_s) as reader:
            detector = _ChangeDetector(files, scope, anonymizer, reader)
            return _record(
                detector,
                file,
                RecordingLimits(destination),
                header,
                duration_s,
                period_s,
                wait,
                clock,
            )
    except FileExistsError as error:
        raise ConfigError(
            f"{destination}: expected a new file, but it exists; remove it, or name another file"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{destination}: cannot be written ({describe_write_error(error)})"
        ) from error


def _record(
    detector: _ChangeDetector,
    file: IO[str],
    limits: RecordingLimits,
    header: RecordingHeader,
    duration_s: float,
    period_s: float,
    wait: Callable[[float], bool],
    clock: Callable[[], int],
) -> CaptureSummary:
    first = format_header(header)
    limits.add_if_fits(first)
    _write(file, first)
    start_ns, samples, ended, last_s = clock(), 0, False, 0.0
    while True:
        now_s = (clock() - start_ns) / 1e9 if samples else 0.0
        changes = detector.changes()
        line = format_sample(RecordedSample(now_s, changes))
        is_full = not limits.add_if_fits(line, len(changes))
        if is_full and not samples:
            raise ConfigError(f"the first sample is too large: {RecordingLimits.describe()}")
        if not is_full:
            _write(file, line)
            samples, last_s = samples + 1, now_s
        if is_full or ended or now_s >= duration_s:
            files = detector.files.values()
            failing = sum(isinstance(content, UnreadableFile) for content in files)
            return CaptureSummary(samples, len(files), failing, last_s, is_full)
        left_s = duration_s - now_s
        taken_s = (clock() - start_ns) / 1e9 - now_s
        # The last sample is at the end of the duration, whatever the period.
        ended = wait(max(min(period_s - taken_s, left_s), 0.0))


def _write(file: IO[str], line: str) -> None:
    file.write(line + "\n")
    file.flush()


class _ChangeDetector:
    """Finds the files that have changed since the last sample."""

    def __init__(
        self,
        files: SystemFiles,
        scope: RecordingScope,
        anonymizer: Anonymizer,
        reader: _TimeoutReader,
    ) -> None:
        self._files = files
        self._scope = scope
        self._anonymizer = anonymizer
        self._reader = reader
        self.files: dict[str, FileContent] = {}
        self._modified_ns: dict[str, int] = {}

    def changes(self) -> dict[str, FileContent | None]:
        """Read all files and return the changes."""
        before, self.files = self.files, {}
        changed: dict[str, FileContent | None] = {}
        for path in self._scope.find_paths(self._files):
            is_rewritten = self._scope.counts_age(path) and self._is_rewritten(path)
            content = self._read(path)
            if content is None:
                continue
            # A board file names its files: under another name, a replay would not find them.
            is_named = path in self._scope.numbers
            name = path if is_named else self._anonymizer.anonymize_path(path)
            self.files[name] = content
            if is_rewritten or before.get(name) != content:
                changed[name] = content
        gone = [path for path in before if path not in self.files]
        return {**changed, **dict.fromkeys(gone)}

    def _read(self, path: str) -> FileContent | None:
        """Return what the recording holds of a file; None if it is not a file."""
        content = self._reader.read(path)
        if isinstance(content, bytes):
            kept = self._scope.keep_needed(path, content)
            return self._anonymizer.anonymize_content(path, kept)
        return None if content.errno in _NOT_A_FILE else content

    def _is_rewritten(self, path: str) -> bool:
        """Tell whether a file was written since the last call, also with the same content."""
        try:
            modified_ns = self._files.modified_ns(path)
        except OSError:
            return False
        before = self._modified_ns.get(path)
        self._modified_ns[path] = modified_ns
        return before is not None and before != modified_ns


class _TimeoutReader:
    """Reads files in a worker thread with a timeout, because a read may block."""

    def __init__(self, files: SystemFiles, blocks_after_s: float) -> None:
        self._files = files
        self._blocks_after_s = blocks_after_s
        self._worker = _Worker(files)
        self._stuck: dict[str, _Worker] = {}

    def __enter__(self) -> _TimeoutReader:
        """Return the reader."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let the thread end."""
        self._worker.end()

    def read(self, path: str) -> FileContent:
        """Read a file; a file whose last read is still blocked is not read again."""
        stuck = self._stuck.get(path)
        if stuck is not None and stuck.is_busy:
            return UnreadableFile(None)
        self._stuck.pop(path, None)
        content = self._worker.read(path, self._blocks_after_s)
        if content == UnreadableFile(None):
            self._stuck[path] = self._worker
            self._worker.end()
            self._worker = _Worker(self._files)
        return content


class _Worker:
    """A thread that reads one file after another."""

    def __init__(self, files: SystemFiles) -> None:
        self._files = files
        self._asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[FileContent] = queue.SimpleQueue()
        # A daemon, because a read that blocks in the kernel cannot be interrupted.
        threading.Thread(target=self._work, name="recording", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether the last read has not returned."""
        return self._answers.empty()

    def read(self, path: str, timeout_s: float) -> FileContent:
        """Return the content of a file, or ``UnreadableFile(None)`` after the timeout."""
        self._asked.put(path)
        try:
            return self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return UnreadableFile(None)

    def end(self) -> None:
        """Let the thread end after the requested reads."""
        self._asked.put(None)

    def _work(self) -> None:
        while (path := self._asked.get()) is not None:
            try:
                self._answers.put(self._files.read(path))
            except OSError as error:
                self._answers.put(UnreadableFile(error.errno or errno.EIO))
            except BaseException:  # without an answer the file would count as blocked for ever
                self._answers.put(UnreadableFile(errno.EIO))
