"""Speech while the robot itself speaks, and expected answers."""

from __future__ import annotations

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.voice import Intent, IntentArray
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.audio import SpeechSegmentAdapter
from edge_inference.nodes.conversions.voice import IntentArrayAdapter
from recognizer_rig import FakeCommandMode, Opened, make_segment, replace_models
from rig import Rig, wait_for

MAYBE = IntentArray((Intent("move"),), 0.9, "go", "embedding", 7, needs_confirmation=True)


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Opened]:
    return replace_models(monkeypatch)


@pytest.fixture
def speech(rig: Rig) -> Publisher:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, SpeechSegmentAdapter(), "/ai/speech", RELIABLE))


@pytest.fixture
def mixed(rig: Rig) -> Publisher:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, SpeechSegmentAdapter(), "/ai/mixed_speech", RELIABLE))


@pytest.mark.parametrize("is_final", [True, False])
def test_of_mixed_speech_only_a_stop_is_published(
    rig: Rig, mixed: Publisher, speech: Publisher, is_final: bool
) -> None:
    transcripts = rig.tap("/ai/transcript")
    node = rig.load("SpeechRecognition", stop_words=["level ten"])
    mixed.publish(make_segment(0.5))
    wait_for(lambda: node.health.drop_counts().get("robot_speaking") == 1, "a command to be left")
    mixed.publish(make_segment(10.0, stamp_ns=8, is_final=is_final))
    (transcript,) = transcripts.wait()
    assert (transcript.text, transcript.is_final) == ("level ten", is_final)
    assert (transcript.stamp_ns, transcript.start_ns) == (8, 5)
    assert transcript.problem == "the robot itself spoke meanwhile"  # so no node answers it
    speech.publish(make_segment(0.5, stamp_ns=9))
    assert transcripts.wait(2)[1].text == "go forward"


def test_mixed_speech_is_no_answer_to_a_question(
    rig: Rig, speech: Publisher, mixed: Publisher
) -> None:
    node = rig.load("SpeechRecognition")
    ask = rig.call(
        lambda: Publisher(rig.container.node, IntentArrayAdapter(), "/ai/intent", RELIABLE)
    )
    ask.publish(MAYBE)
    speech.publish(make_segment(0.5))
    wait_for(
        lambda: node._model.transcriber.command_mode.expects_answer, "an answer to be listened for"
    )
    mixed.publish(make_segment(0.5))
    wait_for(
        lambda: not node._model.transcriber.command_mode.expects_answer, "none of the robot's own"
    )


def test_another_mode_or_activation_ends_the_wait_for_an_answer(
    rig: Rig, speech: Publisher
) -> None:
    node = rig.load("SpeechRecognition", mode="both")
    ask = rig.call(
        lambda: Publisher(rig.container.node, IntentArrayAdapter(), "/ai/intent", RELIABLE)
    )

    def is_asked() -> bool:
        speech.publish(make_segment(0.5))
        wait_for(lambda: FakeCommandMode.working.acquire(blocking=False), "the speech judged")
        return node._model.transcriber.command_mode.expects_answer

    def question() -> None:
        ask.publish(MAYBE)
        assert is_asked()

    question()
    rig.call(lambda: node.set_parameters([Parameter("mode", value="command")]))
    assert not is_asked()
    question()
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_activate)
    assert not is_asked()
