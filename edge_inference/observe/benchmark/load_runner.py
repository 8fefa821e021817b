"""Puts functions under load: back to back, at fixed rates, and up to saturation.

All sides are ready at once. Back to back their calls are interleaved one by one; at a rate each
side runs alone, in slices in the order A B B A, so that a machine that warms up or is busy for a
while treats all sides alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from edge_inference.engines.interleaved_timing import WARM_UP_CALLS, time_interleaved
from edge_inference.errors import CancelledError, EdgeInferenceError
from edge_inference.observe.benchmark.benchmark_report import BACK_TO_BACK, BenchmarkResult
from edge_inference.observe.benchmark.paced_run import PacedRun, run_at_rate
from edge_inference.observe.benchmark.resource_meter import ResourceMeter, ResourceUse
from edge_inference.observe.benchmark.saturation import (
    SATURATION,
    RateProbe,
    Saturation,
    find_saturation,
)

NO_POWER_SENSOR = "not measured: no power sensor"
SHARED_MEMORY = "not measured: the engines of one process share memory; measure one candidate alone"
SHARED_TIME = "not measured: the candidates take turns; at a fixed rate each runs alone"

_WARM_UP_S = 1.0
_MAX_WARM_UP_CALLS = 50
#: The time ends the rounds, or this many, whose samples fill a report.
_MAX_ROUNDS = 1_000_000
#: A short probe has this many frames at least, so that one drop is no failure.
_PROBE_FRAMES = 40
_PROBE_S = 1.0


class _TimeOverError(Exception):
    """Ends interleaved calls after their time."""


@dataclass
class LoadSide:
    """A function under load: ``call`` gets a number and handles ``frames`` frames at a time."""

    name: str
    call: Callable[[int], object]
    frames: int = 1
    failure: str = ""
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def timed(self, number: int) -> None:
        """Call, and keep the times; after a failure do nothing."""
        if self.failure:
            return
        wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        try:
            self.call(number)
        except EdgeInferenceError as error:
            self.failure = str(error)
            return
        self.cpu_ms.append((time.process_time_ns() - cpu_ns) / 1e6)
        self.wall_ms.append((time.perf_counter_ns() - wall_ns) / 1e6)

    def forget(self) -> None:
        """Forget the times."""
        self.wall_ms.clear()
        self.cpu_ms.clear()


class LoadRunner:
    """Measures all sides; ``seconds`` is the time for each side under each load.

    ``cancelled`` ends any of the methods early; what was measured until then is returned.
    """

    def __init__(
        self,
        sides: Sequence[LoadSide],
        seconds: float,
        meter: ResourceMeter,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[str, float | None], None] = lambda phase, fraction: None,
    ) -> None:
        self._sides = list(sides)
        self._seconds = seconds
        self._meter = meter
        self._cancelled = cancelled
        self._progress = progress

    @property
    def _working(self) -> list[LoadSide]:
        return [side for side in self._sides if not side.failure]

    def back_to_back(self) -> list[BenchmarkResult]:
        """Call all sides in turn without a pause, after a warm-up that does not count."""
        functions = {side.name: side.timed for side in self._sides}
        use = ResourceUse(0.0, 0.0, None)
        try:
            started_s = time.perf_counter()
            time_interleaved(functions, WARM_UP_CALLS, warm_up=0, after_round=self._warm_up)
            round_s = max((time.perf_counter() - started_s) / WARM_UP_CALLS, 1e-6)
            more = min(int(_WARM_UP_S / round_s), _MAX_WARM_UP_CALLS)
            time_interleaved(functions, more, warm_up=0, after_round=self._warm_up)
            for side in self._sides:
                side.forget()
            self._meter.start()
            try:
                self._run_rounds(functions)
            finally:
                use = self._meter.stop()
        except CancelledError:
            pass  # the rounds so far are the result
        return [
            _of_rounds(side, use, len(self._sides) > 1) for side in self._working if side.wall_ms
        ]

    def at_rate(self, rate_hz: float) -> list[BenchmarkResult]:
        """Offer frames at a rate to one side after the other."""
        slices: dict[str, list[tuple[PacedRun, ResourceUse]]] = {}
        sides = self._working
        order = [*sides, *reversed(sides)] if len(sides) > 1 else sides
        for number, side in enumerate(order):
            self._progress(f"{side.name} at {rate_hz:g} Hz", number / len(order))
            seconds = self._seconds * len(sides) / len(order)
            found = self._offer(side, rate_hz, seconds)
            if found is not None:
                slices.setdefault(side.name, []).append(found)
            if self._cancelled():
                break
        return [
            _of_slices(side, f"{rate_hz:g} Hz", rate_hz, slices[side.name], len(sides) > 1)
            for side in sides
            if slices.get(side.name)
        ]

    def saturate(
        self, first_hz: Mapping[str, float]
    ) -> tuple[list[BenchmarkResult], dict[str, Saturation]]:
        """Find the highest rate of each side, from a first guess by name."""
        results, found = [], {}
        for side in self._working:
            runs: list[tuple[PacedRun, ResourceUse]] = []

            def probe(
                rate_hz: float,
                confirms: bool,
                side: LoadSide = side,
                runs: list[tuple[PacedRun, ResourceUse]] = runs,
            ) -> RateProbe:
                self._progress(f"{side.name}: saturation, {rate_hz:.1f} Hz", None)
                short_s = min(self._seconds, max(_PROBE_S, _PROBE_FRAMES * side.frames / rate_hz))
                run = self._offer(side, rate_hz, self._seconds if confirms else short_s)
                if run is None:
                    return RateProbe(rate_hz, 1.0, side.failure or "interrupted")
                if confirms:
                    runs[:] = [run]
                return RateProbe(rate_hz, run[0].drop_share)

            found[side.name] = find_saturation(
                probe,
                first_hz[side.name],
                cancelled=lambda side=side: self._cancelled() or bool(side.failure),  # type: ignore[misc]
            )
            if runs and found[side.name].rate_hz is not None:
                rate_hz = runs[0][0].rate_hz * side.frames
                results.append(_of_slices(side, SATURATION, rate_hz, runs, len(self._sides) > 1))
            if self._cancelled():
                break
        return results, found

    def _warm_up(self, fraction: float) -> None:
        self._after_round("warm-up", fraction)

    def _run_rounds(self, functions: Mapping[str, Callable[[int], object]]) -> None:
        """Call all sides in turn until the time is over; each has the same number of calls."""
        total_s = self._seconds * len(self._sides)
        started_s = time.perf_counter()

        def after_round(_: float) -> None:
            elapsed_s = time.perf_counter() - started_s
            self._after_round(BACK_TO_BACK, min(elapsed_s / total_s, 1.0))
            if elapsed_s >= total_s:
                raise _TimeOverError

        with suppress(_TimeOverError):
            time_interleaved(functions, _MAX_ROUNDS, warm_up=0, after_round=after_round)

    def _after_round(self, phase: str, fraction: float) -> None:
        self._progress(phase, fraction)
        if self._cancelled():
            raise CancelledError("the benchmark was cancelled")

    def _offer(
        self, side: LoadSide, rate_hz: float, seconds: float
    ) -> tuple[PacedRun, ResourceUse] | None:
        """Offer frames for some seconds; None where the side fails, or no frame was finished."""
        self._meter.start()
        run = None
        try:
            run = run_at_rate(side.call, rate_hz / side.frames, seconds, cancelled=self._cancelled)
        except EdgeInferenceError as error:
            side.failure = str(error)
        finally:
            use = self._meter.stop()
        return (run, use) if run is not None and run.latencies_ms else None


def _of_rounds(side: LoadSide, use: ResourceUse, is_shared: bool) -> BenchmarkResult:
    frames = len(side.wall_ms) * side.frames
    missing = {}
    energy_j = use.energy_j
    if is_shared:
        missing["memory_mib"] = SHARED_MEMORY
    if energy_j is None:
        missing["energy_j_per_frame"] = NO_POWER_SENSOR
    elif is_shared:
        missing["energy_j_per_frame"] = SHARED_TIME
    return BenchmarkResult(
        candidate=side.name,
        load=BACK_TO_BACK,
        offered_hz=None,
        frames=frames,
        dropped=0,
        seconds=sum(side.wall_ms) / 1e3,
        samples_ms=tuple(side.wall_ms),
        cpu_ms_per_frame=sum(side.cpu_ms) / frames,
        memory_mib=None if is_shared else use.memory_mib,
        energy_j_per_frame=None if is_shared or energy_j is None else energy_j / frames,
        sensors=use.sensors,
        not_measured=missing,
    )


def _of_slices(
    side: LoadSide,
    load: str,
    offered_hz: float,
    slices: Sequence[tuple[PacedRun, ResourceUse]],
    is_shared: bool,
) -> BenchmarkResult:
    runs, uses = zip(*slices, strict=True)
    frames = sum(len(run.latencies_ms) for run in runs) * side.frames
    energies = [use.energy_j for use in uses]
    known = [energy for energy in energies if energy is not None]
    missing = {}
    if is_shared:
        missing["memory_mib"] = SHARED_MEMORY
    if len(known) < len(energies):
        missing["energy_j_per_frame"] = NO_POWER_SENSOR
    return BenchmarkResult(
        candidate=side.name,
        load=load,
        offered_hz=offered_hz,
        frames=frames,
        dropped=sum(run.dropped for run in runs) * side.frames,
        seconds=sum(run.seconds for run in runs),
        samples_ms=tuple(sample for run in runs for sample in run.latencies_ms),
        cpu_ms_per_frame=1e3 * sum(use.cpu_s for use in uses) / frames,
        memory_mib=None if is_shared else uses[-1].memory_mib,
        energy_j_per_frame=sum(known) / frames if len(known) == len(energies) else None,
        sensors=merge_sensors(uses),
        not_measured=missing,
    )


def merge_sensors(uses: Sequence[ResourceUse]) -> dict[str, float]:
    """Return the means over several measurements, weighted by their samples."""
    sums: dict[str, tuple[float, int]] = {}
    for use in uses:
        for name, mean in use.sensors.items():
            total, count = sums.get(name, (0.0, 0))
            sums[name] = total + mean * use.sensor_samples, count + use.sensor_samples
    return {name: total / count for name, (total, count) in sums.items() if count}
