"""``edge-inference profile --pipeline`` and ``--live``: where the time of a pipeline goes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from edge_inference.backends.gpu import GpuMemory, gpu_memory
from edge_inference.cli.error_reporter import ErrorReporter
from edge_inference.cli.exit_status import EXIT_FAILED, UsageError, print_error
from edge_inference.cli.profile.pipeline_options import PipelineProfileOptions, pipeline_arguments
from edge_inference.cli.profile.stage_format import PipelineReport, print_stages
from edge_inference.cli.sessions.live_session import open_live
from edge_inference.cli.sessions.pipeline_session import PipelineSession, open_pipeline
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.core.disk import check_output_file
from edge_inference.core.runtime.nvtx_range import VARIABLE, check_nvtx
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.core.runtime.thread_times import clock_id
from edge_inference.errors import BackendError
from edge_inference.observe.profiling.pipeline_record import PipelineRecord
from edge_inference.observe.profiling.pipeline_trace import trace_pipeline
from edge_inference.observe.profiling.stack_sampler import StackSampler, find_py_spy
from edge_inference.observe.profiling.thread_meter import ThreadMeter
from edge_inference.observe.profiling.trace_file import (
    check_trace_file,
    write_trace,
)

_POLL_PERIOD_S = 0.1
_SAMPLE_PERIOD_S = 1.0
#: A source has ended, and no stage has reported for so long: nothing more will come.
_IDLE_S = 2.0
#: How much the memory of a process changes between its report and the look at it.
_SAME_MEMORY = 0.1


class _Session(Protocol):
    def tap(self, topic: str, callback: Callable[[Any], None]) -> object: ...

    def start(self) -> None: ...


def profile_pipeline(options: PipelineProfileOptions, as_json: bool) -> int:
    """Measure, print the tables, write the trace; return the exit code.

    Raises EdgeInferenceError where the pipeline does not start, or a file cannot be written.
    """
    _check_outputs(options)
    if options.nvtx:
        check_nvtx()
        os.environ[VARIABLE] = "1"
    record = PipelineRecord()
    with ExitStack() as resources:
        if options.live:
            session: _Session = resources.enter_context(
                open_live("profile", options.namespace, print_error, verbose=options.verbose)
            )
            run = _Run(session, None, record, options)
        else:
            assert options.pipeline is not None
            own = resources.enter_context(
                open_pipeline(
                    "profile",
                    options.pipeline,
                    pipeline_arguments(options),
                    print_error,
                    verbose=options.verbose,
                )
            )
            run = _Run(own, own, record, options)
        with catch_signals() as interrupted:
            run.watch(interrupted)
    if not record.frames():
        if interrupted():
            return interrupted.exit_code
        print_error(run.explain_silence())
        return EXIT_FAILED
    print_stages(run.report(), sys.stdout, as_json)
    if options.trace is not None:
        own_nodes = dict.fromkeys(run.node_names, os.getpid())
        trace = trace_pipeline(record.timings, record.statistics, own_nodes)
        for sentence in trace.left_out:
            print_error(sentence)
        write_trace(trace.events, Path(options.trace), "--trace")
    return 0


class _Run:
    """One measurement; ``own`` is the session of a pipeline in this process."""

    def __init__(
        self,
        session: _Session,
        own: PipelineSession | None,
        record: PipelineRecord,
        options: PipelineProfileOptions,
    ) -> None:
        self._session = session
        self._own = own
        self._record = record
        self._options = options
        self._window_s = 0.0
        self._meters: dict[int, ThreadMeter] = {}
        self._gpu_memory: GpuMemory | None = None
        self._gpu_reason = ""
        nodes = {} if own is None else own.nodes
        #: The full names of the nodes in this process.
        self.node_names = [node.get_fully_qualified_name() for node in nodes.values()]
        session.tap("stage_timing", record.add_timing)
        session.tap("process_statistics", record.add_statistics)

    def watch(self, interrupted: Interrupt) -> None:
        """Let the pipeline run for the time of the options, or until its source ends."""
        errors = ErrorReporter(print_error)
        nodes = {} if self._own is None else self._own.nodes
        self._session.start()
        begin_s = time.monotonic()
        sampled_s = changed_s = begin_s
        count = 0
        self._sample_threads()
        with self._stacks():
            while not interrupted.wait(_POLL_PERIOD_S):
                now_s = time.monotonic()
                if now_s - sampled_s >= _SAMPLE_PERIOD_S:
                    self._sample_threads()
                    sampled_s = now_s
                errors.report(nodes)
                if count != len(self._record.timings):
                    count, changed_s = len(self._record.timings), now_s
                is_over = self._source_has_ended() and now_s - changed_s >= _IDLE_S
                if is_over or now_s - begin_s >= self._options.seconds:
                    break
            self._window_s = time.monotonic() - begin_s
            self._sample_threads()
            self._read_gpu_memory()
        errors.report(nodes)

    def report(self) -> PipelineReport:
        """Return the figures."""
        record = self._record
        threads = [each for meter in self._meters.values() for each in meter.times()]
        return PipelineReport(
            self._options.pipeline or "live",
            self._window_s,
            record.stages(self._window_s),
            sorted(threads, key=lambda thread: -thread.cpu_ms),
            record.processes(),
            self._gpu_memory,
            self._gpu_reason,
            record.not_kept,
        )

    def explain_silence(self) -> str:
        """Return the sentence for a measurement without any frame."""
        drops = [timing.dropped for timing in self._record.timings]
        reasons = ", ".join(f"{drops.count(name)} {name}" for name in sorted(set(drops)))
        if reasons:
            return (
                f"no frame passed a stage in {self._window_s:.1f} s; dropped: {reasons}; check "
                "max_age_ms, and the stamps of the source"
            )
        hint = (
            "check that its camera or microphone publishes: ros2 topic hz"
            if self._own is None
            else f"check --source {self._options.source}, or measure longer with --seconds"
        )
        return f"no frame came in {self._window_s:.1f} s: expected timings of stages; {hint}"

    def _source_has_ended(self) -> bool:
        nodes = {} if self._own is None else self._own.nodes
        sources = [node for name, node in nodes.items() if name.endswith("_source")]
        return bool(sources) and all(node.finished.is_set() for node in sources)

    def _sample_threads(self) -> None:
        if self._own is not None:
            names = {
                thread.native_id: thread.name
                for thread in threading.enumerate()
                if thread.native_id is not None
            }
            self._meters.setdefault(os.getpid(), ThreadMeter(os.getpid())).sample(names)
            return
        for entry in self._record.latest_statistics():
            if entry.pid not in self._meters and _is_here(entry):
                self._meters[entry.pid] = ThreadMeter(entry.pid)
        for meter in self._meters.values():
            meter.sample()

    def _read_gpu_memory(self) -> None:
        try:
            self._gpu_memory = gpu_memory()
        except BackendError as error:
            self._gpu_reason = str(error)

    @contextmanager
    def _stacks(self) -> Iterator[None]:
        if self._options.stacks is None:
            yield
            return
        sampler = StackSampler(os.getpid(), Path(self._options.stacks))
        try:
            yield
        finally:
            sampler.finish()


def _is_here(entry: ProcessStatistics) -> bool:
    """Tell whether a process number means the same process here.

    It does not for another machine, nor for a container with numbers of its own; the memory shows
    that.
    """
    if entry.clock_id != clock_id():
        return False
    resident_mib = ThreadMeter(entry.pid).resident_mib()
    return (
        resident_mib is not None
        and abs(resident_mib - entry.memory_mib) < _SAME_MEMORY * entry.memory_mib
    )


def _check_outputs(options: PipelineProfileOptions) -> None:
    if options.trace is not None:
        check_trace_file(Path(options.trace), "--trace")
    if options.stacks is not None:
        find_py_spy()
        check_output_file(Path(options.stacks), "--stacks")
    if options.pipeline is not None and options.source is None:
        raise UsageError(
            f"--pipeline {options.pipeline} needs --source: a file, a device, or sample"
        )
