"""Measures a whole pipeline in this process: every frame from capture to result."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_inference.cli.benchmark.benchmark_options import BenchmarkOptions
from edge_inference.cli.benchmark.engine_level import LevelResults, prepare_candidate
from edge_inference.cli.exit_status import print_error
from edge_inference.cli.sessions.pipeline_session import PipelineSession, open_pipeline
from edge_inference.composition.parameter_format import format_argument
from edge_inference.core.images.media import open_media
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import RESULT_KINDS
from edge_inference.errors import CancelledError, EdgeInferenceError
from edge_inference.observe.benchmark.benchmark_environment import hash_source
from edge_inference.observe.benchmark.benchmark_report import BenchmarkResult
from edge_inference.observe.benchmark.frame_recorder import FrameRecorder, FrameWindow
from edge_inference.observe.benchmark.load_runner import (
    NO_POWER_SENSOR,
    SHARED_MEMORY,
    merge_sensors,
)
from edge_inference.observe.benchmark.resource_meter import ResourceMeter, ResourceUse
from edge_inference.observe.benchmark.saturation import SATURATION, RateProbe, find_saturation

#: Images have no rate of their own.
_IMAGE_RATE_HZ = 10.0
#: The highest rate of the media source.
_MAX_RATE_HZ = 1000.0
#: A source that gives less of the requested rate limits the search, not the pipeline.
_MIN_OFFERED = 0.9
_FIRST_RESULT_S = 60.0
#: Time in which queues adapt to a new rate, and in which the last results come.
_SETTLE_S, _DRAIN_S = 0.5, 2.0
_SETTLE_FRAMES = 5
_PROBE_S, _PROBE_FRAMES = 1.0, 40
_POLL_S = 0.02


@dataclass
class _Slice:
    """A window of one candidate at one rate."""

    window: FrameWindow
    seconds: float
    use: ResourceUse


@dataclass
class _Candidate:
    name: str
    backend: str
    precision: str
    slices: dict[str, list[_Slice]] = field(default_factory=dict)
    offered: dict[str, float] = field(default_factory=dict)


def measure_pipeline(
    options: BenchmarkOptions,
    model: ModelDescription,
    meter: ResourceMeter,
    cancelled: Callable[[], bool],
    progress: Callable[[str, float | None], None],
) -> LevelResults:
    """Measure every candidate; one that cannot run is a problem of the report.

    Raises the error of the first candidate if that cannot run.
    """
    assert options.source is not None
    found = LevelResults()
    found.source = {"source": options.source, "source sha256": hash_source(options.source)}
    media = open_media(options.source)
    media.close()
    rates = options.rates or (() if options.saturation else (media.rate_hz or _IMAGE_RATE_HZ,))
    candidates = _prepare(options, model, found, cancelled, progress)
    passes = [*candidates, *reversed(candidates)] if len(candidates) > 1 else candidates
    seconds = options.seconds * len(candidates) / len(passes)
    for number, candidate in enumerate(passes):
        if cancelled():
            break
        run = _PipelineRun(options, model, candidate, meter, cancelled, progress)
        try:
            run.measure(rates, seconds, found, searches=number < len(candidates))
        except CancelledError:
            break
        except EdgeInferenceError as error:
            if number == 0:
                raise
            found.problems.append(f"{candidate.name}: {error}")
        finally:
            # Nodes are in reference cycles, and until they are freed the next pipeline of this
            # process finds their names in the graph.
            gc.collect()
    for load in dict.fromkeys(load for each in candidates for load in each.slices):
        found.results += [
            _summarize(each, load, len(candidates) > 1)
            for each in candidates
            if any(part.window.offered for part in each.slices.get(load, ()))
        ]
    return found


def _prepare(
    options: BenchmarkOptions,
    model: ModelDescription,
    found: LevelResults,
    cancelled: Callable[[], bool],
    progress: Callable[[str, float | None], None],
) -> list[_Candidate]:
    candidates: list[_Candidate] = []
    for engine in options.engines:
        progress(f"preparing {':'.join(engine)}", None)
        try:
            selection, name = prepare_candidate(options, model, engine, found, cancelled)
        except EdgeInferenceError as error:
            if not candidates or cancelled():
                raise
            found.problems.append(f"{':'.join(engine)} cannot be measured: {error}")
            continue
        candidates.append(_Candidate(name, selection.name, selection.precision))
    return candidates


class _PipelineRun:
    """One pipeline from its start to its end, under one load after the other."""

    def __init__(
        self,
        options: BenchmarkOptions,
        model: ModelDescription,
        candidate: _Candidate,
        meter: ResourceMeter,
        cancelled: Callable[[], bool],
        progress: Callable[[str, float | None], None],
    ) -> None:
        self._options = options
        self._model = model
        self._candidate = candidate
        self._meter = meter
        self._cancelled = cancelled
        self._progress = progress
        self._recorder = FrameRecorder()

    def measure(
        self, rates: tuple[float, ...], seconds: float, found: LevelResults, searches: bool
    ) -> None:
        """Measure at each rate, then search for saturation if that is wanted."""
        name = self._candidate.name
        self._progress(f"{name}: starting the pipeline", None)
        with open_pipeline(
            "benchmark",
            self._options.pipeline,
            self._arguments(rates[0] if rates else 1.0),
            print_error,
            verbose=self._options.verbose,
            is_loaded=False,
        ) as session:
            self._tap(session)
            session.load()
            session.start()
            self._wait_for_result()
            for rate_hz in rates:
                self._progress(f"{name} at {rate_hz:g} Hz", None)
                self._offer(session, rate_hz, seconds, f"{rate_hz:g} Hz")
                if self._cancelled():
                    return
            if self._options.saturation and searches:
                self._saturate(session, found)

    def _saturate(self, session: PipelineSession, found: LevelResults) -> None:
        def probe(rate_hz: float, confirms: bool) -> RateProbe:
            self._progress(f"{self._candidate.name}: saturation, {rate_hz:.1f} Hz", None)
            short_s = min(self._options.seconds, max(_PROBE_S, _PROBE_FRAMES / rate_hz))
            seconds = self._options.seconds if confirms else short_s
            part = self._offer(session, rate_hz, seconds, SATURATION if confirms else "")
            offered_hz = part.window.offered / part.seconds
            share = part.window.dropped / max(part.window.offered, 1)
            is_slow = offered_hz < _MIN_OFFERED * rate_hz and not self._cancelled()
            problem = f"the source, which gave {offered_hz:.1f} Hz only" if is_slow else ""
            return RateProbe(rate_hz, share, problem)

        latencies_ms = self._recorder.window(0, time.monotonic_ns()).latencies_ms
        first_hz = 1e3 / statistics.median(latencies_ms)  # stages overlap: it may be higher
        found.saturations[self._candidate.name] = find_saturation(
            probe, first_hz, max_hz=_MAX_RATE_HZ, cancelled=self._cancelled
        )

    def _offer(self, session: PipelineSession, rate_hz: float, seconds: float, load: str) -> _Slice:
        """Offer frames at a rate; keep the window under the name of a load, if it has one."""
        session.nodes["media_source"].parameters.set({"rate": float(rate_hz)})
        self._pause(max(_SETTLE_S, _SETTLE_FRAMES / rate_hz))
        self._meter.start()
        begin_ns = time.monotonic_ns()
        try:
            self._pause(seconds)
        finally:
            end_ns = time.monotonic_ns()
            use = self._meter.stop()
        deadline_s = time.monotonic() + _DRAIN_S + 2 / rate_hz
        while not self._recorder.has_newer_result(end_ns) and time.monotonic() < deadline_s:
            if self._cancelled():
                break
            time.sleep(_POLL_S)  # results come in other threads; the deadline bounds it
        part = _Slice(self._recorder.window(begin_ns, end_ns), (end_ns - begin_ns) / 1e9, use)
        if load == SATURATION:
            self._candidate.slices[load] = [part]
        elif load:
            self._candidate.slices.setdefault(load, []).append(part)
        if load:
            self._candidate.offered[load] = rate_hz
        return part

    def _arguments(self, rate_hz: float) -> dict[str, str]:
        values: dict[str, str | float | bool] = {
            "model": str(self._model.folder.resolve()),
            "backend": self._candidate.backend,
            "precision": self._candidate.precision,
            "fallback": False,
            "source": self._options.source or "",
            "loop": True,
            "rate": rate_hz,
            "pace": "real_time",
            "when_full": "drop_oldest",
        }
        if self._options.int8_mode is not None and self._candidate.precision == "int8":
            values["int8_mode"] = self._options.int8_mode
        return {name: format_argument(value) for name, value in values.items()}

    def _tap(self, session: PipelineSession) -> None:
        (source,) = (each for each in session.pipeline.components if each.name == "media_source")
        recorder = self._recorder
        session.tap(
            source.remappings["image_raw"], lambda frame: recorder.add_frame(frame.stamp_ns)
        )
        for kind in RESULT_KINDS.rows().values():
            session.tap(kind.topic, lambda result: recorder.add_result(result.stamp_ns))

    def _wait_for_result(self) -> None:
        """Wait until the pipeline is warm: the first result has come."""
        deadline_s = time.monotonic() + _FIRST_RESULT_S
        while not self._recorder.has_newer_result(0):
            if self._cancelled():
                raise CancelledError("the benchmark was cancelled")
            if time.monotonic() > deadline_s:
                raise EdgeInferenceError(
                    f"no result came from {self._options.source} within {_FIRST_RESULT_S:.0f} s; "
                    "check it with edge-inference run perception"
                )
            time.sleep(_POLL_S)  # the first result comes in another thread

    def _pause(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0 and not self._cancelled():
            time.sleep(min(left_s, 0.1))


def _summarize(candidate: _Candidate, load: str, is_shared: bool) -> BenchmarkResult:
    parts = candidate.slices[load]
    latencies = [sample for part in parts for sample in part.window.latencies_ms]
    energies = [part.use.energy_j for part in parts]
    known = [energy for energy in energies if energy is not None]
    missing = {} if len(known) == len(energies) else {"energy_j_per_frame": NO_POWER_SENSOR}
    if is_shared:
        missing["memory_mib"] = SHARED_MEMORY
    frames = len(latencies)
    is_measured = not missing.get("energy_j_per_frame") and frames > 0
    return BenchmarkResult(
        candidate=candidate.name,
        load=load,
        offered_hz=candidate.offered[load],
        frames=frames,
        dropped=sum(part.window.dropped for part in parts),
        seconds=sum(part.seconds for part in parts),
        samples_ms=tuple(latencies),
        cpu_ms_per_frame=1e3 * sum(part.use.cpu_s for part in parts) / frames if frames else None,
        memory_mib=None if is_shared else parts[-1].use.memory_mib,
        energy_j_per_frame=sum(known) / frames if is_measured else None,
        sensors=merge_sensors([part.use for part in parts]),
        not_measured=missing,
    )
