"""The whole voice pipeline with other packages' interfaces on it, from a person's recording."""

from __future__ import annotations

from pathlib import Path

import pytest
from action_msgs.msg import GoalStatus
from edge_inference.action import Listen
from rclpy.action import ActionClient

import standard_messages as standard
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.errors import ModelError
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
    rig.load("AudioSource", "-r", "audio:=own", source=str(PERSON), pause_s=1.0)
    wait_for(lambda: words and words[-1].is_final, "what was said")
    assert words[-1].text == WORDS
    assert not loaded["audio_common_input"].health.counts()
