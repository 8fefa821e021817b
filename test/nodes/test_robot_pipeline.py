"""Perception and voice in one process: one latency report, one platform manager, one answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.composition.bus import Publisher
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.core.voice import Transcript
from edge_inference.errors import ModelError
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import TranscriptAdapter
from edge_inference.nodes.speech_models import find_speech
from rig import Rig, wait_for

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS.parent / "models" / "nanodet" / "golden"
# Its temperatures are far from any limit.
MACHINE = TESTS / "platform_trees" / "orin_nx.jsonl"


@pytest.fixture
def robot(rig: Rig):
    """Load the pipeline's components in their order, with arguments."""
    for name, task in (("silero_vad", "activity"), ("moonshine_tiny", "recognition")):
        try:
            find_speech(name, "", task).verify_files()
        except ModelError as error:
            pytest.skip(str(error))

    def load(**arguments: str) -> dict:
        loaded = {}
        for each in load_pipeline("robot").components(arguments):
            given = each.node_arguments()
            if each.name == "platform_manager":
                given += ["-p", f"recording:={MACHINE}"]
            component = rig.call(
                lambda each=each, given=given: rig.container.load(each.plugin, given, True)
            )
            assert not component.failure, component.node.health.status(0).message
            assert each.name not in loaded
            loaded[each.name] = component.node
        return loaded

    return load


def test_a_robot_tells_what_it_sees(rig: Rig, robot) -> None:
    said, detections = rig.tap("/ai/say"), rig.tap("/ai/detections")
    reports, workloads = rig.tap("/ai/latency_report"), rig.tap("/ai/workload")
    node = rig.container.node
    words = rig.call(lambda: Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE))
    picture = str(GOLDEN / "chelsea.jpg")
    loaded = robot(audio_source="", image_source=picture, image_loop="true", image_rate="5")
    assert "audio_source" not in loaded and "media_source" in loaded
    detections.wait(2)
    stamp_ns = node.get_clock().now().nanoseconds
    words.publish(Transcript("what do you see", 0.9, "command", stamp_ns))
    said.wait()
    found = {each.label(i) for each in detections for i in range(len(each))}
    assert found == {"cat"}
    assert said == ["I see a cat."]
    stages = {"preprocess", "inference", "decode", "intent_parser", "planner", "command"}
    wait_for(lambda: reports and stages <= {s.stage for s in reports[-1].stages}, "a report of all")
    both = {"/ai/inference", "/ai/speech_recognition"}
    wait_for(lambda: both <= {w.node for w in workloads if w.manager}, "obeying")
    assert len({w.manager for w in workloads if w.manager}) == 1
