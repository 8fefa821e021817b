"""Compares the sum of a frame's segments with the end that an independent observer measures.

Perception and voice run in one process and in two, with the shipped nodes. The observer reads the
ROS clock itself when a result arrives. In one process the end of publishing lies between the
arrival of the result and that of the last stage's report, which the same thread publishes after it;
in two the way from the last stage to the subscriber is one more segment. The claims are in units of
what is allowed: 2 % or 0.3 ms, whichever is more.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.qos import QoSProfile

from benchmarks.perception import make_image
from benchmarks.programs import run_program
from benchmarks.report import Report
from benchmarks.sides import domains, isolation, shared_memory
from benchmarks.timeline_observer import TimelineObserver
from edge_inference.composition.bus import Bus, Publisher
from edge_inference.composition.container import Container
from edge_inference.composition.pipeline import load_pipeline, share_folder
from edge_inference.composition.process import load_components
from edge_inference.core.audio import AudioChunk
from edge_inference.core.images.frame import Frame
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.observe.pipeline_observer import PipelineObserver
from edge_inference.observe.frame_timeline import FrameTimeline

_WAIT_S = 60.0
#: Messages before the processes have discovered each other.
_MAX_LOST = 12
_RATE = 16_000
_CHUNK = _RATE // 10
_WORDS = "models/moonshine_tiny/golden/go_forward_ten_meters.wav"
#: The stages that run in the other process.
_FAR = {"perception": ("decode", "inference"), "voice": ("speech_recognition", "intent_parser")}
_DEPTH = QoSProfile(depth=100)


class Machine:
    """A container of this process with the stages of a pipeline that are not ``left_out``."""

    def __init__(self, pipeline: str, left_out: Sequence[str], end: str) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.container = Container(self._context)
        components = load_pipeline(pipeline).components({"source": ""})
        failures = load_components(
            self.container, [each for each in components if each.name not in left_out]
        )
        if failures:
            raise RuntimeError("; ".join(failures))
        self.observer = TimelineObserver(self.now_ns, end)
        # What other processes publish arrives through subscriptions, all else too.
        plugin = f"{PipelineObserver.__module__}::{PipelineObserver.__name__}"
        self._node: Any = self.container.load(plugin, []).node
        self.subscribe("/ai/stage_timing", self.observer.add_timing)
        self._spinner = threading.Thread(target=self.container.spin, daemon=True)

    def now_ns(self) -> int:
        """Return the ROS time."""
        return int(self.container.node.get_clock().now().nanoseconds)

    def subscribe(self, topic: str, callback: Callable[[Any], None]) -> None:
        """Receive a topic of the pipeline."""
        self._node.subscribe(topic, callback, print)

    def tap(self, topic: str, callback: Callable[[Any], None]) -> None:
        """Receive a topic that is published in this process."""
        Bus.of(self._context).tap(topic, callback)

    def start(self, publishers: int) -> None:
        """Receive, once so many nodes publish their timings."""
        self._spinner.start()
        deadline = threading.Event()
        for _ in range(round(_WAIT_S / 0.1)):
            if self.container.node.count_publishers("/ai/stage_timing") >= publishers:
                return
            deadline.wait(0.1)
        raise RuntimeError(f"not all of {publishers} nodes have started")

    def repeat(self, send: Callable[[], None], count: int) -> list[FrameTimeline]:
        """Send until there are so many timelines; what comes before all have connected is lost."""
        lost = 0
        while (done := len(self.observer.done())) < count:
            send()
            with self.observer.changed:
                if not self.observer.changed.wait_for(
                    lambda done=done: len(self.observer.done()) > done, _WAIT_S / _MAX_LOST
                ):
                    lost += 1
            if lost > _MAX_LOST:
                raise RuntimeError(f"{count} results did not come; see the errors above")
        return self.observer.done()

    def close(self) -> None:
        """Unload everything."""
        self.container.stop()
        self._spinner.join()
        self.container.close()
        self._context.try_shutdown()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("timeline", argv, __doc__)
    os.environ.update(shared_memory())
    frames, utterances = (30, 2) if report.quick else (300, 10)
    for is_split, name in ((False, "one process"), (True, "two processes")):
        _report(report, f"perception, {name}", _perception(is_split, frames))
        _report(report, f"voice, {name}", _voice(is_split, utterances))
    return report.finish()


@dataclass(frozen=True)
class _Measured:
    excess: list[float]
    uncertainty_ms: list[float]
    timelines: list[FrameTimeline]


def _report(report: Report, name: str, measured: _Measured) -> None:
    excess = measured.excess
    totals = [each.end_to_end_ms for each in measured.timelines if each.end_to_end_ms is not None]
    report.figure(f"{name}, end to end p50", float(np.median(totals)), "ms")
    report.figure(f"{name}, frames", len(excess))
    report.figure(f"{name}, frames within what is allowed", sum(each <= 1 for each in excess))
    width_ms = float(np.median(measured.uncertainty_ms))
    report.figure(f"{name}, uncertainty of the observer p50", width_ms, "ms")
    slug = name.replace(", ", "-").replace(" ", "-")
    report.claim(f"sum-of-stages-vs-end-to-end-{slug}", max(excess), at_most=1.0)


def _perception(is_split: bool, frames: int) -> _Measured:
    with _running("perception", is_split, "decode", publishers=3) as machine:
        observer = machine.observer
        images = Publisher(machine.container.node, ImageAdapter(), "/camera/image_raw", _DEPTH)
        if is_split:
            machine.subscribe("/ai/detections", observer.add_result)
        else:
            machine.tap("/ai/detections", observer.add_result)
        image = make_image(640, 480)
        timelines = machine.repeat(
            lambda: images.publish(Frame.from_array(image, "bgr8", machine.now_ns(), "camera")),
            frames,
        )
        return _measure(observer, timelines, is_split)


def _voice(is_split: bool, utterances: int) -> _Measured:
    with _running("voice", is_split, "command", publishers=5) as machine:
        observer = machine.observer
        audio = Publisher(machine.container.node, AudioChunkAdapter(), "/ai/audio", _DEPTH)
        # The command stage publishes it together with the first velocity of a plan.
        machine.tap("/ai/command_feedback", observer.add_result)
        samples = _read_words()
        timelines = machine.repeat(lambda: _play(machine, audio, samples), utterances)
        return _measure(observer, timelines, at_subscriber=False)


def _measure(
    observer: TimelineObserver, timelines: list[FrameTimeline], at_subscriber: bool
) -> _Measured:
    measure = observer.excess_at_subscriber if at_subscriber else observer.excess_in_process
    ends = [observer.end_ms(each, at_subscriber) for each in timelines]
    return _Measured(
        [measure(each) for each in timelines], [high - low for low, high in ends], timelines
    )


def _play(machine: Machine, audio: Publisher[AudioChunk], samples: Any) -> None:
    """Publish the sentence in real time."""
    pace = threading.Event()
    start_ns = machine.now_ns()
    for index, first in enumerate(range(0, len(samples), _CHUNK)):
        end_ns = start_ns + (index + 1) * 100_000_000
        pace.wait(max(0, end_ns - machine.now_ns()) / 1e9)
        chunk = samples[first : first + _CHUNK]
        audio.publish(AudioChunk(chunk, _RATE, end_ns - 100_000_000, index, "microphone"))


@contextmanager
def _running(pipeline: str, is_split: bool, end: str, publishers: int) -> Iterator[Machine]:
    domain = domains(1)[0]
    os.environ.update(isolation(domain))
    far = _FAR[pipeline] if is_split else ()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(pipeline, far, end)
        try:
            if not far:
                machine.start(publishers)
                yield machine
                return
            file = Path(folder) / "far.yaml"
            file.write_text(_far_pipeline(pipeline, far), encoding="utf-8")
            arguments = ["--pipeline", str(file)]
            with run_program("component_container", arguments, domain, environment=shared_memory()):
                machine.start(publishers)
                yield machine
        finally:
            machine.close()


def _far_pipeline(pipeline: str, names: Sequence[str]) -> str:
    components = load_pipeline(pipeline).components({"source": ""})
    lines = ["name: far", f"description: Stages of {pipeline}", "arguments: {}", "components:"]
    for each in components:
        if each.name in names:
            lines += [f"  - name: {each.name}", f"    plugin: {each.plugin}", "    namespace: ai"]
    return "\n".join(lines) + "\n"


def _read_words() -> Any:
    """Return a recorded sentence with a second of silence after it."""
    with wave.open(str(share_folder() / _WORDS)) as stream:
        data = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
    samples = (data / np.float32(32768)).astype(np.float32)
    padded = np.concatenate((samples, np.zeros(_RATE * 2, np.float32)))
    return padded[: len(padded) // _CHUNK * _CHUNK]


if __name__ == "__main__":
    sys.exit(main())
