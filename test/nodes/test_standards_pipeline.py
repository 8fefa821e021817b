"""The whole voice pipeline with other packages' interfaces on it, from a person's recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from edge_inference.action import Listen
from rclpy.action import ActionClient

import standard_messages as standard
from edge_inference.composition.bus import Publisher
from edge_inference.core.audio import AudioChunk
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from relaxed_limits import write_relaxed_limits
from rig import Rig, wait_for
from voice_rig import (
    PERSON,
    WORDS,
    Speaker,
    load_pipeline_in,
    models_or_skip,
    samples_of,
    split_into_chunks,
)


@pytest.fixture
def pipeline(rig: Rig, tmp_path: Path):
    """Load the pipeline with arguments; where the sound comes from is the test's."""
    models_or_skip()
    given = {"source": "", "limits": write_relaxed_limits(tmp_path)}
    return lambda **arguments: load_pipeline_in(rig, "voice", {**given, **arguments})


def test_a_command_on_demand(rig: Rig, pipeline) -> None:
    plans, transcripts = rig.tap("/ai/action_plan"), rig.tap("/ai/transcript")
    pipeline(listening="on_demand")
    Speaker(rig).say(samples_of(PERSON))
    client = rig.call(lambda: ActionClient(rig.container.node, Listen, "/ai/listen"))
    wait_for(client.server_is_ready, "the action server")
    sent = rig.call(lambda: client.send_goal_async(Listen.Goal(timeout_s=60.0)))
    wait_for(sent.done, "an answer to the goal")
    result = rig.call(sent.result().get_result_async)
    assert (plans, transcripts) == ([], [])  # without a goal
    # In real time: the speech must be newer than the goal, and not from the future.
    rig.load("AudioSource", source=str(PERSON), pause_s=1.0)
    wait_for(result.done, "the result")
    assert result.result().status == GoalStatus.STATUS_SUCCEEDED
    assert result.result().result.transcript.text == WORDS
    assert plans.wait()[0].steps[0].distance_m == 10.0
    rig.call(client.destroy)


def test_audio_through_audio_common(rig: Rig, pipeline) -> None:
    if standard.find_installed_messages("audio_common_msgs") is None:
        pytest.skip("audio_common_msgs is absent")
    transcripts = rig.tap("/ai/transcript")
    loaded = pipeline(audio_common_topic="/mic/audio")
    outgoing = rig.load("AudioCommonOutput", "-r", "audio:=own", "-r", "audio_out:=/mic/audio")
    rig.wait_for_publishers(loaded["audio_common_input"], "/mic/audio")
    rig.wait_for_subscribers(outgoing, "/mic/audio")
    node = rig.container.node
    own = rig.call(lambda: Publisher(node, AudioChunkAdapter(), "/ai/own", RELIABLE))
    # Not paced, so that the result does not depend on load; one chunk before announces the format.
    own.publish(AudioChunk(np.zeros(1600, np.float32), 16_000, 1))
    wait_for(
        lambda: loaded["voice_activity"].health.notes().get("gaps") or knows_format(loaded),
        "the format",
    )
    start_ns = node.get_clock().now().nanoseconds - 60_000_000_000
    for chunk in split_into_chunks(samples_of(PERSON), start_ns):
        own.publish(chunk)
    wait_for(lambda: transcripts and transcripts[-1].is_final, "the transcript")
    assert transcripts[-1].text == WORDS


def knows_format(loaded: dict) -> bool:
    """Tell whether the node has received the format of the audio in a message of its own."""
    return "audio" in loaded["audio_common_input"].health.notes()
