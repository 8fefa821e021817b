"""Measures what recording a run costs the pipeline, and how many messages a second are written.

Two pipelines in processes of their own, one of them recorded, handle one image after the other in
turn. What the thread of a stage pays for a message is CPU time of the calling thread. The rates are
those of one thread, from objects as the stages publish them, and from bytes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.perception import SIZES, ContainedPipeline, OneAtATime, make_image
from benchmarks.report import Report, Samples
from benchmarks.sides import Side, cpu_seconds, domains
from edge_inference.composition.container import Container
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.nodes.observe.run_recorder import RunRecorder
from edge_inference.observe.recording.mcap_library import start_writer
from edge_inference.observe.recording.mcap_recorder import McapRecorder, RecordingSummary
from edge_inference.observe.recording.mcap_recovery import read_contents
from edge_inference.observe.recording.ros_schemas import RosSchema

_MAX_RATIO = 1.02
_MAX_COST_US = 3.0
_MIN_OBJECTS_PER_S = 5_000.0
_MIN_MESSAGES_PER_S = 50_000.0
_BLOCK = 2
_WARM_UP = 10
_SCHEMA = RosSchema("edge_inference/msg/StageTiming", "")
_TIMING = StageTiming(
    "inference", "/ai/inference", 0.1, 10.0, 12.0, stamp_ns=1, frame_id="camera", clock_id=1
)


class Pipeline:
    """The perception pipeline, recorded into a file unless that is empty."""

    def __init__(self, file: str, with_images: bool) -> None:
        self._recorder: McapRecorder | None = None
        self._file, self._with_images = file, with_images
        self._pipeline = ContainedPipeline(self._prepare)
        self._one_at_a_time = OneAtATime(self._pipeline)
        self._image = make_image(*SIZES["VGA"])

    def run(self, count: int) -> list[int]:
        """Return the nanoseconds from publishing each of so many images to its result."""
        return [self._one_at_a_time(self._image) for _ in range(count)]

    def close(self) -> RecordingSummary | None:
        """Unload the pipeline; returns the figures of the recording."""
        summary = None if self._recorder is None else self._recorder.close()
        self._pipeline.close()
        return summary

    def _prepare(self, container: Container) -> None:
        if self._file:
            self._recorder = McapRecorder(Path(self._file), print)
            plugin = f"{RunRecorder.__module__}::{RunRecorder.__name__}"
            node: Any = container.load(plugin, []).node
            node.start(self._recorder, self._with_images)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("recording", argv, __doc__)
    with tempfile.TemporaryDirectory() as folder:
        _report_rates(report, Path(folder))
        _report_pipeline(report, Path(folder), with_images=False)
        _report_pipeline(report, Path(folder), with_images=True)
    return report.finish()


def _report_rates(report: Report, folder: Path) -> None:
    count = 20_000 if report.quick else 100_000
    adapter = StageTimingAdapter()
    data = adapter.to_bytes(_TIMING)

    recorder = McapRecorder(folder / "objects.mcap", print)
    add = recorder.add_topic("/ai/stage_timing", lambda: _SCHEMA, adapter.to_bytes, count)
    started_ns, thread_ns = time.monotonic_ns(), time.thread_time_ns()
    for _ in range(count):
        add(_TIMING)
    cost_us = (time.thread_time_ns() - thread_ns) / count / 1e3
    summary = recorder.close()
    rate = summary.messages / (time.monotonic_ns() - started_ns) * 1e9
    report.figure("objects recorded", summary.messages)
    report.claim("recording-us-in-the-stage", cost_us, at_most=_MAX_COST_US)
    report.claim("recording-objects-per-s", rate, at_least=_MIN_OBJECTS_PER_S)

    with (folder / "bytes.mcap").open("wb") as stream:
        writer = start_writer(stream, "ros2")
        channel = writer.register_channel("/a", "cdr", writer.register_schema("a", "ros2msg", b""))
        started_ns = time.monotonic_ns()
        for _ in range(count):
            now_ns = time.time_ns()
            writer.add_message(channel, now_ns, data, now_ns)
        writer.finish()
        rate = count / (time.monotonic_ns() - started_ns) * 1e9
    report.claim("recording-messages-per-s", rate, at_least=_MIN_MESSAGES_PER_S)
    report.figure("bytes of a stage timing on disk", (folder / "bytes.mcap").stat().st_size / count)


def _report_pipeline(report: Report, folder: Path, with_images: bool) -> None:
    name = "with images" if with_images else "without images"
    file = folder / f"{name}.mcap"
    bare_domain, recorded_domain = domains(2)
    recorded = Side(recorded_domain, Pipeline, str(file), with_images)
    bare = Side(bare_domain, Pipeline, "", False)
    sides = {"recorded": recorded, "bare": bare}
    found: dict[str, list[int]] = {side: [] for side in sides}
    for side in sides.values():
        side.ask("run", _WARM_UP)
    begin_s = {key: cpu_seconds(side.pid) for key, side in sides.items()}
    for number in range(100 if report.quick else 600):
        for side in sorted(sides, reverse=bool(number % 2)):
            found[side] += sides[side].ask("run", _BLOCK)
    cpu_s = {key: cpu_seconds(side.pid) - begin_s[key] for key, side in sides.items()}
    cost_ms = (cpu_s["recorded"] - cpu_s["bare"]) / len(found["recorded"]) * 1e3
    report.figure(f"recording of a frame {name}", cost_ms, "ms of CPU time")
    summary: RecordingSummary = recorded.ask("close")
    bare.ask("close")
    for side in sides.values():
        side.close()
    samples = {side: Samples(durations) for side, durations in found.items()}
    for side, each in samples.items():
        report.samples(f"VGA, pipeline, {side} {name}, publish to result", each)
    report.figure(f"messages, {name}", summary.messages)
    report.figure(f"dropped, {name}", summary.dropped)
    report.figure(f"recording, {name}", summary.size / 1e6, "MB")
    ratio = samples["recorded"].p50 / samples["bare"].p50
    if with_images:
        report.figure("pipeline p50 recorded with images, of bare", ratio)
        return
    report.claim("pipeline-p50-recorded-of-bare", ratio, at_most=_MAX_RATIO)
    contents = read_contents(file)
    report.claim(
        "recorded-messages-readable", contents.counts.total() / summary.messages, at_least=1
    )


if __name__ == "__main__":
    sys.exit(main())
