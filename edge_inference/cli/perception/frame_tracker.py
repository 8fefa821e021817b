"""Collects the result and the stage timings of each image."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_inference.core.images.frame import Frame
from edge_inference.core.results import Result
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.frame_timeline import FrameTimeline, join_timings

#: The stages that every image passes through, in order.
STAGES = ("preprocess", "inference", "decode")

# More than the number of results that can wait for their overlay at the same time.
_MAX_NUMBERS = 256


@dataclass(frozen=True)
class FrameRecord:
    """An image with its result.

    ``number`` counts the source's images from 1, or a topic's results.
    ``process_ms`` is the time of each stage, ``age_ms`` the time from capture
    to result, None where the stamp is unusable. ``timeline`` is the way of the image.
    """

    number: int
    source: str
    stamp_ns: int
    result: Result
    process_ms: dict[str, float]
    age_ms: float | None
    timeline: FrameTimeline | None = None


@dataclass
class _Pending:
    number: int | None = None
    origin: str = ""
    result: Result | None = None
    timings: dict[str, StageTiming] = field(default_factory=dict)

    @property
    def drop(self) -> StageTiming | None:
        return next((timing for timing in self.timings.values() if timing.dropped), None)

    @property
    def is_finished(self) -> bool:
        """Tell whether every stage up to this image's last one has published its timing.

        A stage publishes its output before its timing, so timings may arrive out of order.
        """
        last = self.drop.stage if self.drop else STAGES[-1]
        passed = STAGES[: STAGES.index(last) + 1]
        return all(stage in self.timings for stage in passed)


class FrameTracker:
    """Follows every image by its stamp, from any thread.

    ``is_announced`` is True where the pipeline has its own source: each of its images is
    announced, and images of other publishers on the same topics are ignored. Images
    with the same stamp (a camera without stamps) are distinguished by their order. Results
    after the first ``limit`` are ignored; None is no limit. ``on_record`` gets
    each finished image, in the thread that finished it; it may block, which
    slows the pipeline down.
    """

    def __init__(
        self,
        source: str,
        is_announced: bool,
        on_record: Callable[[FrameRecord], None],
        limit: int | None = None,
    ) -> None:
        self._source = source
        self._is_announced = is_announced
        self._on_record = on_record
        self._limit = limit
        self._pending: dict[int, list[_Pending]] = {}
        self._numbers: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()
        # A separate lock: the thread that writes overlays must not wait while on_record blocks.
        self._numbers_lock = threading.Lock()
        #: Images that the source published.
        self.announced = 0
        #: Images that are finished, with a result or dropped.
        self.finished = 0
        #: Results so far.
        self.results = 0
        #: Images dropped, by reason.
        self.drops: Counter[str] = Counter()
        #: Images of other publishers on the topic of the pipeline's own source.
        self.foreign = 0

    def announce(self, frame: Frame) -> None:
        """Record an image of the pipeline's own source before any stage receives it."""
        with self._lock:
            self.announced += 1
            pending = _Pending(self.announced, frame.origin)
            self._pending.setdefault(frame.stamp_ns, []).append(pending)

    def add_result(self, result: Result) -> None:
        """Record the result of an image."""
        with self._lock:
            pending = self._find(
                result.stamp_ns, lambda one: one.result is None and one.drop is None
            )
            if pending is None or self.results == self._limit:
                return
            self.results += 1
            pending.result = result
            if pending.number is None:
                pending.number = self.results
            with self._numbers_lock:
                self._numbers[result.stamp_ns] = pending.number
                if len(self._numbers) > _MAX_NUMBERS:
                    self._numbers.popitem(last=False)

    def add_timing(self, timing: StageTiming) -> None:
        """Record the timing of a stage for an image."""
        if timing.stage not in STAGES:
            return
        with self._lock:
            pending = self._find(timing.stamp_ns, lambda one: timing.stage not in one.timings)
            if pending is None:
                self.foreign += timing.stage == STAGES[0]
                return
            pending.timings[timing.stage] = timing
            if pending.is_finished:
                self._finish(timing.stamp_ns, pending)

    def number_of(self, stamp_ns: int) -> int | None:
        """Return the number of an image with a recent result, None for others."""
        with self._numbers_lock:
            return self._numbers.get(stamp_ns)

    def _find(self, stamp_ns: int, fits: Callable[[_Pending], bool]) -> _Pending | None:
        pending = next(filter(fits, self._pending.get(stamp_ns, ())), None)
        if pending is None and not self._is_announced:
            pending = _Pending()
            self._pending.setdefault(stamp_ns, []).append(pending)
        return pending

    def _finish(self, stamp_ns: int, pending: _Pending) -> None:
        same_stamp = self._pending[stamp_ns]
        same_stamp.remove(pending)
        if not same_stamp:
            del self._pending[stamp_ns]
        if pending.drop is not None:
            self.drops[pending.drop.dropped] += 1
        elif pending.result is not None and pending.number is not None:
            self._on_record(self._record(stamp_ns, pending.number, pending.result, pending))
        # Last, so that the record is in the queue before the count rises.
        self.finished += 1

    def _record(self, stamp_ns: int, number: int, result: Result, pending: _Pending) -> FrameRecord:
        timeline = join_timings(list(pending.timings.values()))
        return FrameRecord(
            number=number,
            source=pending.origin or self._source,
            stamp_ns=stamp_ns,
            result=result,
            process_ms={
                stage: timing.process_ms
                for stage, timing in pending.timings.items()
                if timing.process_ms is not None
            },
            age_ms=None if timeline.clock_fault else timeline.last.age_ms,
            timeline=timeline,
        )
