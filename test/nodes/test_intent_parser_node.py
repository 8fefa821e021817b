"""Transcripts become intents with the stamp of the speech; an unknown text has a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.voice import IntentSlot, Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import TranscriptAdapter
from rig import Outside, Rig


@pytest.fixture
def transcripts(rig: Rig) -> Publisher:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE))


def make_transcript(text: str, is_final: bool = True, confidence: float = 0.9) -> Transcript:
    return Transcript(text, confidence, "command", 7, is_final, frame_id="microphone")


def test_intents_of_the_grammar(rig: Rig, transcripts: Publisher) -> None:
    intents, timings = rig.tap("/ai/intent"), rig.tap("/ai/stage_timing")
    rig.load("IntentParser")
    transcripts.publish(make_transcript("go forward", is_final=False))
    transcripts.publish(make_transcript("Go forward ten meters."))
    (intent,) = intents.wait()
    assert (intent.names, intent.stamp_ns, intent.frame_id) == (("move",), 7, "microphone")
    assert intent.intents[0].slots["distance"] == IntentSlot("distance", 10.0, "m")
    assert intent.confidence == 0.9
    assert timings.wait()[0].stage == "intent_parser"


@pytest.mark.parametrize("text", ["", "the weather is nice", "go forward ten thousand meters"])
def test_an_unknown_text_has_no_name_but_a_reason(
    rig: Rig, transcripts: Publisher, text: str
) -> None:
    intents = rig.tap("/ai/intent")
    rig.load("IntentParser")
    transcripts.publish(make_transcript(text))
    (intent,) = intents.wait()
    assert (intent.intents, intent.text) == ((), text)
    assert intent.problem


def test_thresholds_can_change(rig: Rig, transcripts: Publisher) -> None:
    intents = rig.tap("/ai/intent")
    node = rig.load("IntentParser")
    rig.call(lambda: node.set_parameters([Parameter("min_confidence", value=0.95)]))
    transcripts.publish(make_transcript("go forward"))
    assert intents.wait()[0].problem == "I did not hear that well"


def test_an_own_grammar(rig: Rig, transcripts: Publisher, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("intents:\n  stop: {phrases: [basta]}\n")
    intents = rig.tap("/ai/intent")
    rig.load("IntentParser", grammar=str(file))
    transcripts.publish(make_transcript("basta"))
    assert intents.wait()[0].names == ("stop",)


@pytest.mark.parametrize("text", ["", "intents: {}\n", "intents: [\n"])
def test_an_invalid_grammar_names_its_file(rig: Rig, tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    component = rig.load_component("IntentParser", grammar=str(file))
    assert component.failure == "did not configure"
    assert str(file) in component.node.health.status(0).message


def test_seen_from_another_process(rig: Rig, transcripts: Publisher, outside: Outside) -> None:
    node = rig.load("IntentParser")
    received = outside.listen("/ai/intent", "edge_inference/IntentArray")
    rig.wait_for_subscribers(node, "/ai/intent")
    transcripts.publish(make_transcript("turn left ninety degrees"))
    message = received.wait()[0]
    (intent,) = message["intents"]
    slots = {slot["name"]: slot for slot in intent["slots"]}
    assert intent["name"] == "turn"
    assert slots["direction"]["text"] == "left"
    assert slots["angle"]["value"] == pytest.approx(1.5708, abs=1e-4)
    assert slots["angle"]["unit"] == "rad"


def test_the_grammar_can_change_and_an_invalid_one_is_refused(
    rig: Rig, transcripts: Publisher, tmp_path: Path
) -> None:
    bad, mine = tmp_path / "bad.yaml", tmp_path / "mine.yaml"
    bad.write_text("intents:\n  look: {phrases: [basta]}\n  stop: {phrases: [basta]}\n")
    mine.write_text("intents:\n  stop: {phrases: [basta]}\n")
    intents = rig.tap("/ai/intent")
    node = rig.load("IntentParser")

    def take(file: Path):
        return rig.call(lambda: node.set_parameters([Parameter("grammar", value=str(file))]))[0]

    answer = take(bad)
    assert not answer.successful
    assert answer.reason.startswith(f"{bad}, lines 2 and 3: 'basta' is said by 'basta' of look and")
    transcripts.publish(make_transcript("go forward"))
    assert intents.wait()[0].names == ("move",)
    assert take(mine).successful
    transcripts.publish(make_transcript("basta"))
    assert intents.wait(2)[1].names == ("stop",)
    assert node.health.notes()["grammar"] == str(mine)
