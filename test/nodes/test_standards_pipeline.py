"""The whole voice pipeline with other packages' interfaces on it, from a person's recording."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from edge_inference.action import Listen
from rclpy.action import ActionClient

import standard_messages as standard
from edge_inference.composition.bus import Publisher
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.core.audio import AudioChunk
from edge_inference.errors import ModelError
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.speech_models import find_speech
from rig import Rig, wait_for

# A person who says "go forward ten meters".
PERSON = Path(__file__).parents[2] / "models/moonshine_tiny/golden" / "go_forward_ten_meters.wav"
WORDS = "go forward ten meters"


@pytest.fixture
def pipeline(rig: Rig):
    """Load the pipeline's components with arguments."""
    for name, task in (("silero_vad", "activity"), ("moonshine_tiny", "recognition")):
        try:
            find_speech(name, "", task).verify_files()
        except ModelError as error:
            pytest.skip(str(error))

    def load(**arguments: str) -> dict:
        loaded = {}
        for each in load_pipeline("voice").components({"source": "", **arguments}):
            component = rig.call(
                lambda each=each: rig.container.load(each.plugin, each.node_arguments(), True)
            )
            assert not component.failure, component.node.health.status(0).message
            loaded[each.name] = component.node
        return loaded

    return load


def test_a_command_on_demand(rig: Rig, pipeline) -> None:
    plans, words = rig.tap("/ai/action_plan"), rig.tap("/ai/transcript")
    pipeline(listening="on_demand")
    source = rig.load("AudioSource", "-r", "__node:=first", source=str(PERSON), pause_s=1.0)
    assert source.finished.wait(20)
    client = rig.call(lambda: ActionClient(rig.container.node, Listen, "/ai/listen"))
    wait_for(client.server_is_ready, "the action server")
    sent = rig.call(lambda: client.send_goal_async(Listen.Goal(timeout_s=30.0)))
    wait_for(sent.done, "an answer to the goal")
    result = rig.call(sent.result().get_result_async)
    assert (plans, words) == ([], [])  # nobody had asked
    rig.load("AudioSource", "-r", "__node:=second", source=str(PERSON), pause_s=1.0)
    wait_for(result.done, "the result")
    assert result.result().status == GoalStatus.STATUS_SUCCEEDED
    assert result.result().result.transcript.text == WORDS
    assert plans.wait()[0].steps[0].distance_m == 10.0
    rig.call(client.destroy)


def test_sound_by_way_of_audio_common(rig: Rig, pipeline) -> None:
    if standard.installed("audio_common_msgs") is None:
        pytest.skip("audio_common_msgs is absent")
    words = rig.tap("/ai/transcript")
    loaded = pipeline(audio_common_topic="/mic/audio")
    outgoing = rig.load("AudioCommonOutput", "-r", "audio:=own", "-r", "audio_out:=/mic/audio")
    rig.hears(loaded["audio_common_input"], "/mic/audio")
    rig.is_heard(outgoing, "/mic/audio")
    node = rig.container.node
    own = rig.call(lambda: Publisher(node, AudioChunkAdapter(), "/ai/own", RELIABLE))
    # Not paced, so that a busy machine hears the same: what is not known yet is sent once before.
    own.publish(AudioChunk(np.zeros(1600, np.float32), 16_000, 1))
    wait_for(lambda: loaded["voice_activity"].health.notes().get("gaps") or told(loaded), "sound")
    for chunk in recording(node.get_clock().now().nanoseconds - 60_000_000_000):
        own.publish(chunk)
    wait_for(lambda: words and words[-1].is_final, "what was said")
    assert words[-1].text == WORDS


def told(loaded: dict) -> bool:
    """Whether what the sound is has come, where it comes by itself."""
    return "sound" in loaded["audio_common_input"].health.notes()


def recording(start_ns: int):
    """The person and a second of silence, a tenth of a second at a time."""
    with wave.open(str(PERSON)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
    samples = np.concatenate((samples, np.zeros(16_000, np.float32))).astype(np.float32)
    for number, first in enumerate(range(0, len(samples), 1600)):
        piece = samples[first : first + 1600]
        yield AudioChunk(piece, 16_000, start_ns + number * 100_000_000, number, "ear")
