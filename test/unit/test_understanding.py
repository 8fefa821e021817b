"""Understanding of texts by grammar, by letters and by meaning."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.voice import Intent, IntentArray, Transcript
from edge_inference.speech.actions.limits_file import read_limits
from edge_inference.speech.language.grammar import Grammar, GrammarSentence, PhraseReading
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language.understanding import Understanding, UnderstandingSettings
from edge_inference.speech.planning.planner import ActionPlanner

VOICE = Path(__file__).parents[2] / "config" / "voice"


@cache
def shipped() -> Grammar:
    return read_grammar(VOICE / "grammar.yaml")


@cache
def sentences() -> tuple[GrammarSentence, ...]:
    return shipped().sentences()


def transcript(text: str, confidence: float = 0.9) -> Transcript:
    return Transcript(text, confidence, "free", stamp_ns=7, frame_id="microphone")


@cache
def by_grammar() -> Understanding:
    return Understanding(shipped(), UnderstandingSettings(fuzzy=False))


@cache
def with_letters() -> Understanding:
    pytest.importorskip("rapidfuzz", reason="fuzzy matching needs rapidfuzz")
    return Understanding(shipped())


def values(found: IntentArray) -> list[dict[str, float | str]]:
    return [{key: slot.value for key, slot in intent.slots.items()} for intent in found.intents]


@pytest.mark.parametrize(
    ("text", "name", "slots"),
    [
        ("Go forward 10 meters.", "move", {"direction": "forward", "distance": 10.0}),
        ("Move ahead half a metre", "move", {"direction": "forward", "distance": 0.5}),
        ("Please, robot, turn around now!", "turn", {"direction": "around"}),
        ("Okay robot could you go back", "move", {"direction": "backward"}),
        ("turn left ninety", "turn", {"direction": "left", "angle": math.pi / 2}),
        ("Go to the charging station", "go_to", {"place": "charger"}),
        ("What do you see?", "look", {}),
        ("Stop!", "stop", {}),
        ("stop it right there", "stop", {}),
        ("no no no stop", "stop", {}),
        ("Yes.", "confirm", {}),
    ],
)
def test_grammar_is_understood(text: str, name: str, slots: dict[str, float | str]) -> None:
    intent = by_grammar().parse(transcript(text))
    assert (intent.names, intent.problem) == ((name,), "")
    assert values(intent) == [pytest.approx(slots)]
    assert (intent.source, intent.needs_confirmation) == ("grammar", False)
    assert (intent.text, intent.stamp_ns, intent.frame_id) == (text, 7, "microphone")
    assert intent.confidence == 0.9


@pytest.mark.parametrize(
    ("text", "names", "slots"),
    [
        (
            "Go forward two meters, then turn left.",
            ("move", "turn"),
            [{"direction": "forward", "distance": 2.0}, {"direction": "left"}],
        ),
        (
            "go forward two and a half meters and stop",
            ("move", "stop"),
            [{"direction": "forward", "distance": 2.5}, {}],
        ),
        ("look around, then look around", ("look", "look"), [{}, {}]),
    ],
)
def test_each_command_of_a_sentence_is_an_intent(
    text: str, names: tuple[str, ...], slots: list[dict[str, float | str]]
) -> None:
    found = by_grammar().parse(transcript(text))
    assert (found.names, values(found), found.text) == (names, slots, text)


OUTSIDE = [
    ("", "I heard nothing"),
    ("please", "I heard nothing"),
    ("the weather is nice today", "I do not understand 'the weather"),
    ("i went to the kitchen yesterday", "I do not understand"),
    ("do not go forward", "I do not understand"),
    ("don't stop", "I do not understand"),
    ("never turn left", "I do not understand"),
    ("if you go forward", "I do not understand"),
    ("go forward and " * 40, "120 words are too many"),
    ("please " * 101 + "stop", "102 words are too many"),
    ("please " * 10_000, "70000 letters are too many"),
    ("minus " * 10_000 + "two", "letters are too many"),
    ("f" + "o" * 10**6, "letters are too many"),
    ("go forward " + "9" * 400 + " and a half meters", "is not known; known: forward"),
    ("turn light", "side: 'light' is not known"),
    ("go to the moon", "place: 'moon' is not known; known: kitchen"),
    ("go forward 500 meters", "'500 meters' is not from 0.05 to 100 meters"),
    ("go forward ten seconds", "'ten seconds' is not in meters"),
    ("turn left, then go to the moon", "place: 'moon' is not known"),
]


@pytest.mark.parametrize(("text", "problem"), OUTSIDE)
@pytest.mark.parametrize("understanding", [by_grammar, with_letters])
def test_text_outside_the_grammar_has_a_problem(understanding, text: str, problem: str) -> None:
    intent = understanding().parse(transcript(text))
    assert intent.names == ()
    assert problem in intent.problem
    assert ActionPlanner(read_limits(VOICE / "limits.yaml")).plan(intent).is_refused


def test_too_long_text_is_truncated() -> None:
    assert by_grammar().parse(transcript("go " * 10**5)).text == ("go " * 10**5)[:1000]


def test_problem_of_the_transcript_is_kept() -> None:
    nothing = replace(transcript(""), problem="below the threshold")
    assert by_grammar().parse(nothing).problem == "below the threshold"


@pytest.mark.parametrize(
    ("text", "name", "slots"),
    [
        ("go forwad two meeters", "move", {"direction": "forward", "distance": 2.0}),
        ("go to the kitchin", "go_to", {"place": "kitchen"}),
        ("what do you sea", "look", {}),
        ("go forwad a meter then turn left", "move turn", {"direction": "forward"}),
    ],
)
def test_few_wrong_letters_are_accepted(text: str, name: str, slots: dict[str, float]) -> None:
    intent = with_letters().parse(transcript(text))
    assert intent.names == tuple(name.split())
    assert values(intent)[0].items() >= slots.items()
    assert intent.source == "fuzzy"
    assert 0.5 < intent.confidence < 0.9
    assert by_grammar().parse(transcript(text)).names == ()


@pytest.mark.parametrize(
    ("source", "name", "asks"),
    [
        ("grammar", "move", False),
        ("fuzzy", "move", False),
        ("embedding", "move", True),
        ("a new way", "move", True),
        ("embedding", "of another package", True),
        ("embedding", "confirm", True),
        ("embedding", "look", False),
        ("embedding", "stop", False),
    ],
)
def test_only_exact_and_fuzzy_matches_move_without_confirmation(
    source: str, name: str, asks: bool
) -> None:
    made = by_grammar()._make_intents([PhraseReading(name, {})], source, 1.0, transcript("move"))
    assert made.needs_confirmation is asks


def test_a_fuzzy_number_out_of_range_is_a_problem() -> None:
    intent = with_letters().parse(transcript("go forwad 500 meters"))
    assert "'500 meters' is not from" in intent.problem
    assert intent.names == ()


def test_missing_rapidfuzz_disables_fuzzy_matching_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    understanding = Understanding(shipped())
    assert "rapidfuzz is not installed" in understanding.notes[0]
    assert understanding.parse(transcript("what do you sea")).names == ()
    assert understanding.parse(transcript("what do you see")).names == ("look",)


def test_low_confidence_blocks_all_but_stop() -> None:
    strict = Understanding(shipped(), UnderstandingSettings(fuzzy=False, min_confidence=0.5))
    assert "did not hear" in strict.parse(transcript("go forward", 0.4)).problem
    assert strict.parse(transcript("go forward", 0.5)).names == ("move",)
    assert strict.parse(transcript("stop", 0.1)).names == ("stop",)


@pytest.mark.parametrize("confidence", [0.9, 0.1])
def test_stop_after_an_unknown_text_stops(confidence: float) -> None:
    strict = Understanding(shipped(), UnderstandingSettings(fuzzy=False, min_confidence=0.5))
    assert strict.parse(transcript("slow down and stop", confidence)).names == ("stop",)
    assert strict.parse(transcript("slow down and look", confidence)).names == ()


def test_stop_after_a_fuzzy_command_is_its_last_step() -> None:
    pytest.importorskip("rapidfuzz")
    intent = Understanding(shipped()).parse(transcript("go forwward two meters and stop"))
    assert intent.names == ("move", "stop")


def test_stop_words_are_a_setting() -> None:
    settings = UnderstandingSettings(fuzzy=False, stop_words=("whoa",))
    assert Understanding(shipped(), settings).parse(transcript("whoa there")).names == ("stop",)


def embed(texts: Sequence[str]):
    """Return vectors that distinguish only walking and turning."""
    walking = {"go", "walk", "stroll", "move", "way", "forward", "distance"}
    rows = [
        [sum(w in walking for w in text.split()), sum(w not in walking for w in text.split())]
        for text in texts
    ]
    return np.array(rows, np.float32)


def test_match_by_meaning_needs_confirmation() -> None:
    understanding = Understanding(shipped(), UnderstandingSettings(fuzzy=False), embed)
    intent = understanding.parse(transcript("stroll forward two meters"))
    assert (intent.names, intent.source, intent.needs_confirmation) == (
        ("move",),
        "embedding",
        True,
    )
    assert values(intent) == [{"direction": "forward", "distance": 2.0}]
    plan = ActionPlanner(read_limits(VOICE / "limits.yaml")).plan(intent)
    assert plan.is_refused
    assert "Did you mean" in plan.reason


def test_match_by_meaning_needs_exact_values() -> None:
    understanding = Understanding(shipped(), UnderstandingSettings(fuzzy=False), embed)
    assert understanding.parse(transcript("stroll left two meters")).names == ()
    assert understanding.parse(transcript("never stroll forward two meters")).names == ()


def test_ambiguous_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "grammar.yaml"
    file.write_text("intents:\n  a: {phrases: [look there]}\n  b: {phrases: [look where]}\n")
    pytest.importorskip("rapidfuzz", reason="fuzzy matching needs rapidfuzz")
    intent = Understanding(read_grammar(file)).parse(transcript("look here"))
    assert intent.names == ()
    assert "could be a or b" in intent.problem


@given(st.data())
def test_every_sentence_has_its_own_meaning(data: st.DataObject) -> None:
    sentence = data.draw(st.sampled_from(sentences()))
    intent = by_grammar().parse(transcript(f"Please {sentence.text.capitalize()}, now."))
    assert intent.intents == (Intent(sentence.intent, sentence.slots),)


@given(st.data())
def test_two_sentences_are_a_sequence(data: st.DataObject) -> None:
    both = [data.draw(st.sampled_from(sentences())) for _ in range(2)]
    intent = by_grammar().parse(transcript(f"{both[0].text} and then {both[1].text}"))
    assert intent.names == (both[0].intent, both[1].intent)


@given(st.text(max_size=60))
def test_any_text_gives_an_intent_or_a_problem(text: str) -> None:
    intent = with_letters().parse(transcript(text))
    assert bool(intent.names) is not bool(intent.problem)


def test_text_with_a_problem_is_no_command_and_no_answer() -> None:
    beside = Transcript("go forward if not", 0.9, "command", 7, problem="none of the phrases")
    intent = Understanding(shipped()).parse(beside)
    assert (intent.names, intent.text, intent.problem) == ((), "", "none of the phrases")
