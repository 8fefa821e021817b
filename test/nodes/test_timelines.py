"""The segments of a frame add up to what an observer measures by itself at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from benchmarks.timeline_observer import TimelineObserver
from edge_inference.composition.bus import Bus, Publisher
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.observe.pipeline_observer import PipelineObserver
from edge_inference.observe.frame_timeline import FrameTimeline, SegmentKind
from perception_rig import ASTRONAUT, Pipeline
from relaxed_limits import write_relaxed_limits
from rig import Rig, wait_for
from voice_rig import PERSON, Speaker, load_pipeline_in, models_or_skip, samples_of

FRAMES = 20
PROGRAM = "import sys; from edge_inference.cli.main import main; "
PROGRAM += "sys.exit(main('component_container', sys.argv[1:]))"
PIPELINE = """\
name: far
description: The second half of perception
arguments: {}
components:
  - {name: decode, plugin: "edge_inference::Decode", namespace: ai}
  - name: inference
    plugin: edge_inference::Inference
    namespace: ai
    parameters: {golden_check: "off", self_check: "off"}
"""


def observe(rig: Rig, end: str) -> TimelineObserver:
    clock = rig.container.node.get_clock()
    return TimelineObserver(lambda: clock.now().nanoseconds, end)


def check(excess: list[float]) -> None:
    """Almost all are within what is allowed; a thread may be preempted between two clocks."""
    assert sum(each <= 1.0 for each in excess) >= 0.9 * len(excess), excess


def send_all(pipeline: Pipeline, observer: TimelineObserver) -> list[FrameTimeline]:
    for count in range(1, FRAMES + 1):
        pipeline.send()
        wait_for(lambda count=count: len(observer.done()) >= count, f"{count} timelines")
    return observer.timelines


def test_perception_in_one_process(rig: Rig) -> None:
    pipeline = Pipeline(rig)
    observer = observe(rig, "decode")
    Bus.of(rig.context).tap("/ai/detections", observer.add_result)
    Bus.of(rig.context).tap("/ai/stage_timing", observer.add_timing)
    timelines = send_all(pipeline, observer)
    for timeline in timelines:
        assert [each.stage for each in timeline.stages] == ["preprocess", "inference", "decode"]
        assert timeline.end_to_end_ms is not None
        assert timeline.end_to_end_ms < 60_000.0
    check([observer.excess_in_process(each) for each in timelines])
    check([abs(t.sum_ms - t.end_to_end_ms) / max(0.3, 0.02 * t.end_to_end_ms) for t in timelines])


@pytest.fixture
def far_process(tmp_path: Path) -> Iterator[None]:
    """Run inference and decode in another process."""
    file = tmp_path / "far.yaml"
    file.write_text(PIPELINE)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, "--pipeline", str(file)])
    yield
    process.terminate()
    process.wait()


def test_perception_in_two_processes(rig: Rig, far_process: None) -> None:
    observer = observe(rig, "decode")
    node = rig.load_component(f"{PipelineObserver.__module__}::PipelineObserver").node
    errors: list[Any] = []

    def subscribe(topic: str, callback: Callable[[Any], None]) -> None:
        rig.call(lambda: node.subscribe(topic, callback, errors.append))

    subscribe("/ai/detections", observer.add_result)
    subscribe("/ai/stage_timing", observer.add_timing)
    pipeline = FirstHalf(rig)
    for topic, publishers in (("/ai/detections", 1), ("/ai/stage_timing", 3)):
        rig.wait_for_publishers(node, topic, publishers)
    rig.wait_for_subscribers(pipeline.preprocess, "/ai/tensor")
    timelines = send_all(pipeline, observer)
    assert errors == []
    for timeline in timelines:
        assert [each.stage for each in timeline.stages] == ["preprocess", "inference", "decode"]
        kinds = [each.kind for each in timeline.segments if each.stage == "inference"]
        assert SegmentKind.RECEIVE in kinds or timeline.stages[1].receive_ms is None
    check([observer.excess_at_subscriber(each) for each in timelines])


class FirstHalf(Pipeline):
    """The source of images and preprocess; the other stages are in another process."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.preprocess = rig.load("Preprocess", "-r", "image_raw:=/image")
        node = rig.container.node
        self.images = rig.call(lambda: Publisher(node, ImageAdapter(), "/image", RELIABLE))
        self.image = cv2.imread(str(ASTRONAUT))


def test_voice_from_the_last_word_to_the_command(rig: Rig, tmp_path: Path) -> None:
    models_or_skip()
    observer = observe(rig, "command")
    load_pipeline_in(rig, "voice", {"source": "", "limits": write_relaxed_limits(tmp_path)})
    bus = Bus.of(rig.context)
    # The command stage publishes it together with the first velocity of the plan.
    bus.tap("/ai/command_feedback", observer.add_result)
    bus.tap("/ai/stage_timing", observer.add_timing)
    Speaker(rig).say(samples_of(PERSON))
    wait_for(lambda: observer.done(), "the timeline of the command")
    (timeline,) = observer.timelines
    stages = [each.stage for each in timeline.stages]
    assert stages == ["speech_recognition", "intent_parser", "planner", "command"]
    assert observer.excess_in_process(timeline) <= 1.0
    assert timeline.end_to_end_ms == pytest.approx(timeline.sum_ms, rel=0.02, abs=0.3)
