"""A stage: takes the latest item from its mailbox, works on it in its own thread, publishes."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.mailbox import Mailbox, age_ms, stamp_fault
from edge_inference.core.runtime.thread_schedule import ThreadSchedule
from edge_inference.core.runtime.worker import Worker
from edge_inference.core.settings import setting
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.timing import StageTimingAdapter

Input = TypeVar("Input")


@dataclass(frozen=True)
class StageSettings:
    """What every stage can be told."""

    max_age_ms: float = setting(
        0.0,
        "a frame older than this when its turn comes is dropped; 0 never drops by age",
        unit="ms",
        minimum=0.0,
        maximum=600_000.0,
    )
    queue_depth: int = setting(
        1, "frames that wait for this stage at the most; 1 keeps the latest", minimum=1, maximum=100
    )
    when_full: str = setting(
        "drop_oldest",
        "wait slows a producer in the same process down instead of dropping",
        choices=("drop_oldest", "wait"),
    )
    thread_priority: int = setting(
        0,
        "real-time priority (SCHED_FIFO) of the worker thread, where the system permits; 0 normal",
        minimum=0,
        maximum=99,
    )
    cpu_affinity: tuple[int, ...] = setting(
        (), "CPUs that the worker thread may run on; empty for any", minimum=0, maximum=1023
    )


@dataclass(frozen=True)
class _Entry(Generic[Input]):
    item: Input
    arrived_ns: int


class FrameDropped(Exception):  # noqa: N818 - no error: the frame is given up, and why is counted
    """Raised by ``process`` to give a frame up for a reason that is no fault of its own."""


class Stage(Component, Generic[Input]):
    """A component with a mailbox and a worker thread.

    A subclass passes ``receive`` to its subscriptions and fills in ``process``
    and ``emit``. ``apply_settings`` is called in the worker, between two frames, when
    settings have changed.
    """

    settings_class: type[Any] = StageSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._mailbox: Mailbox[_Entry[Input]] = Mailbox()
        self._worker: Worker | None = None
        #: The settings that frames are worked on with.
        self.active_settings = self.parameters.current

    # For subclasses -----------------------------------------------------------------------------

    @abstractmethod
    def process(self, item: Input, settings: Any) -> Any:
        """Work on one item; runs in the worker thread. Its time is the stage's.

        Raises EdgeInferenceError for an item that is no good, Dropped for one to be left out.
        """

    @abstractmethod
    def emit(self, output: Any) -> None:
        """Publish what ``process`` returned."""

    def apply_settings(self, old: Any, new: Any) -> None:
        """Take over changed settings, or raise EdgeInferenceError to go on with the old ones."""

    def admits(self, item: Input) -> bool:
        """Tell whether an item may come in under the rate that is commanded.

        Runs in the executor, or in the thread of whoever publishes.
        """
        del item
        return True

    def model_name(self) -> str:
        """Return the model in use, for the timing records; empty where there is none."""
        return ""

    def receive(self, item: Input, by_reference: bool) -> None:
        """Put an item into the mailbox; never holds up the executor."""
        entry = _Entry(item, time.monotonic_ns())
        if not self.admits(item):
            self._drop(entry, "rate_limited")
            return
        for lost in self._mailbox.put(entry, may_wait=by_reference):
            self._drop(lost, "stopped" if self._mailbox.is_closed else "superseded")

    # Lifecycle ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the timing record; subclasses call this too."""
        self._timings = self.make_publisher("stage_timing", StageTimingAdapter())
        self.active_settings = self.parameters.current

    def start(self) -> None:
        """Start the worker; subclasses subscribe afterwards."""
        settings = self.parameters.current
        self._mailbox = Mailbox(settings.queue_depth, settings.when_full == "wait")
        self._worker = Worker(self.get_name(), self._run, partial(self.report_exception, lost=True))

    def stop(self) -> None:
        """Let the worker finish its frame and end it."""
        for entry in self._mailbox.close():
            self._drop(entry, "stopped")
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    # Worker -------------------------------------------------------------------------------------

    def _run(self, worker: Worker) -> None:
        del worker  # the mailbox tells of the end
        schedule = ThreadSchedule()
        self._keep_to(schedule)
        while (entry := self._mailbox.take()) is not None:
            self._attend(entry, schedule)
            del entry

    def _attend(self, entry: _Entry[Input], schedule: ThreadSchedule) -> None:
        try:
            self._adopt_changes()
            self._keep_to(schedule)
            if self._is_fresh(entry):
                self._work_on(entry)
        except FrameDropped as reason:
            self._drop(entry, str(reason))
        except EdgeInferenceError as error:
            self._fail(entry, "invalid", error)
        except BaseException as error:
            # Whatever one frame does to a vendor's library, SystemExit too.
            self._fail(entry, "failed", error)

    def _work_on(self, entry: _Entry[Input]) -> None:
        started_ns = time.monotonic_ns()
        output = self.process(entry.item, self.active_settings)
        timing = self._timing(entry, started_ns)
        self.emit(output)
        self.health.count_processed()
        self._timings.publish(timing)

    def _adopt_changes(self) -> None:
        new = self.parameters.current
        if new is self.active_settings:
            return
        old = self.active_settings
        try:
            self.apply_settings(old, new)
        except BaseException as error:
            # Whatever a vendor's library raises while it opens a model: the old one goes on.
            self.report_exception(error, "configuration")
            self.parameters.restore(old)
            return
        self._mailbox.configure(new.queue_depth, new.when_full == "wait")
        self.active_settings = new

    def _keep_to(self, schedule: ThreadSchedule) -> None:
        wanted = (self.active_settings.thread_priority, self.active_settings.cpu_affinity)
        if not schedule.differs(*wanted):
            return
        for problem in schedule.set(*wanted):
            self.get_logger().warning(problem)
        self.health.note("worker thread", schedule.describe())

    def _is_fresh(self, entry: _Entry[Input]) -> bool:
        stamp_ns, now_ns = self._stamp_ns(entry), self.now_ns()
        fault = stamp_fault(stamp_ns, now_ns)
        if fault:
            # Its age cannot be told, so it is not dropped for its age; the fault is on show.
            self.report_error(
                EdgeInferenceError(
                    f"{fault}: expected the moment of capture on the node's clock, got "
                    f"{stamp_ns} ns at {now_ns} ns; mend the stamps of its source, or use_sim_time"
                ),
                fault,
                lost=False,
            )
            return True
        limit = self.active_settings.max_age_ms
        # By the steady clock it is at least as old as it has waited here: theirs may stand still.
        waited = (time.monotonic_ns() - entry.arrived_ns) / 1e6
        if 0 < limit < max(waited, age_ms(stamp_ns, now_ns) or 0.0):
            self._drop(entry, "too_old")
            return False
        return True

    def _fail(self, entry: _Entry[Input], reason: str, error: BaseException) -> None:
        self.report_exception(error, reason, lost=True)
        self._record_drop(entry, reason)

    def _drop(self, entry: _Entry[Input], reason: str) -> None:
        self.health.count_dropped(reason)
        self._record_drop(entry, reason)

    def _record_drop(self, entry: _Entry[Input], reason: str) -> None:
        self._timings.publish(self._timing(entry, None, reason))

    def _timing(
        self, entry: _Entry[Input], started_ns: int | None, dropped: str = ""
    ) -> StageTiming:
        now_ns = time.monotonic_ns()
        begun_ns = now_ns if started_ns is None else started_ns
        return StageTiming(
            stage=self.default_name,
            node=self.get_fully_qualified_name(),
            queue_ms=(begun_ns - entry.arrived_ns) / 1e6,
            process_ms=None if started_ns is None else (now_ns - started_ns) / 1e6,
            age_ms=age_ms(self._stamp_ns(entry), self.now_ns()),
            dropped=dropped,
            model=self.model_name(),
            stamp_ns=self._stamp_ns(entry),
            frame_id=entry.item.frame_id,  # type: ignore[attr-defined]
        )

    def _stamp_ns(self, entry: _Entry[Input]) -> int:
        return int(entry.item.stamp_ns)  # type: ignore[attr-defined]
