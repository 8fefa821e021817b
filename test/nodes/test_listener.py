"""The action listen: one goal, one utterance, and a reason if there is no transcript."""

from __future__ import annotations

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from edge_inference.action import Listen
from rclpy.action import ActionClient

from edge_inference.composition.bus import Publisher
from edge_inference.composition.reception import BY_REFERENCE
from edge_inference.core.audio import AudioChunk
from edge_inference.core.voice import Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.conversions.string_and_bool import BoolAdapter
from edge_inference.nodes.conversions.voice import TranscriptAdapter
from edge_inference.nodes.voice import listener, listening_gate, voice_activity
from rig import Collected, Rig, later, wait_for

MS32 = 32_000_000


class ListenClient:
    """Sends goals, and publishes transcripts as the recognizer does."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._node = node = rig.container.node
        self._client = rig.call(lambda: ActionClient(node, Listen, "/ai/listen"))
        self._words = rig.call(
            lambda: Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE)
        )
        self.partial = Collected()

    def send_goal(self, timeout_s: float = 60.0):
        """Send a goal; return its handle once it is accepted, and the future of its result."""
        wait_for(self._client.server_is_ready, "the action server")
        sent = self._rig.call(
            lambda: self._client.send_goal_async(
                Listen.Goal(timeout_s=timeout_s),
                feedback_callback=lambda message: self.partial.take(message.feedback.text),
            )
        )
        wait_for(sent.done, "an answer to the goal")
        handle = sent.result()
        assert handle.accepted
        return handle, self._rig.call(handle.get_result_async)

    def say(self, text: str, is_final: bool = True, age_s: float = -0.01, problem: str = "") -> int:
        stamp_ns = self._node.get_clock().now().nanoseconds - int(age_s * 1e9)
        self._words.publish(
            Transcript(
                text, 0.75, "command", stamp_ns, is_final, problem=problem, frame_id="microphone"
            )
        )
        return stamp_ns

    def close(self) -> None:
        self._rig.call(self._client.destroy)


@pytest.fixture
def client(rig: Rig):
    client = ListenClient(rig)
    yield client
    client.close()


def answer(future) -> tuple[int, str, str]:
    """Status, text and problem."""
    wait_for(future.done, "the result")
    transcript = future.result().result.transcript
    return future.result().status, transcript.text, transcript.problem


@pytest.mark.parametrize("rig", ["best", "single"], indirect=True)
def test_the_transcript_is_the_result(rig: Rig, client: ListenClient) -> None:
    rig.load("Listener")
    listening = rig.tap("/ai/listening")
    _, result = client.send_goal()
    client.say("left", age_s=10.0)  # before the goal
    client.say("turn", is_final=False)
    client.say("", is_final=False)
    assert client.partial.wait() == ["turn"]
    assert not result.done()
    stamp_ns = client.say("turn left")
    assert answer(result) == (GoalStatus.STATUS_SUCCEEDED, "turn left", "")
    transcript = result.result().result.transcript
    assert transcript.confidence == 0.75 and transcript.header.frame_id == "microphone"
    assert transcript.header.stamp.sec * 10**9 + transcript.header.stamp.nanosec == stamp_ns
    assert (listening[0], listening[-1]) == (True, False)


def test_an_unknown_text_aborts_with_a_reason(rig: Rig, client: ListenClient) -> None:
    rig.load("Listener")
    _, result = client.send_goal()
    client.say("", problem="no phrase of the grammar")
    assert answer(result) == (GoalStatus.STATUS_ABORTED, "", "no phrase of the grammar")


@pytest.mark.parametrize(
    ("partial", "problem"),
    [
        ("", "nothing was said in 30 seconds"),
        ("turn", "'turn' did not end in 30 seconds"),
    ],
)
def test_a_timeout_aborts(
    rig: Rig, client: ListenClient, monkeypatch: pytest.MonkeyPatch, partial: str, problem: str
) -> None:
    pass_s = later(monkeypatch, listener)
    listening = rig.tap("/ai/listening")
    rig.load("Listener")
    _, result = client.send_goal(timeout_s=30.0)
    if partial:
        client.say(partial, is_final=False)
        client.partial.wait()
    pass_s(29.0)
    count = len(listening)
    assert listening.wait(count + 2)[count:] == [True] * (len(listening) - count)
    pass_s(1.0)
    assert answer(result) == (GoalStatus.STATUS_ABORTED, "", problem)
    client.send_goal()  # another goal is accepted


def test_a_second_goal_is_aborted_with_a_reason(rig: Rig, client: ListenClient) -> None:
    rig.load("Listener")
    _, first = client.send_goal()
    _, second = client.send_goal()
    status, _, problem = answer(second)
    assert status == GoalStatus.STATUS_ABORTED and "another goal" in problem
    client.say("stop")
    assert answer(first)[:2] == (GoalStatus.STATUS_SUCCEEDED, "stop")


def test_cancelling(rig: Rig, client: ListenClient) -> None:
    rig.load("Listener")
    listening = rig.tap("/ai/listening")
    handle, result = client.send_goal()
    rig.call(handle.cancel_goal_async)
    assert answer(result) == (GoalStatus.STATUS_CANCELED, "", "canceled")
    assert listening[-1] is False
    client.send_goal()


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf"), 61.0])
def test_an_invalid_timeout(rig: Rig, client: ListenClient, timeout_s: float) -> None:
    rig.load("Listener")
    _, result = client.send_goal(timeout_s)
    status, _, problem = answer(result)
    assert status == GoalStatus.STATUS_ABORTED
    assert problem.startswith("timeout_s: expected more than 0 and at most 60, got")


def test_deactivation_ends_the_goal(rig: Rig, client: ListenClient) -> None:
    node = rig.load("Listener")
    _, result = client.send_goal()
    rig.call(node.trigger_deactivate)
    assert answer(result)[2] == "the listener has been deactivated"
    assert answer(client.send_goal()[1])[2] == "the listener is not active"


# Voice activity on demand ----------------------------------------------------------------


class LoudIsSpeech:
    """Stands in for the model: loud windows are speech."""

    inputs = ()

    def infer(self, inputs):
        is_loud = float(np.abs(inputs["input"][0, -512:]).max()) > 0.4
        return {"output": np.array([[float(is_loud)]], np.float32), "stateN": inputs["state"]}

    def close(self) -> None:
        """Do nothing."""


WORD = (0.0, 0.0, 0.5, 0.5, 0.5, *[0.0] * 10)


@pytest.fixture
def publish_word(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    """Load voice activity; return a function that publishes a word and waits for its end."""
    described = type("Described", (), {"name": "loud"})()
    monkeypatch.setattr(voice_activity, "load_speech_model", lambda *given: described)
    monkeypatch.setattr(voice_activity, "open_backend", lambda *given: LoudIsSpeech())
    voice_activity_node = rig.load("VoiceActivity", listening="on_demand")
    node = rig.container.node
    chunks = rig.call(lambda: Publisher(node, AudioChunkAdapter(), "/ai/audio", RELIABLE))
    timings = rig.tap("/ai/stage_timing")
    first_ns, count = node.get_clock().now().nanoseconds, 0

    def publish_word() -> None:
        nonlocal count
        for level in WORD:
            samples = np.full(512, level, np.float32)
            chunks.publish(
                AudioChunk(samples, 16_000, first_ns + count * MS32, count, "microphone")
            )
            count += 1
        wait_for(lambda: len(timings) >= count, "the word worked on")

    publish_word.node = voice_activity_node
    return publish_word


def test_on_demand_detects_speech_only_during_a_goal(
    rig: Rig, client: ListenClient, publish_word
) -> None:
    segments = rig.tap("/ai/speech")
    rig.load("Listener")
    publish_word()
    assert segments == []
    handle, result = client.send_goal()
    publish_word()
    assert segments[-1].is_final
    received = len(segments)
    rig.call(handle.cancel_goal_async)
    answer(result)
    publish_word()
    assert len(segments) == received


def test_speech_while_the_robot_speaks_is_mixed_speech(
    rig: Rig, client: ListenClient, publish_word
) -> None:
    segments, mixed = rig.tap("/ai/speech"), rig.tap("/ai/mixed_speech")
    rig.load("Listener")
    speaking = rig.call(
        lambda: Publisher(rig.container.node, BoolAdapter(), "/robot_speaking", RELIABLE)
    )
    speaking.publish(True)
    client.send_goal()
    publish_word()
    assert segments == []
    assert mixed  # a stop would count


def test_a_request_to_listen_expires(
    rig: Rig, publish_word, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = rig.tap("/ai/speech")
    monkeypatch.setattr(listening_gate, "_REQUEST_VALID_S", 0.0)
    publish_word.node._on_listening(True, BY_REFERENCE)
    publish_word()
    assert segments == []
