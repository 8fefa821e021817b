"""Trials of the attribution: which fault is made where, and what was observed."""

from __future__ import annotations

import dataclasses
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.attribution_faults import Fault
from benchmarks.attribution_load import (
    LOADED_SHARE,
    QUIET_SHARE,
    LoadMeter,
    LoadShares,
    hogs,
    stopped,
)
from benchmarks.attribution_pipeline import LAYOUTS, STAGES, Pipeline, Recorded
from benchmarks.attribution_throttling import MACHINES, RecordedMachine
from edge_inference.core.platform_state import PlatformReport

#: Length of a window, of the wait until a fault takes effect, and until the queues are empty again
#: and the processes have published their statistics, which they do twice a second.
WINDOW_S, SETTLE_S, DRAIN_S = 3.0, 0.3, 0.8
#: The share of a window after which a lasting fault begins.
_BEGIN = 0.35
_CAMERA = "camera"
_DAY_MS = 86_400_000.0
_CORES = sorted(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Trial:
    """A fault in a layout; ``queue_depth`` is that of all stages."""

    layout: str
    fault: Fault
    queue_depth: int
    machine: str

    @property
    def name(self) -> str:
        """Describe it in a line."""
        fault = self.fault
        return (
            f"{fault.kind} at {fault.stage}, {fault.ms:.4g} ms, share {fault.share:.2f}, "
            f"queue {self.queue_depth}, {self.layout}"
        )


@dataclass(frozen=True)
class Window:
    """What was recorded in a window, and the load of the machine meanwhile."""

    begin_ns: int
    end_ns: int
    recorded: Recorded
    reports: list[PlatformReport]
    load: LoadShares

    def with_records(self, recorded: Recorded) -> Window:
        """Return the window with what belongs to it."""
        timings = [t for t in recorded.timings if self.begin_ns <= t.ended_ns < self.end_ns]
        statistics = [
            each
            for each in recorded.statistics
            if each.begin_ns < self.end_ns and each.end_ns > self.begin_ns
        ]
        return dataclasses.replace(self, recorded=Recorded(timings, statistics))


@dataclass(frozen=True)
class Outcome:
    """The windows of a trial: a clean one before it, and the one with the fault.

    ``process`` holds the stages in the process in which the fault was made. ``has_hogs``: busy
    processes of the benchmark ran beside it.
    """

    trial: Trial
    process: tuple[str, ...]
    clean: Window
    faulty: Window
    has_hogs: bool = False

    @property
    def is_quiet(self) -> bool:
        """Whether other processes took nearly nothing, before the fault and during it."""
        others = max(self.clean.load.others, self.faulty.load.others)
        return not self.has_hogs and others <= QUIET_SHARE

    @property
    def is_loaded(self) -> bool:
        """Whether other processes, or the hogs of the benchmark, kept the machine busy.

        Before the fault counts, because some faults take cores from the others.
        """
        return self.has_hogs or self.clean.load.others >= LOADED_SHARE


def make_trials(layout: str, count: int, seed: int) -> list[Trial]:
    """Return trials over all kinds and places of a layout, as evenly as possible, then shuffled."""
    randoms = random.Random(f"{layout} {seed}")
    cells = [(kind, stage) for kind, stages in _places(layout).items() for stage in stages]
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count:
        randoms.shuffle(cells)
        chosen += cells
    return [_make_trial(layout, kind, stage, randoms) for kind, stage in chosen[:count]]


def _places(layout: str) -> dict[str, tuple[str, ...]]:
    """Return the kinds of faults that a layout can have, with their stages."""
    everywhere = STAGES
    #: The stages that receive messages from another process.
    receiving = {
        "one process": (),
        "camera outside": STAGES[:1],
        "several processes": STAGES,
    }[layout]
    own_process = STAGES[1:2] if layout != "several processes" else STAGES
    return {
        "blocked": everywhere,
        "slow": everywhere,
        "page faults": everywhere,
        "drop": everywhere,
        "slow subscriber": everywhere,
        "clock": everywhere,
        "stamps": (_CAMERA,),
        "lock, running": own_process,
        "lock, asleep": own_process,
        "busy core": own_process,
        "stopped": own_process,
        "throttling": STAGES[1:2],
        "burst": (_CAMERA,) if layout == "one process" else (),
        "overload": (_CAMERA,),
        "slow callback": receiving,
        "lost": (_CAMERA,) if receiving else (),
        "outside reader": STAGES[:1] if layout != "several processes" else (),
    }


def _make_trial(layout: str, kind: str, stage: str, randoms: random.Random) -> Trial:
    ms = 3.0 * (200.0 / 3.0) ** randoms.random()
    share = randoms.uniform(0.2, 0.6)
    queue_depth = randoms.choice((1, 1, 4))
    if kind == "clock":
        ms = randoms.choice((-1, 1)) * 200.0 * (_DAY_MS / 200.0) ** randoms.random()
    elif kind == "stamps":
        future, past = 100.0 * 3e4 ** randoms.random(), -_DAY_MS * randoms.uniform(0.01, 1.0)
        ms = randoms.choice((future, past))
    elif kind == "busy core":
        # The number of hogs; they hardly hold up a stage that computes for a part of a millisecond.
        ms = float(randoms.randint(1, 3) if stage == "inference" else randoms.randint(4, 8))
    elif kind == "stopped":
        ms = randoms.uniform(30.0, 200.0)
    elif kind == "slow callback":
        ms = randoms.uniform(15.0, 200.0)  # few messages arrive during a shorter one
    elif kind == "throttling":
        share = randoms.uniform(0.3, 0.65)  # of full speed is left
    elif kind == "burst":
        ms, queue_depth = randoms.uniform(100.0, 200.0), 5
    elif kind == "overload":
        ms, queue_depth = randoms.uniform(4.0, 7.0), 4  # the period of the camera
    elif kind == "lost":
        ms, queue_depth = randoms.uniform(150.0, 400.0), 1
    elif kind == "outside reader":
        ms = float(randoms.randint(10, 20))  # the number of readers
    fault = Fault(kind, stage, ms, share, randoms.randrange(1 << 30))
    return Trial(layout, fault, queue_depth, randoms.choice(MACHINES))


class TrialRunner:
    """Makes the faults of trials in a running pipeline, and records windows."""

    def __init__(self, pipeline: Pipeline, has_hogs: bool, own_pids: Sequence[int] = ()) -> None:
        """``own_pids`` are processes whose load is the benchmark's own."""
        self._pipeline = pipeline
        self._has_hogs = has_hogs
        self._own_pids = [*pipeline.pids, *own_pids]
        self._queue_depth = 0

    def run(self, trial: Trial) -> Outcome:
        """Record a clean window, then one with the fault, and wait until it has passed."""
        if trial.queue_depth != self._queue_depth:
            self._pipeline.ask_all("set_queue_depth", trial.queue_depth)
            self._queue_depth = trial.queue_depth
        self._pipeline.take()
        with RecordedMachine(trial.machine) as machine:
            clean = self._watch(machine)
            faulty = self._watch_fault(trial.fault, machine)
        time.sleep(DRAIN_S)
        recorded = self._pipeline.take()
        process = self._pipeline.neighbors(trial.fault.stage)
        windows = clean.with_records(recorded), faulty.with_records(recorded)
        return Outcome(trial, process, *windows, self._has_hogs)

    def record_clean(self, count: int, machine_name: str) -> list[Window]:
        """Record windows without a fault, one after the other."""
        self._pipeline.take()
        with RecordedMachine(machine_name) as machine:
            windows = [self._watch(machine) for _ in range(count)]
        time.sleep(DRAIN_S)
        recorded = self._pipeline.take()
        return [window.with_records(recorded) for window in windows]

    def _watch_fault(self, fault: Fault, machine: RecordedMachine) -> Window:
        if fault.kind in ("clock", "stamps", "throttling"):
            return self._watch(machine, fault)
        with self._fault(fault) as own_pids:
            time.sleep(SETTLE_S)
            return self._watch(machine, own_pids=own_pids)

    def _watch(
        self,
        machine: RecordedMachine,
        later: Fault | None = None,
        own_pids: Sequence[int] = (),
    ) -> Window:
        """Let a window pass, and return it without records; ``later`` is a fault that begins in it.

        ``own_pids`` are further processes of the benchmark.
        """
        load = LoadMeter([*self._own_pids, *own_pids])
        begin_ns = time.monotonic_ns()
        if later is None:
            time.sleep(WINDOW_S)
            end_ns = time.monotonic_ns()
            reports = machine.reports(begin_ns, end_ns)
        else:
            time.sleep(WINDOW_S * _BEGIN)
            changed_ns = time.monotonic_ns()
            with self._fault(later):
                time.sleep(WINDOW_S * (1.0 - _BEGIN))
                end_ns = time.monotonic_ns()
            speed = later.share if later.kind == "throttling" else 1.0
            reports = machine.reports(begin_ns, changed_ns)
            reports += machine.reports(changed_ns, end_ns, speed)
        return Window(begin_ns, end_ns, Recorded([], []), reports, load.shares())

    @contextmanager
    def _fault(self, fault: Fault) -> Iterator[list[int]]:
        """Make a fault for the block; yields the ids of processes that it starts."""
        with ExitStack() as stack:
            side = self._pipeline.side_of(fault.stage)
            own_pids: list[int] = []
            if fault.kind == "busy core":
                stack.callback(side.ask, "pin", _CORES)
                side.ask("pin", _CORES[-1:])
                own_pids = stack.enter_context(hogs(round(fault.ms), _CORES[-1:]))
            elif fault.kind == "stopped":
                stack.enter_context(_stopping(side.pid, fault))
            elif fault.kind == "outside reader":
                stack.enter_context(self._pipeline.reading(fault))
            elif fault.kind == "throttling":
                for each, names in zip(
                    self._pipeline.sides, LAYOUTS[self._pipeline.layout], strict=True
                ):
                    if names != (_CAMERA,):
                        stack.callback(each.ask, "stop_fault")
                        each.ask("start_fault", fault)
            else:
                stack.callback(side.ask, "stop_fault")
                side.ask("start_fault", fault)
            yield own_pids


@contextmanager
def _stopping(pid: int, fault: Fault) -> Iterator[None]:
    """Stop a process again and again, for ``ms`` and for ``share`` of the time, in the block."""
    randoms = random.Random(fault.seed)
    ended = threading.Event()

    def run() -> None:
        mean_s = fault.ms / 1e3 * (1.0 / fault.share - 1.0)
        while not ended.wait(mean_s * randoms.uniform(0.5, 1.5)):
            with stopped(pid):
                time.sleep(fault.ms / 1e3)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
