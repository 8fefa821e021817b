"""Receives the results and timings of a perception pipeline in this process from its bus."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_inference.cli.perception.frame_tracker import FrameRecord, FrameTracker
from edge_inference.cli.perception.overlay_files import OverlayFiles
from edge_inference.cli.perception.run_options import RunOptions
from edge_inference.core.images.frame import Frame
from edge_inference.core.results import RESULT_KINDS
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.pipeline_latency import PipelineLatency

if TYPE_CHECKING:
    from edge_inference.cli.sessions.pipeline_session import PipelineSession

_MAX_WAITING_RECORDS = 64
_RETRY_S = 0.1
_WINDOW_S = 10.0


class BusListener:
    """Collects records and timings; make it before the pipeline, so that it receives everything.

    ``image_topic`` is the topic of the pipeline's media source, None where another node publishes
    the images. A slow reader slows the pipeline down.
    """

    def __init__(
        self, session: PipelineSession, options: RunOptions, image_topic: str | None
    ) -> None:
        is_announced = image_topic is not None
        self.tracker = FrameTracker(options.source, is_announced, self._put_record, options.frames)
        self.recent = PipelineLatency(_WINDOW_S, options.deadline_ms)
        self.whole = PipelineLatency(None, options.deadline_ms)
        #: Results that the overlay stage has finished, drawn or dropped.
        self.overlays_done = 0
        #: ``time.monotonic()`` of the last image or timing.
        self.last_event_s = time.monotonic()
        self._session = session
        self._records: queue.Queue[FrameRecord] = queue.Queue(_MAX_WAITING_RECORDS)
        self._closing = threading.Event()
        for kind in RESULT_KINDS.rows().values():
            session.tap(kind.topic, self.tracker.add_result)
        session.tap("stage_timing", self._add_timing)
        if image_topic is not None:
            session.tap(image_topic, self._announce)

    def save_overlays(self, files: OverlayFiles) -> Callable[[], None]:
        """Pass every overlay to ``files``; return the function that stops this."""
        return self._session.tap("overlay", files.receive)

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
        """Release threads that wait for the reader, and accept no more records."""
        self._closing.set()

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
        if record.timeline is not None:
            now_ns = time.monotonic_ns()
            self.recent.add_timeline(record.timeline, now_ns)
            self.whole.add_timeline(record.timeline, now_ns)
        while not self._closing.is_set():
            try:
                self._records.put(record, timeout=_RETRY_S)
            except queue.Full:
                continue
            return
