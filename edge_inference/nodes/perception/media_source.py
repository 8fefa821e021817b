"""The media source node: publishes images from a file, a folder, a video or a V4L2 device."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.media import Media, open_media
from edge_inference.core.runtime.worker import Worker, format_error
from edge_inference.core.settings import setting
from edge_inference.errors import SourceError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.images import ImageAdapter

_RETRY_S = 1.0


@dataclass(frozen=True)
class MediaSourceSettings:
    """Parameters of the media source."""

    source: str = setting(
        "sample",
        "image, folder of images, video, V4L2 device (/dev/video0 or 0), or sample",
        read_only=True,
    )
    rate: float = setting(
        0.0,
        "images per second; 0: the source's own rate",
        unit="Hz",
        minimum=0.0,
        maximum=1000.0,
    )
    pace: str = setting(
        "real_time",
        "real_time: at the rate; as_fast_as_possible: without waiting between images",
        choices=("real_time", "as_fast_as_possible"),
    )
    loop: bool = setting(False, "start again at the end")
    limit: int = setting(0, "number of images after which to stop; 0 for no limit", minimum=0)
    frame_id: str = setting("camera", "frame_id in the header of every image")


class MediaSource(Component):
    """Reads images in its own thread; opens a camera again every second after it disappears.

    The same holds for a camera after an unexpected exception; a file ends after two exceptions
    without an image between them.
    """

    default_name = "media_source"
    default_namespace = "camera"
    settings_class = MediaSourceSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        #: Set when the last image has been published.
        self.finished = threading.Event()
        self._reader: Worker | None = None
        self._media: Media | None = None
        self._published = 0
        self._published_in_pass = 0

    def open(self) -> None:
        """Open the source, so that a wrong name is an error at once."""
        self._images = self.make_publisher("image_raw", ImageAdapter())
        self._media = open_media(self.parameters.current.source)
        self.health.note("source", self.parameters.current.source)

    def start(self) -> None:
        """Start reading."""
        self.finished.clear()
        self._published = self._published_in_pass = 0
        self._is_failing = False
        self._reader = self.make_worker(self._run)

    def stop(self) -> None:
        """Stop reading."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.end()

    def close(self) -> None:
        """Close the source."""
        media, self._media = self._media, None
        if media is not None:
            media.close()

    def _run(self, worker: Worker) -> None:
        try:
            self._publish_all(worker)
        except BaseException as error:
            if self._is_failing:  # the second failure without an image in between
                self.health.set_fault(format_error(error))
                self.finished.set()
            self._is_failing = True
            if self._media is None or self._media.is_live:
                self._reopen_camera(worker)
            elif self.finished.is_set():
                worker.end()
            raise
        self.finished.set()

    def _publish_all(self, worker: Worker) -> None:
        due = time.monotonic()
        while not worker.is_ending:
            settings = self.parameters.current
            if settings.limit and self._published >= settings.limit:
                break
            try:
                image, origin = self._read()
            except SourceError as error:
                self.report_error(error, "source")
                self._reopen_camera(worker)
                continue
            if image is None:
                self.close()  # the next pass, or the next activation, opens the source again
                if not settings.loop or not self._published_in_pass:
                    break
                self._published_in_pass = 0
                continue
            self._images.publish(
                Frame.from_array(image, None, self.now_ns(), settings.frame_id, origin)
            )
            self._published += 1
            self._published_in_pass += 1
            self.health.count_processed()
            if self._is_failing:
                self._is_failing = False
                self.finished.clear()
                self.health.set_fault("")
            due = self._wait_until_due(due, settings, worker)

    def _read(self) -> tuple[NDArray[np.uint8] | None, str]:
        if self._media is None:
            self._media = open_media(self.parameters.current.source)
        return self._media.read_with_alpha(), self._media.origin

    def _reopen_camera(self, worker: Worker) -> None:
        """Close a camera that failed, and wait before it is opened again."""
        if self._media is None or self._media.is_live:
            self.close()
            worker.wait(_RETRY_S)

    def _wait_until_due(self, due: float, settings: MediaSourceSettings, worker: Worker) -> float:
        """Wait until the next image is due, and return that time; delays are not caught up."""
        media = self._media
        if media is None or media.is_live or settings.pace == "as_fast_as_possible":
            return time.monotonic()
        rate = settings.rate or media.rate_hz or 1.0
        due = max(due + 1.0 / rate, time.monotonic() - 1.0 / rate)
        worker.wait(due - time.monotonic())
        return due
