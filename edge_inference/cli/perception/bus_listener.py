"""Listens to a perception pipeline of this process on its bus."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge_inference.cli.perception.frame_tracker import FrameRecord, FrameTracker
from edge_inference.cli.perception.overlay_files import OverlayFiles
from edge_inference.core.images.frame import Frame
from edge_inference.core.runtime.latency import LatencyLog, StageTiming

if TYPE_CHECKING:
    from edge_inference.composition.bus import Bus

RESULT_TOPICS = ("detections", "classification", "segmentation", "depth")

_WAITING_RECORDS = 64
_RETRY_S = 0.1
_WINDOW_S = 10.0
# Longer than any run: this log's percentiles are limited by its number of frames only.
_WHOLE_RUN_S = 1e6


class BusListener:
    """Collects records and timings; made before the pipeline is, so that it misses nothing.

    ``namespace`` is the pipeline's. ``image_topic`` is that of our own media source, None where
    the images come from somebody else. A reader that falls behind slows the pipeline down.
    """

    def __init__(
        self,
        bus: Bus,
        source: str,
        image_topic: str | None,
        limit: int | None = None,
        namespace: str = "/ai",
    ) -> None:
        self.book = FrameTracker(source, image_topic is not None, self._hand_over, limit)
        self.recent = LatencyLog(_WINDOW_S)
        self.whole = LatencyLog(_WHOLE_RUN_S)
        #: Results that the overlay stage is done with, drawn or dropped.
        self.overlays_done = 0
        #: ``time.monotonic()`` of the last sign of life.
        self.last_event_s = time.monotonic()
        self._bus = bus
        self._namespace = namespace
        self._records: queue.Queue[FrameRecord] = queue.Queue(_WAITING_RECORDS)
        self._closing = threading.Event()
        taps: list[tuple[str, Callable[[Any], None]]] = [
            (f"{namespace}/{topic}", self.book.add_result) for topic in RESULT_TOPICS
        ]
        taps.append((f"{namespace}/stage_timing", self._add_timing))
        if image_topic is not None:
            taps.append((image_topic, self._announce))
        self._leave = [bus.tap(topic, callback) for topic, callback in taps]

    def save_overlays(self, files: OverlayFiles) -> Callable[[], None]:
        """Give every overlay to ``files``; return the function that ends it."""
        return self._bus.tap(f"{self._namespace}/overlay", files.receive)

    def next_record(self, timeout_s: float) -> FrameRecord | None:
        """Wait for a finished image; None where none came."""
        try:
            return self._records.get(timeout=timeout_s) if timeout_s else self._records.get_nowait()
        except queue.Empty:
            return None

    def is_drained(self) -> bool:
        """Tell whether every announced image came to its end and every record was taken."""
        return self.book.settled == self.book.announced and self._records.empty()

    def close(self) -> None:
        """Stop listening and let go of whoever waits for the reader."""
        self._closing.set()
        for leave in self._leave:
            leave()

    def _announce(self, frame: Frame) -> None:
        self.last_event_s = time.monotonic()
        self.book.announce(frame)

    def _add_timing(self, timing: StageTiming) -> None:
        self.last_event_s = time.monotonic()
        now_ns = time.monotonic_ns()
        self.recent.add(timing, now_ns)
        self.whole.add(timing, now_ns)
        if timing.stage == "overlay" and self.book.number_of(timing.stamp_ns) is not None:
            self.overlays_done += 1
        self.book.add_timing(timing)

    def _hand_over(self, record: FrameRecord) -> None:
        while not self._closing.is_set():
            try:
                self._records.put(record, timeout=_RETRY_S)
            except queue.Full:
                continue
            return
