"""Receives the results and timings of a perception pipeline in this process from its bus."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge_inference.cli.perception.frame_tracker import FrameRecord, FrameTracker
from edge_inference.cli.perception.overlay_files import OverlayFiles
from edge_inference.core.images.frame import Frame
from edge_inference.core.results import RESULT_KINDS
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.latency_log import LatencyLog

if TYPE_CHECKING:
    from edge_inference.composition.bus import Bus

_MAX_WAITING_RECORDS = 64
_RETRY_S = 0.1
_WINDOW_S = 10.0


class BusListener:
    """Collects records and timings; make it before the pipeline, so that it receives everything.

    ``namespace`` is the pipeline's. ``image_topic`` is the topic of the pipeline's media source,
    None where another node publishes the images. A slow reader slows the pipeline down.
    """

    def __init__(
        self,
        bus: Bus,
        source: str,
        image_topic: str | None,
        limit: int | None = None,
        namespace: str = "/ai",
    ) -> None:
        self.tracker = FrameTracker(source, image_topic is not None, self._put_record, limit)
        self.recent = LatencyLog(_WINDOW_S)
        self.whole = LatencyLog(None)
        #: Results that the overlay stage has finished, drawn or dropped.
        self.overlays_done = 0
        #: ``time.monotonic()`` of the last image or timing.
        self.last_event_s = time.monotonic()
        self._bus = bus
        self._namespace = namespace
        self._records: queue.Queue[FrameRecord] = queue.Queue(_MAX_WAITING_RECORDS)
        self._closing = threading.Event()
        taps: list[tuple[str, Callable[[Any], None]]] = [
            (f"{namespace}/{kind.topic}", self.tracker.add_result)
            for kind in RESULT_KINDS.rows().values()
        ]
        taps.append((f"{namespace}/stage_timing", self._add_timing))
        if image_topic is not None:
            taps.append((image_topic, self._announce))
        self._untap = [bus.tap(topic, callback) for topic, callback in taps]

    def save_overlays(self, files: OverlayFiles) -> Callable[[], None]:
        """Pass every overlay to ``files``; return the function that stops this."""
        return self._bus.tap(f"{self._namespace}/overlay", files.receive)

    def next_record(self, timeout_s: float) -> FrameRecord | None:
        """Wait for the record of a finished image; None where none came in time."""
        try:
            return self._records.get(timeout=timeout_s) if timeout_s else self._records.get_nowait()
        except queue.Empty:
            return None

    def is_drained(self) -> bool:
        """Tell whether every announced image is finished and every record was read."""
        return self.tracker.finished == self.tracker.announced and self._records.empty()

    def close(self) -> None:
        """Stop listening, and release threads that wait for the reader."""
        self._closing.set()
        for untap in self._untap:
            untap()

    def _announce(self, frame: Frame) -> None:
        self.last_event_s = time.monotonic()
        self.tracker.announce(frame)

    def _add_timing(self, timing: StageTiming) -> None:
        self.last_event_s = time.monotonic()
        now_ns = time.monotonic_ns()
        self.recent.add(timing, now_ns)
        self.whole.add(timing, now_ns)
        if timing.stage == "overlay" and self.tracker.number_of(timing.stamp_ns) is not None:
            self.overlays_done += 1
        self.tracker.add_timing(timing)

    def _put_record(self, record: FrameRecord) -> None:
        while not self._closing.is_set():
            try:
                self._records.put(record, timeout=_RETRY_S)
            except queue.Full:
                continue
            return
