"""Latency of the stages: one record per frame, and the figures of many frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from edge_inference.core.runtime.capture_stamps import age_ms, stamp_fault
from edge_inference.core.runtime.thread_times import ThreadUse, clock_id

#: A shorter time of publishing holds no frame up, so what it consists of is not measured.
MEASURED_PUBLISHING_NS = 300_000


class StageTiming(NamedTuple):
    """The times of one frame in one stage; None is unknown.

    A named tuple, because one is made for every frame: a frozen dataclass takes twice as long.

    ``queue_ms``: from arrival to the start of processing. ``process_ms``: processing.
    ``age_ms``: from capture to the end of processing. ``dropped`` is the reason for a dropped
    frame, empty for a processed one.

    ``ended_ns`` is the end of processing, or the moment of the drop, on the steady clock of the
    machine (and boot) that ``clock_id`` identifies; 0 is unknown. ``publish_ms`` is the time in
    which the output was published. ``receive_ms``: from reception by the middleware to arrival,
    for a message from another process; ``lost`` messages were lost just before it.

    ``device_ms`` is the part of ``process_ms`` in which an accelerator computed. ``cpu_ms`` is the
    CPU time of the thread during processing, ``run_queue_ms`` the time in which it was ready to
    run and waited for a core, ``page_faults`` the number of its page faults. ``clock_fault`` says
    what is wrong with the capture stamp; the age is then unknown.

    ``publish_run_queue_ms`` is the part of ``publish_ms`` in which the thread waited for a core. It
    is not measured where publishing took no longer than ``MEASURED_PUBLISHING_NS``.
    """

    stage: str
    node: str
    queue_ms: float
    process_ms: float | None
    age_ms: float | None
    dropped: str = ""
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""
    ended_ns: int = 0
    clock_id: int = 0
    publish_ms: float | None = None
    receive_ms: float | None = None
    lost: int = 0
    device_ms: float | None = None
    cpu_ms: float | None = None
    run_queue_ms: float | None = None
    page_faults: int = 0
    clock_fault: str = ""
    publish_run_queue_ms: float | None = None

    @property
    def started_ns(self) -> int:
        """The start of processing on the steady clock."""
        return self.ended_ns - round((self.process_ms or 0.0) * 1e6)

    @property
    def arrived_ns(self) -> int:
        """The arrival at the stage on the steady clock."""
        return self.ended_ns - round((self.process_ms or 0.0) * 1e6) - round(self.queue_ms * 1e6)

    @property
    def published_ns(self) -> int:
        """The end of publishing on the steady clock; the end of processing where unknown."""
        return self.ended_ns + round((self.publish_ms or 0.0) * 1e6)

    @property
    def published_age_ms(self) -> float | None:
        """The time from capture to the end of publishing; None where the stamp is invalid."""
        return None if self.age_ms is None else self.age_ms + (self.publish_ms or 0.0)

    @classmethod
    def at_once(
        cls,
        stage: str,
        node: str,
        stamp: tuple[int, str],
        now_ns: int,
        work: tuple[ThreadUse, ThreadUse],
        receive_ms: float | None = None,
        lost: int = 0,
    ) -> StageTiming:
        """Return the record of an item that was processed, and published, without a queue.

        ``stamp`` is its time of capture and frame_id, ``now_ns`` the node's clock at the end;
        ``work`` what the thread had used at the begin and at the end.
        """
        stamp_ns, frame_id = stamp
        begin, end = work
        return cls(
            stage,
            node,
            queue_ms=0.0,
            process_ms=(end.at_ns - begin.at_ns) / 1e6,
            age_ms=age_ms(stamp_ns, now_ns),
            stamp_ns=stamp_ns,
            frame_id=frame_id,
            ended_ns=end.at_ns,
            clock_id=clock_id(),
            publish_ms=0.0,
            receive_ms=receive_ms,
            lost=lost,
            cpu_ms=(end.cpu_ns - begin.cpu_ns) / 1e6,
            run_queue_ms=end.run_queue_ms_since(begin),
            page_faults=end.page_faults - begin.page_faults,
            clock_fault=stamp_fault(stamp_ns, now_ns),
        )


@dataclass(frozen=True)
class Percentiles:
    """Distribution of one duration in milliseconds; all None where there are no measurements."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Percentiles:
        """Summarize values, with linear interpolation between order statistics."""
        if not values:
            return cls()
        array = np.asarray(values, dtype=np.float64)
        p50, p90, p95, p99 = (float(p) for p in np.percentile(array, (50, 90, 95, 99)))
        return cls(float(array.mean()), p50, p90, p95, p99, float(array.max()))


_UNKNOWN = Percentiles()


@dataclass(frozen=True)
class StageLatency:
    """One stage's figures over a window, and its counts since the start.

    ``process``, ``queue``, ``age``, ``receive``, ``device`` and ``publish`` are the times of
    :class:`StageTiming`; ``transport`` is from the end of the stage before, or from capture, to the
    arrival without ``receive``; ``published_age`` is from capture to the end of publishing.
    ``drops`` are numbers of frames by reason; "lost" counts messages that were lost on the way.
    ``deadline_misses`` counts frames whose ``published_age`` exceeded the report's deadline,
    ``clock_faults`` frames by what was wrong with their stamps.
    """

    stage: str
    node: str
    count: int
    window_count: int
    rate_hz: float
    process: Percentiles
    queue: Percentiles
    age: Percentiles
    drops: dict[str, int] = field(default_factory=dict)
    receive: Percentiles = _UNKNOWN
    device: Percentiles = _UNKNOWN
    publish: Percentiles = _UNKNOWN
    transport: Percentiles = _UNKNOWN
    published_age: Percentiles = _UNKNOWN
    deadline_misses: int = 0
    clock_faults: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class EndToEndLatency:
    """From capture to the end of publishing by the last stage of a way.

    ``recent`` is over the window of the report; ``whole`` and all counts are since the start.
    ``clock_faults`` counts the frames with each fault of the stamp, or of the clocks on their way.
    """

    stage: str
    node: str
    count: int
    recent: Percentiles
    whole: Percentiles
    deadline_misses: int = 0
    clock_faults: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LatencyReport:
    """Every stage's figures over the last ``window_s`` seconds; ``deadline_ms`` None is none.

    ``ends`` are the figures of all stages at which frames have ended.
    """

    window_s: float
    stages: tuple[StageLatency, ...]
    stamp_ns: int = 0
    frame_id: str = ""
    deadline_ms: float | None = None
    ends: tuple[EndToEndLatency, ...] = ()
