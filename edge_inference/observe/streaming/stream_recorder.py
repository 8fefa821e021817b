"""Records when frames and results of a running pipeline are published."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edge_inference.core.images.frame import Frame
from edge_inference.core.results import Result
from edge_inference.observe.streaming.result_memory import ResultMemory
from edge_inference.observe.streaming.streaming_agreement import PublishedResult


class StreamRecorder:
    """Taps the images of a pipeline's source and its results, from any thread.

    The steady clock of this process is read when they arrive, so that a step of the system clock
    changes nothing; the stamp only tells which frame a result belongs to. After a result that
    exceeds the ResultMemory none is kept, and the record is worthless.
    """

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._memory = ResultMemory()
        self._lock = threading.Lock()
        self._times_by_stamp: dict[int, int] = {}
        self._frame_times_ns: list[int] = []
        self._published: list[PublishedResult] = []
        #: Results of frames that this source did not publish.
        self.foreign = 0
        #: Why the record is incomplete; empty while it is not.
        self.problem = ""

    def add_frame(self, frame: Frame) -> None:
        """Record a frame of the source, before its result."""
        now_ns = self._now_ns()
        with self._lock:
            self._frame_times_ns.append(now_ns)
            self._times_by_stamp[frame.stamp_ns] = now_ns

    def add_result(self, result: Result) -> None:
        """Record a result."""
        now_ns = self._now_ns()
        with self._lock:
            frame_ns = self._times_by_stamp.get(result.stamp_ns)
            if frame_ns is None:
                self.foreign += 1
                return
            self.problem = self.problem or self._memory.find_problem(result)
            if not self.problem:
                self._published.append(PublishedResult(frame_ns, now_ns, result))

    @property
    def frame_times_ns(self) -> list[int]:
        """The instants of the frames so far."""
        with self._lock:
            return list(self._frame_times_ns)

    @property
    def published(self) -> list[PublishedResult]:
        """The results so far."""
        with self._lock:
            return list(self._published)
