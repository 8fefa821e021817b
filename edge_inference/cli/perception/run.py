"""``edge-inference run perception``: runs the pipeline in this process and reads its bus."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from edge_inference.cli.error_reporter import ErrorReporter
from edge_inference.cli.exit_status import EXIT_FAILED
from edge_inference.cli.params_file import find_unused_entries
from edge_inference.cli.perception.bus_listener import BusListener
from edge_inference.cli.perception.frame_tracker import FrameRecord
from edge_inference.cli.perception.overlay_files import OverlayFiles
from edge_inference.cli.perception.run_options import RunOptions, search_path
from edge_inference.cli.perception.run_output import (
    RunJsonLines,
    RunOutput,
    RunPlainLines,
    RunProgress,
)
from edge_inference.cli.perception.run_summary import (
    EngineSummary,
    ResultCounts,
    RunSummary,
)
from edge_inference.cli.perception.source import SourceKind
from edge_inference.cli.progress import can_redraw
from edge_inference.cli.sessions.pipeline_session import PipelineSession, open_pipeline
from edge_inference.cli.sessions.run_recording import RunRecording, load_recorded
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.composition.pipeline import ComponentDescription
from edge_inference.core.images.media import open_media
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.errors import CancelledError

SOURCE_ENDED, ENOUGH_FRAMES = "source ended", "enough frames"
INTERRUPTED, STALLED = "interrupted", "stalled"

_POLL_PERIOD_S = 0.1
_STALLED_S = 30.0
_SILENT_TOPIC_S = 3.0


def run_perception(options: RunOptions, started_s: float) -> int:
    """Run the perception pipeline until its source ends; return the exit code.

    ``started_s`` is the start of the program in seconds of ``time.monotonic()``; the time to the
    first result counts from it. Exit code 0: results came, and every request was
    fulfilled. 1: no result came, an overlay could not be written, or the pipeline
    stalled. 130 or 143: interrupted before the first result. Raises
    EdgeInferenceError where the pipeline cannot start.
    """
    model = find_model(options.model, search_path(options.model_path))
    options.check(model)
    if options.kind is SourceKind.FILES:
        open_media(options.source).close()
    output = _make_output(options)
    if options.selects_engine:
        with catch_signals() as interrupted:
            is_ready = _prepare_engine(options, model, output, interrupted)
            if not is_ready or interrupted.is_set():
                return interrupted.exit_code
    return _run(options, model, output, started_s)


def _run(options: RunOptions, model: ModelDescription, output: RunOutput, started_s: float) -> int:
    with open_pipeline(
        "run perception",
        "perception",
        options.pipeline_arguments(),
        output.problem,
        params_file=options.params_file,
        verbose=options.verbose,
        is_loaded=False,
    ) as session:
        run = _Run(session, options, model, output, started_s)
        try:
            engine = run.load()
            with catch_signals() as interrupted:
                return run.run(engine, interrupted)
        finally:
            run.close()


class _Run:
    """One run: call ``load`` and ``run`` once, then ``close``."""

    def __init__(
        self,
        session: PipelineSession,
        options: RunOptions,
        model: ModelDescription,
        output: RunOutput,
        started_s: float,
    ) -> None:
        self._session = session
        self._options = options
        self._model = model
        self._output = output
        self._started_s = started_s
        self._image_topic = _image_topic(session.pipeline.components)
        self._listener = BusListener(session, options, self._image_topic)
        self._cleanup = ExitStack()
        self._overlays: OverlayFiles | None = None
        self._recording: RunRecording | None = None
        self._errors = ErrorReporter(output.problem)
        self._result_counts = ResultCounts()
        self._results = 0
        self._first_s: float | None = None
        self._last_s: float | None = None

    def run(self, engine: EngineSummary, interrupted: Interrupt) -> int:
        """Start the pipeline, show its results and the summary; return the exit code."""
        self._output.start(self._options.source, engine)
        self._session.start()
        overlays = self._overlays
        ended = self._watch(engine, interrupted, self._draws_overlays())
        ended_s = time.monotonic()
        self._cleanup.close()  # the last overlays are written now
        self._errors.report(self._session.nodes)
        summary = self._summary(engine, ended, ended_s, overlays)
        self._output.finish(summary)
        if ended == INTERRUPTED and not self._results:
            return interrupted.exit_code
        return self._exit_code(summary)

    def close(self) -> None:
        """Release every thread that may wait for this run."""
        self._output.finish(None)
        self._listener.close()
        self._cleanup.close()

    # Start --------------------------------------------------------------------------------------

    def _draws_overlays(self) -> bool:
        """Tell whether the run needs the overlays, and waits for the last one."""
        is_recorded = self._options.mcap_images and self._model.kind.draw is not None
        return self._overlays is not None or is_recorded

    def _save_overlays(self) -> OverlayFiles | None:
        if self._options.save_overlay is None:
            return None
        folder = Path(self._options.save_overlay)
        files = OverlayFiles(folder, self._listener.tracker.number_of, self._errors.add)
        self._cleanup.callback(files.finish)
        # Runs before ``finish``, after which no overlay may arrive.
        self._cleanup.callback(self._listener.save_overlays(files))
        return files

    def load(self) -> EngineSummary:
        """Load the nodes; raises ConfigError with the message of each node that fails."""
        self._overlays = self._save_overlays()
        options = self._options
        self._recording = load_recorded(
            self._session, options.mcap, options.mcap_images, self._errors.add
        )
        if self._recording is not None:
            self._cleanup.callback(self._recording.finish)
        self._report_unused_parameters()
        notes = self._session.nodes["inference"].health.notes()
        return EngineSummary(
            self._model.name, self._model.task, notes["backend"], notes["precision"]
        )

    def _report_unused_parameters(self) -> None:
        if self._options.params_file:
            declared = {
                node.get_fully_qualified_name(): node.get_parameters_by_prefix("")
                for node in self._session.nodes.values()
            }
            for text in find_unused_entries(Path(self._options.params_file), declared):
                self._output.problem(text)

    # While it runs ------------------------------------------------------------------------------

    def _watch(
        self, engine: EngineSummary, interrupted: threading.Event, has_overlays: bool
    ) -> str:
        """Show results until the run ends; return the reason of the end."""
        begin_s = time.monotonic()
        while not interrupted.is_set():
            record = self._listener.next_record(_POLL_PERIOD_S)
            while record is not None:
                self._show(record)
                record = self._listener.next_record(0.0)
            self._report_other_pipelines()
            self._errors.report(self._session.nodes)
            self._output.progress(lambda: self._progress(engine))
            ended = self._check_end(has_overlays)
            if ended is not None:
                return ended
            self._report_silent_topic(time.monotonic() - begin_s)
        return INTERRUPTED

    def _show(self, record: FrameRecord) -> None:
        self._results += 1
        self._last_s = time.monotonic()
        if self._first_s is None:
            self._first_s = self._last_s
        self._result_counts.add(record.result)
        self._output.frame(record)

    def _check_end(self, has_overlays: bool) -> str | None:
        """Return the reason where the run has to end, else None."""
        listener = self._listener
        has_finished = self._source_has_finished()
        # In this order: an image counts as finished after its record was put in the queue.
        is_drained = has_finished and listener.is_drained()
        if not has_overlays or listener.overlays_done >= listener.tracker.results:
            if is_drained:
                return SOURCE_ENDED
            if self._results == self._options.frames:
                return ENOUGH_FRAMES
        if has_finished and time.monotonic() - listener.last_event_s > _STALLED_S:
            return STALLED
        return None

    def _source_has_finished(self) -> bool:
        source = self._session.nodes.get("media_source")
        return source is not None and bool(source.finished.is_set())

    def _report_silent_topic(self, waited_s: float) -> None:
        topic = self._options.topic
        is_topic = self._options.kind is SourceKind.TOPIC
        if is_topic and not self._listener.tracker.finished and waited_s > _SILENT_TOPIC_S:
            self._errors.add(
                f"no image on {topic} yet; check that a node publishes it: ros2 topic info "
                f"{topic} (there is no file or folder of this name either)"
            )

    def _report_other_pipelines(self) -> None:
        if self._session.pipeline.is_shared(self._session.container):
            self._errors.add(
                f"another pipeline has started in the namespace {self._session.namespace}: its "
                "results are on the same topics; end one of them, or set another ROS_DOMAIN_ID "
                "for this one"
            )
        if self._listener.tracker.foreign:
            self._errors.add(
                f"another node publishes on {self._image_topic} too, and its images mix with "
                "those of this run: end the other run, or set another ROS_DOMAIN_ID for this one"
            )

    def _progress(self, engine: EngineSummary) -> RunProgress:
        return RunProgress(
            source=self._options.source,
            engine=engine,
            results=self._results,
            drops=dict(self._listener.tracker.drops),
            latency=self._listener.recent.report(time.monotonic_ns()),
        )

    # End ----------------------------------------------------------------------------------------

    def _summary(
        self, engine: EngineSummary, ended: str, ended_s: float, overlays: OverlayFiles | None
    ) -> RunSummary:
        source = self._session.nodes.get("media_source")
        return RunSummary(
            source=self._options.source,
            engine=engine,
            ended=ended,
            read=None if source is None else self._listener.tracker.announced,
            results=self._results,
            unreadable=0 if source is None else source.health.drop_counts().get("source", 0),
            drops=dict(self._listener.tracker.drops),
            wall_s=ended_s - self._started_s,
            first_result_s=None if self._first_s is None else self._first_s - self._started_s,
            rate_hz=self._rate_hz(),
            latency=self._listener.whole.report(time.monotonic_ns()),
            found=self._result_counts,
            is_lossless=self._options.is_lossless,
            overlay_folder="" if overlays is None else str(overlays.folder),
            overlays_written=0 if overlays is None else overlays.written,
            overlays_failed=0 if overlays is None else overlays.failed,
            recording=None if self._recording is None else self._recording.finish(),
        )

    def _rate_hz(self) -> float | None:
        if self._first_s is None or self._last_s is None or self._last_s <= self._first_s:
            return None
        return (self._results - 1) / (self._last_s - self._first_s)

    def _exit_code(self, summary: RunSummary) -> int:
        if summary.ended == STALLED:
            missing = self._listener.tracker.announced - self._listener.tracker.finished
            self._output.problem(
                f"stalled: {missing} images did not pass through the pipeline, and no stage "
                f"has finished an image for {_STALLED_S:.0f} s"
            )
            return EXIT_FAILED
        if not self._results:
            drops = self._listener.tracker.drops
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(drops.items()))
            dropped = f"; dropped: {reasons}" if reasons else ""
            self._output.problem(f"no result came from {self._options.source}{dropped}")
            return EXIT_FAILED
        is_recorded = summary.recording is None or not summary.recording.problem
        return 0 if is_recorded and not summary.overlays_failed else EXIT_FAILED


def _prepare_engine(
    options: RunOptions, model: ModelDescription, output: RunOutput, interrupted: threading.Event
) -> bool:
    """Build the files of the requested engine before the nodes need them; False if interrupted.

    Raises EdgeInferenceError where they cannot be built, or the engine cannot run here.
    """
    from edge_inference.engines.cache.artifacts import default_cache
    from edge_inference.engines.precision.int8_mode import EXACT
    from edge_inference.engines.serving.backend_table import EngineRequest
    from edge_inference.engines.serving.preparation import prepare_in_child
    from edge_inference.engines.serving.selection import select_backend

    int8_mode = options.int8_mode or EXACT
    request = EngineRequest(model, options.backend, options.precision, int8_mode=int8_mode)
    cache = default_cache()
    selection = select_backend(request, cache)
    if selection.backend is not None:
        return True
    title = f"preparing {model.name} for {selection.name} in {selection.precision}"
    try:
        with output.preparing(title) as progress:
            progress("starting", None)
            prepare_in_child(request, cache, progress, interrupted.is_set)
    except CancelledError:
        return False
    return True


def _make_output(options: RunOptions) -> RunOutput:
    if options.json:
        return RunJsonLines(sys.stdout)
    if sys.stdout.isatty() and not options.verbose and can_redraw(sys.stdout):
        from edge_inference.cli.perception.live_table import PerceptionLiveTable

        return PerceptionLiveTable(sys.stdout)
    return RunPlainLines(sys.stdout)


def _image_topic(components: Sequence[ComponentDescription]) -> str | None:
    """Return the topic of the pipeline's own source, None where the pipeline has none."""
    sources = (component for component in components if component.name == "media_source")
    return next((source.remappings["image_raw"] for source in sources), None)
