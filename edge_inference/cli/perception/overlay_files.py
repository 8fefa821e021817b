"""Writes overlays as JPEG files, in a thread beside the pipeline."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.image_file import write_jpeg
from edge_inference.core.runtime.worker import format_error
from edge_inference.errors import ConfigError, ImageError

# Images that wait to be written before the overlay stage has to wait too.
_MAX_WAITING = 4


class OverlayFiles:
    """Writes ``frame_000001.jpg`` … into a folder, in its own thread.

    ``number_of`` returns an image's number by its stamp. ``on_error`` gets
    the first failure; further ones are only counted. Raises ConfigError where the folder
    cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        number_of: Callable[[int], int | None],
        on_error: Callable[[str], None],
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"--save-overlay {folder}: the folder cannot be made: {error.strerror}"
            ) from error
        self.folder = folder
        self.written = 0
        self.failed = 0
        self._number_of = number_of
        self._on_error = on_error
        self._waiting: queue.Queue[Frame | None] = queue.Queue(_MAX_WAITING)
        self._writer = threading.Thread(target=self._run, name="overlay_files", daemon=True)
        self._writer.start()

    def receive(self, overlay: Frame) -> None:
        """Queue an image; blocks while the queue is full."""
        self._waiting.put(overlay)

    def finish(self) -> None:
        """Write the queued images and end the thread; do not call ``receive`` afterwards."""
        self._waiting.put(None)
        self._writer.join()

    def _run(self) -> None:
        while (overlay := self._waiting.get()) is not None:
            try:
                self._write(overlay)
            except BaseException as error:  # without this thread, receive would block forever
                self._fail(f"an overlay is not written: {format_error(error)}")

    def _write(self, overlay: Frame) -> None:
        number = self._number_of(overlay.stamp_ns)
        if number is None:  # an image of another publisher on the same topic
            return
        file = self.folder / f"frame_{number:06d}.jpg"
        try:
            write_jpeg(file, overlay)
            self.written += 1
        except (OSError, ImageError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._fail(f"{file}: cannot be written: {reason}")

    def _fail(self, problem: str) -> None:
        self.failed += 1
        if self.failed == 1:
            self._on_error(problem)
