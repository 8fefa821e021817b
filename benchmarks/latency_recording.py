"""Measures what recording the latency of every frame costs, and how exact the percentiles are.

The cost of one frame in one stage has two parts. One is the difference between a stage and the
same stage that records nothing, both of which handle a frame in the calling thread: reading the
thread's times before and after, making the record, passing it by reference to the latency node, and
adding it to the log there. The other is what the latency node does later: it joins the records of
three stages to a timeline; a third of that counts. Both are CPU time of the calling thread, so that
other work on the machine does not count; but that work fills the caches, so the claim is about the
fastest tenth of the rounds.

The percentiles are compared with those of all values: the error is a share of the values (rank).
Data of several shapes go through 60 digests that are merged, as for a minute in slots.

The pipeline runs with and without recording in turn, one image after the other.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.context import Context

from benchmarks.perception import SIZES, ContainedPipeline, OneAtATime, make_image
from benchmarks.report import Report, Samples
from benchmarks.sides import domains, isolation
from edge_inference.composition.container import Container
from edge_inference.composition.reception import BY_REFERENCE
from edge_inference.core.images.frame import Frame
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.thread_schedule import ThreadSchedule
from edge_inference.core.runtime.thread_times import ThreadTimes
from edge_inference.nodes.stage import Stage, StageSettings, _Entry
from edge_inference.observe.pipeline_latency import PipelineLatency
from edge_inference.observe.quantile_sketch import DigestSketch, make_sketch
from edge_inference.observe.timeline_collector import TimelineCollector

_MAX_COST_US = 15.0
_MAX_RANK_ERROR = 0.003
_MAX_RATIO = 1.02
_FRAMES = 100
_PARTS = 60
_PERCENTS = (50, 90, 95, 99, 99.9)
_WARM_UP = 10


class Recorded(Stage[Frame]):
    """A stage that does nothing, and records that."""

    default_name = "recorded"
    default_namespace = "ai"

    def process(self, item: Frame, settings: StageSettings) -> Frame:
        """Return the frame."""
        return item

    def emit(self, output: Frame) -> None:
        """Publish nothing."""


def _process_without_record(self: Stage[Any], entry: _Entry[Any], times: ThreadTimes) -> None:
    del times
    self.emit(self.process(entry.item, self.active_settings))
    self.health.count_processed()


class Bare(Recorded):
    """The same stage without a record."""

    default_name = "bare"
    _process_entry = _process_without_record


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("latency_recording", argv, __doc__)
    os.environ.update(isolation(*domains(1)))
    _report_cost(report)
    _report_percentiles(report)
    _report_pipeline(report)
    return report.finish()


def _report_cost(report: Report) -> None:
    rounds = 60 if report.quick else 300
    found: dict[str, list[int]] = {"Recorded": [], "Bare": []}
    with _container() as container, ThreadTimes() as times:
        container.load("edge_inference::Latency", [])
        stages: dict[str, Any] = {
            name: container.load(f"{__name__}::{name}", []).node for name in found
        }
        schedule = ThreadSchedule()
        pixels = np.zeros((2, 2), np.uint8)
        for number in range(rounds + 1):
            for name, stage in stages.items():
                frames = [
                    Frame.from_array(pixels, "mono8", time.time_ns(), "camera")
                    for _ in range(_FRAMES)
                ]
                started_ns = time.thread_time_ns()
                for frame in frames:
                    entry = _Entry(frame, time.monotonic_ns(), BY_REFERENCE)
                    stage._handle(entry, schedule, times)
                if number:  # the first round warms up
                    found[name].append((time.thread_time_ns() - started_ns) // _FRAMES)
    costs = {}
    for percent in (50, 10):
        for name, durations_ns in found.items():
            costs[name] = float(np.percentile(durations_ns, percent)) / 1e3
            what = f"one frame in a stage, {name.lower()}, percentile {percent} of the rounds"
            report.figure(what, costs[name], "us of CPU time")
    joining = Samples(_joining_ns(rounds))
    for percent in (50, 10):
        what = f"joining one frame of one stage, percentile {percent} of the rounds"
        report.figure(what, joining.percentile(percent) * 1e3, "us of CPU time")
    cost = costs["Recorded"] - costs["Bare"] + joining.percentile(10) * 1e3
    report.claim("latency-recording-us-per-frame", cost, at_most=_MAX_COST_US)


def _joining_ns(rounds: int) -> list[int]:
    """Return the CPU times of joining one frame of one stage, at 30 frames per second."""
    collector, latency = TimelineCollector(), PipelineLatency()
    names = ("preprocess", "inference", "decode")
    found = []
    now_ns = time.monotonic_ns()
    for number in range(rounds + 1):
        timings = [
            StageTiming(
                name,
                f"/ai/{name}",
                queue_ms=0.1,
                process_ms=4.0,
                age_ms=5.0 * (place + 1),
                stamp_ns=1 + number * _FRAMES + frame,
                ended_ns=now_ns + round((number * _FRAMES + frame) * 33e6 + place * 5e6),
                clock_id=1,
                publish_ms=0.1,
            )
            for frame in range(_FRAMES)
            for place, name in enumerate(names)
        ]
        started_ns = time.thread_time_ns()
        for timing in timings:
            for timeline in collector.add(timing, timing.ended_ns):
                latency.add_timeline(timeline, timing.ended_ns)
        if number:
            found.append((time.thread_time_ns() - started_ns) // len(timings))
    return found


def _report_percentiles(report: Report) -> None:
    sketch = make_sketch()
    if not isinstance(sketch, DigestSketch):
        report.figure("percentiles", "not measured: the package fastdigest is not installed")
        return
    count = 60_000 if report.quick else 600_000
    worst = 0.0
    for name, values in _data(count).items():
        whole = make_sketch()
        for part in np.array_split(values, _PARTS):
            digest = make_sketch()
            for value in part:
                digest.add(float(value))
            whole.merge(digest)
        ordered = np.sort(values)
        found = whole.percentiles(_PERCENTS)
        error = max(map(_rank_error, [ordered] * len(found), _PERCENTS, found))
        report.figure(f"rank error, {name}", 100 * error, "% of the values")
        worst = max(worst, error)
    report.claim("latency-percentiles-rank-error", worst, at_most=_MAX_RANK_ERROR)


def _data(count: int) -> Mapping[str, NDArray[np.float64]]:
    random = np.random.default_rng(16)
    slow = count // 90
    modes = (random.normal(10, 0.5, count - slow), random.normal(400, 20, slow))
    bimodal = np.concatenate(modes)
    random.shuffle(bimodal)
    return {
        "normal": random.normal(20, 3, count),
        "lognormal": random.lognormal(3, 1, count),
        "bimodal": bimodal,
        "constant": np.full(count, 12.5),
        "sorted": np.arange(count, dtype=np.float64),
    }


def _rank_error(ordered: NDArray[np.float64], percent: float, found: float | None) -> float:
    """Return the share of values between the percentile that was found and the right one."""
    below = np.searchsorted(ordered, found, "left") / len(ordered)
    up_to = np.searchsorted(ordered, found, "right") / len(ordered)
    return float(max(0.0, below - percent / 100, percent / 100 - up_to))


def _report_pipeline(report: Report) -> None:
    rounds = 150 if report.quick else 1000
    pipeline = ContainedPipeline()
    one_at_a_time = OneAtATime(pipeline)
    image = make_image(*SIZES["VGA"])
    for _ in range(_WARM_UP):
        one_at_a_time(image)
    found: dict[str, list[int]] = {"recorded": [], "bare": []}
    for number in range(rounds):
        for name in sorted(found, reverse=bool(number % 2)):
            with _without_records() if name == "bare" else nullcontext():
                found[name].append(one_at_a_time(image))
    pipeline.close()
    samples = {name: Samples(durations) for name, durations in found.items()}
    for name, each in samples.items():
        report.samples(f"VGA, pipeline, {name}, publish to result", each)
    ratio = samples["recorded"].p50 / samples["bare"].p50
    report.claim("pipeline-p50-recorded-of-bare", ratio, at_most=_MAX_RATIO)


@contextmanager
def _without_records() -> Iterator[None]:
    """Let every stage of the process handle its frames without a record."""
    original = Stage._process_entry
    Stage._process_entry = _process_without_record  # type: ignore[method-assign]
    try:
        yield
    finally:
        Stage._process_entry = original  # type: ignore[method-assign]


@contextmanager
def _container() -> Iterator[Container]:
    context = Context()
    rclpy.init(context=context)
    container = Container(context)
    spinner = threading.Thread(target=container.spin, daemon=True)
    spinner.start()
    try:
        yield container
    finally:
        container.stop()
        spinner.join()
        container.close()
        context.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
