"""Perception and voice in one process: one latency report, one platform manager, one answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.composition.bus import Publisher
from edge_inference.core.voice import Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import TranscriptAdapter
from relaxed_limits import write_relaxed_limits
from rig import Rig, wait_for
from voice_rig import load_pipeline_in, models_or_skip

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS.parent / "models" / "nanodet" / "golden"
# Its temperatures are far from any limit.
MACHINE = TESTS / "platform_recordings" / "orin_nx.jsonl"


@pytest.fixture
def robot(rig: Rig, tmp_path: Path):
    """Load the pipeline with arguments."""
    models_or_skip()
    given = {"limits": write_relaxed_limits(tmp_path)}

    def load(**arguments: str) -> dict:
        machine = ("-p", f"recording:={MACHINE}")
        return load_pipeline_in(
            rig, "robot", {**given, **arguments}, *machine, of="platform_manager"
        )

    return load


def test_robot_answers_what_it_sees(rig: Rig, robot) -> None:
    said, detections = rig.tap("/ai/say"), rig.tap("/ai/detections")
    reports, workloads = rig.tap("/ai/latency_report"), rig.tap("/ai/workload")
    node = rig.container.node
    words = rig.call(lambda: Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE))
    image = str(GOLDEN / "chelsea.jpg")
    loaded = robot(audio_source="", image_source=image, image_loop="true", image_rate="5")
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
