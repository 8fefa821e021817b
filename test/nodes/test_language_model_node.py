"""Exactly one node answers a text outside the grammar, with or without a model."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.health import HealthLevel
from edge_inference.core.voice import Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import TranscriptAdapter
from rig import Rig, wait_for
from tiny_language_models import END, embedding_model, language_model

FORWARD = {"\n": "m", "=": "f", "d": END}


@pytest.fixture
def transcripts(rig: Rig) -> Publisher:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE))


def make_transcript(text: str) -> Transcript:
    return Transcript(text, 0.9, "free", time.time_ns())


def load(rig: Rig, model: str, with_model: bool = True):
    """Load the intent parser and the language model."""
    node = rig.load("LanguageModel", model=model) if with_model else None
    rig.load("IntentParser", language_model=model)
    return node


def test_a_plan_is_executed_after_a_confirmation(
    rig: Rig, transcripts: Publisher, tmp_path: Path
) -> None:
    intents, plans, say = rig.tap("/ai/intent"), rig.tap("/ai/action_plan"), rig.tap("/ai/say")
    rig.load("Planner")
    node = load(rig, str(language_model(tmp_path, FORWARD)))
    spoken = make_transcript("scoot ahead")
    transcripts.publish(spoken)
    (intent,) = intents.wait()
    assert (intent.names, intent.source) == (("move",), "language_model")
    assert intent.stamp_ns == spoken.stamp_ns
    assert plans.wait()[0].is_refused
    assert say.wait() == ["Did you mean: going forward 0.5 meters? Say yes or no"]
    transcripts.publish(make_transcript("yes"))
    assert [(step.action, step.distance_m) for step in plans.wait(2)[1].steps] == [("move", 0.5)]
    assert [each.source for each in intents] == ["language_model", "grammar"]
    assert node.health.notes()["model"] == str(tmp_path)


def test_limits_hold_for_plans_of_a_model(rig: Rig, transcripts: Publisher, tmp_path: Path) -> None:
    plans = rig.tap("/ai/action_plan")
    rig.load("Planner")
    load(rig, str(language_model(tmp_path, {**FORWARD, "d": " ", " ": "d", "s": END})))
    transcripts.publish(make_transcript("scoot ahead ninety meters"))
    (plan,) = plans.wait()
    assert (plan.intent, plan.steps) == ("move", ())
    assert "90 meters is too much" in plan.reason


@pytest.mark.parametrize(
    "text",
    ["go forward", "go forward ten thousand meters", "please stop", "", "yeah", "okay"],
)
def test_the_grammar_answers_its_own_texts(
    rig: Rig, transcripts: Publisher, tmp_path: Path, text: str
) -> None:
    asked, intents = rig.tap("/ai/intent_unknown"), rig.tap("/ai/intent")
    load(rig, str(language_model(tmp_path, FORWARD)))
    transcripts.publish(make_transcript(text))
    (intent,) = intents.wait()
    assert intent.source != "language_model"
    assert asked == []


def test_a_missing_model_is_reported(rig: Rig, transcripts: Publisher) -> None:
    intents, say = rig.tap("/ai/intent"), rig.tap("/ai/say")
    rig.load("Planner")
    node = load(rig, "nowhere")
    status = node.health.status(0)
    assert status.level is HealthLevel.WARN
    assert status.message.startswith(
        "the language model 'nowhere' is not available: unknown speech"
    )
    transcripts.publish(make_transcript("scoot ahead"))
    expected = "I do not understand 'scoot ahead'; the language model 'nowhere' is not available"
    assert [each.problem for each in intents.wait()] == [expected]
    assert say.wait() == [expected]


def test_a_missing_node_is_reported(rig: Rig, transcripts: Publisher) -> None:
    intents = rig.tap("/ai/intent")
    load(rig, "nowhere", with_model=False)
    transcripts.publish(make_transcript("scoot ahead"))
    (intent,) = intents.wait()
    assert intent.problem == (
        "I do not understand 'scoot ahead'; the language model is not running"
    )


def test_a_failing_model_is_reported(rig: Rig, transcripts: Publisher, tmp_path: Path) -> None:
    intents = rig.tap("/ai/intent")
    node = load(rig, str(language_model(tmp_path, FORWARD)))
    rig.call(lambda: node._backend.close())
    transcripts.publish(make_transcript("scoot ahead"))
    assert intents.wait()[0].problem.endswith("; the language model failed")
    wait_for(lambda: node.health.status(0).level is HealthLevel.ERROR, "the fault on show")


def test_the_grammar_can_change(rig: Rig, transcripts: Publisher, tmp_path: Path) -> None:
    """With the other one a plan is another: there, l is for look."""
    grammar = tmp_path / "mine.yaml"
    grammar.write_text("intents:\n  look: {phrases: [eat it all]}\n")
    intents = rig.tap("/ai/intent")
    node = load(rig, str(language_model(tmp_path / "model", {"\n": "l", "k": END})))
    change = [Parameter("grammar", value=str(grammar))]
    assert rig.call(lambda: node.set_parameters(change))[0].successful
    transcripts.publish(make_transcript("scoot ahead"))
    assert intents.wait()[0].names == ("look",)
    bad = [Parameter("grammar", value=str(tmp_path / "nowhere.yaml"))]
    assert not rig.call(lambda: node.set_parameters(bad))[0].successful


# Sentence embeddings ------------------------------------------------------------------------------


def test_a_similar_text_leads_to_a_question(
    rig: Rig, transcripts: Publisher, tmp_path: Path
) -> None:
    intents = rig.tap("/ai/intent")
    rig.load("IntentParser", embedding_model=str(embedding_model(tmp_path)))
    transcripts.publish(make_transcript("around turn"))
    (intent,) = intents.wait()
    assert (intent.names, intent.source, intent.needs_confirmation) == (
        ("turn",),
        "embedding",
        True,
    )


def test_without_the_embedding_model_the_grammar_still_works(
    rig: Rig, transcripts: Publisher
) -> None:
    intents = rig.tap("/ai/intent")
    node = rig.load("IntentParser", embedding_model="nowhere")
    status = node.health.status(0)
    assert status.level is HealthLevel.WARN
    assert status.message.startswith(
        "the embedding model 'nowhere' is not available: unknown speech"
    )
    transcripts.publish(make_transcript("go forward"))
    assert intents.wait()[0].names == ("move",)
