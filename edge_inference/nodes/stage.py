"""A stage: processes the latest item of its mailbox in its own thread, and publishes the output."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from edge_inference.composition.reception import Reception
from edge_inference.core.runtime.capture_stamps import (
    STAMP_IN_PAST,
    Clocks,
    StampCheck,
    explain_fault,
    stamp_fault,
)
from edge_inference.core.runtime.latency import MEASURED_PUBLISHING_NS, StageTiming
from edge_inference.core.runtime.mailbox import Mailbox
from edge_inference.core.runtime.nvtx_range import stage_range
from edge_inference.core.runtime.thread_schedule import ThreadSchedule
from edge_inference.core.runtime.thread_times import ThreadTimes, ThreadUse, clock_id
from edge_inference.core.runtime.worker import Worker
from edge_inference.core.settings import setting
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.timing import StageTimingAdapter

Input = TypeVar("Input")


@dataclass(frozen=True)
class StageSettings:
    """The parameters of every stage."""

    max_age_ms: float = setting(
        0.0,
        "an item that is older than this at the start of processing is dropped; 0: no limit",
        unit="ms",
        minimum=0.0,
        maximum=600_000.0,
    )
    queue_depth: int = setting(
        1, "maximum number of waiting frames; 1 keeps the latest", minimum=1, maximum=100
    )
    when_full: str = setting(
        "drop_oldest",
        "with a full queue: drop the oldest item, or wait, which slows a producer in the same "
        "process down",
        choices=("drop_oldest", "wait"),
    )
    thread_priority: int = setting(
        0,
        "real-time priority (SCHED_FIFO) of the worker thread, if the system permits it; 0: normal",
        minimum=0,
        maximum=99,
    )
    cpu_affinity: tuple[int, ...] = setting(
        (), "CPUs on which the worker thread may run; empty: all", minimum=0, maximum=1023
    )


@dataclass
class _Entry(Generic[Input]):
    """An item in the mailbox; ``clock_fault`` says what is wrong with its stamp."""

    item: Input
    arrived_ns: int
    reception: Reception
    clock_fault: str = ""


class FrameDropped(Exception):  # noqa: N818 - not an error: the drop reason is counted
    """Raised by ``process`` to drop a frame; the message is the reason."""


class Stage(Component, Generic[Input]):
    """A component with a mailbox and a worker thread.

    A subclass passes ``receive`` to its subscriptions and implements ``process``
    and ``emit``. The worker calls ``apply_settings`` between two frames after
    settings have changed.
    """

    settings_class: type[Any] = StageSettings
    #: Whether the items come from sensors, so that nothing of this package has held them before.
    from_sensor = False

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._mailbox: Mailbox[_Entry[Input]] = Mailbox()
        self._worker: Worker | None = None
        self._stamp_check = StampCheck(self.from_sensor)
        self._full_name = self.get_fully_qualified_name()
        #: For how long an accelerator worked in the last ``process``, which sets it; None: unknown.
        self.device_ms: float | None = None
        #: The settings with which frames are processed.
        self.active_settings = self.parameters.current

    # For subclasses -----------------------------------------------------------------------------

    @abstractmethod
    def process(self, item: Input, settings: Any) -> Any:
        """Process one item; runs in the worker thread, and its time counts as the stage's.

        Raises EdgeInferenceError for an invalid item, FrameDropped to drop it.
        """

    @abstractmethod
    def emit(self, output: Any) -> None:
        """Publish the output of ``process``."""

    def apply_settings(self, old: Any, new: Any) -> None:
        """Apply changed settings, or raise EdgeInferenceError to keep the old ones."""

    def admits(self, item: Input) -> bool:
        """Tell whether the commanded rate admits an item.

        Runs in the executor, or in the thread of a publisher in the same process.
        """
        del item
        return True

    def model_name(self) -> str:
        """Return the model in use, for the timing records; empty where there is none."""
        return ""

    def receive(self, item: Input, reception: Reception) -> None:
        """Put an item into the mailbox; never blocks the executor."""
        entry = _Entry(item, time.monotonic_ns(), reception)
        if not self.admits(item):
            self._drop(entry, "rate_limited")
            return
        for lost in self._mailbox.put(entry, may_wait=reception.by_reference):
            self._drop(lost, "stopped" if self._mailbox.is_closed else "superseded")

    def process_at_once(self, item: Input, reception: Reception) -> None:
        """Process and publish an item in the calling thread, before all that wait."""
        with ThreadTimes() as times:
            self._process_entry(_Entry(item, time.monotonic_ns(), reception), times)

    # Lifecycle ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the publisher of timings; subclasses must call this."""
        self._timings = self.make_publisher("stage_timing", StageTimingAdapter())
        self._range = stage_range(self.get_name())
        self.active_settings = self.parameters.current

    def start(self) -> None:
        """Start the worker; subclasses call this, then subscribe."""
        settings = self.parameters.current
        self._mailbox = Mailbox(settings.queue_depth, settings.when_full == "wait")
        self._stamp_check = StampCheck(self.from_sensor)
        self._worker = Worker(self.get_name(), self._run, partial(self.report_exception, lost=True))

    def stop(self) -> None:
        """End the worker after its present frame."""
        for entry in self._mailbox.close():
            self._drop(entry, "stopped")
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    # Worker -------------------------------------------------------------------------------------

    def _run(self, worker: Worker) -> None:
        del worker  # the closed mailbox ends the loop
        schedule = ThreadSchedule()
        self._update_schedule(schedule)
        with ThreadTimes() as times:
            while (entry := self._mailbox.take()) is not None:
                self._handle(entry, schedule, times)
                del entry

    def _handle(self, entry: _Entry[Input], schedule: ThreadSchedule, times: ThreadTimes) -> None:
        try:
            self._apply_changes()
            self._update_schedule(schedule)
            if self._is_fresh(entry):
                self._process_entry(entry, times)
        except FrameDropped as reason:
            self._drop(entry, str(reason))
        except EdgeInferenceError as error:
            self._fail(entry, "invalid", error)
        except BaseException as error:
            # A vendor's library may raise anything for a frame, including SystemExit.
            self._fail(entry, "failed", error)

    def _process_entry(self, entry: _Entry[Input], times: ThreadTimes) -> None:
        before = times.read()
        with self._range:
            output = self.process(entry.item, self.active_settings)
        after = times.read()
        now_ns, device_ms = self.clock_at_ns(after.at_ns), self.device_ms
        self.emit(output)
        published_ns, queued_ms = time.monotonic_ns(), None
        if published_ns - after.at_ns > MEASURED_PUBLISHING_NS:
            queued_ms = times.run_queue_ms_since(after)
        self.health.count_processed()
        published = published_ns, queued_ms
        self._timings.publish(self._timing(entry, before, after, published, now_ns, device_ms))

    def _apply_changes(self) -> None:
        new = self.parameters.current
        if new is self.active_settings:
            return
        old = self.active_settings
        try:
            self.apply_settings(old, new)
        except BaseException as error:
            # A vendor's library may raise anything while it opens a model; the old one stays.
            self.report_exception(error, "configuration")
            self.parameters.restore(old)
            return
        self._mailbox.configure(new.queue_depth, new.when_full == "wait")
        self.active_settings = new

    def _update_schedule(self, schedule: ThreadSchedule) -> None:
        requested = (self.active_settings.thread_priority, self.active_settings.cpu_affinity)
        if not schedule.differs(*requested):
            return
        for problem in schedule.set(*requested):
            self.get_logger().warning(problem)
        self.health.note("worker thread", schedule.describe())

    def _is_fresh(self, entry: _Entry[Input]) -> bool:
        stamp_ns, now_ns = self._stamp_ns(entry), self.now_ns()
        waited_ns = time.monotonic_ns() - entry.arrived_ns
        frame_id = entry.item.frame_id  # type: ignore[attr-defined]
        fault = self._stamp_check.fault(stamp_ns, frame_id, now_ns, waited_ns)
        if fault:
            entry.clock_fault = fault
            self._report_clock_fault(fault, stamp_ns, now_ns)
        limit = self.active_settings.max_age_ms
        # An unknown age drops no frame, but one that may be old is not processed as if it were new.
        # The node's clock may stand still, so the waiting time on the steady clock counts too.
        is_dated = fault in ("", STAMP_IN_PAST)
        age_ns = max(waited_ns, now_ns - stamp_ns if is_dated else 0)
        if 0 < limit < age_ns / 1e6:
            self._drop(entry, "too_old")
            return False
        return True

    def _report_clock_fault(self, fault: str, stamp_ns: int, now_ns: int) -> None:
        clocks = Clocks.read(now_ns, self.get_clock().ros_time_is_active)
        text = explain_fault(fault, stamp_ns, clocks, self._stamp_check.before_ns)
        self.report_error(EdgeInferenceError(text), fault, lost=False)

    def _fail(self, entry: _Entry[Input], reason: str, error: BaseException) -> None:
        self.report_exception(error, reason, lost=True)
        self._record_drop(entry, reason)

    def _drop(self, entry: _Entry[Input], reason: str) -> None:
        self.health.count_dropped(reason)
        self._record_drop(entry, reason)

    def _record_drop(self, entry: _Entry[Input], reason: str) -> None:
        stamp_ns, now_ns = self._stamp_ns(entry), self.now_ns()
        ended_ns = time.monotonic_ns()
        fault = entry.clock_fault or stamp_fault(stamp_ns, now_ns)
        timing = StageTiming(
            stage=self.default_name,
            node=self._full_name,
            queue_ms=(ended_ns - entry.arrived_ns) / 1e6,
            process_ms=None,
            age_ms=None if fault else max(0, now_ns - stamp_ns) / 1e6,
            dropped=reason,
            model=self.model_name(),
            stamp_ns=stamp_ns,
            frame_id=entry.item.frame_id,  # type: ignore[attr-defined]
            ended_ns=ended_ns,
            clock_id=clock_id(),
            receive_ms=entry.reception.receive_ms,
            lost=entry.reception.lost,
            clock_fault=fault,
        )
        self._timings.publish(timing)

    def _timing(
        self,
        entry: _Entry[Input],
        before: ThreadUse,
        after: ThreadUse,
        published: tuple[int, float | None],
        now_ns: int,
        device_ms: float | None,
    ) -> StageTiming:
        """Return the record of a processed item.

        ``published`` is the end of publishing, and the milliseconds on a run queue until then;
        ``now_ns`` is the node's clock at the end of processing.
        """
        published_ns, queued_ms = published
        stamp_ns, reception = self._stamp_ns(entry), entry.reception
        # The clock may have stepped during processing.
        clock_fault = entry.clock_fault or stamp_fault(stamp_ns, now_ns)
        # In the order of the fields: with their names it takes three times as long.
        return StageTiming(
            self.default_name,
            self._full_name,
            (before.at_ns - entry.arrived_ns) / 1e6,  # queue
            (after.at_ns - before.at_ns) / 1e6,  # process
            None if clock_fault else max(0, now_ns - stamp_ns) / 1e6,  # age
            "",  # dropped
            self.model_name(),
            stamp_ns,
            entry.item.frame_id,  # type: ignore[attr-defined]
            after.at_ns,
            clock_id(),
            (published_ns - after.at_ns) / 1e6,  # publish
            reception.receive_ms,
            reception.lost,
            device_ms,
            (after.cpu_ns - before.cpu_ns) / 1e6,
            after.run_queue_ms_since(before),
            after.page_faults - before.page_faults,
            clock_fault,
            queued_ms,
        )

    def _stamp_ns(self, entry: _Entry[Input]) -> int:
        return int(entry.item.stamp_ns)  # type: ignore[attr-defined]
