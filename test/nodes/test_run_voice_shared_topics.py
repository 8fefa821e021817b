"""``edge-inference run voice`` while another voice pipeline is there."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from pathlib import Path

import pytest
import rclpy
from edge_inference.msg import ActionPlan, AudioChunk
from rclpy.context import Context

from voice_rig import models_or_skip

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
DEADLINE_S = 600
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(autouse=True)
def models() -> None:
    models_or_skip()


def silence(file: Path) -> Path:
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(16_000)
        stream.writeframes(bytes(2 * 16_000))
    return file


def test_another_pipeline_is_reported(tmp_path: Path) -> None:
    topics = {"/ai/audio": AudioChunk, "/ai/action_plan": ActionPlan}
    audio = silence(tmp_path / "silence.wav")
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("stranger", context=context)
    try:
        for topic, kind in topics.items():
            node.create_publisher(kind, topic, 5)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "run", "voice", "--source", str(audio)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        )
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    reports = [line for line in done.stderr.splitlines() if "another process publishes" in line]
    assert sorted(line.partition(" on ")[2].split()[0] for line in reports) == sorted(topics)
