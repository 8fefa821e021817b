"""The schema accepts the plans of a grammar and nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.voice import IntentSlot
from edge_inference.speech.language.grammar import Grammar, PhraseReading
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language_model.plan_schema import PlanSchema

VOICE = Path(__file__).parents[2] / "config" / "voice"


@cache
def shipped() -> Grammar:
    return read_grammar(VOICE / "grammar.yaml")


@cache
def schema() -> PlanSchema:
    return PlanSchema(shipped(), max_steps=3)


def grammar_of(folder: Path, text: str) -> Grammar:
    file = folder / "grammar.yaml"
    file.write_text(text)
    return read_grammar(file)


def accepts(of: PlanSchema, text: str) -> bool:
    state = of.advance(of.start, text)
    return state is not None and of.is_complete(state)


@pytest.mark.parametrize(
    "plan",
    [
        "none",
        "stop",
        "look",
        "look thing=cup",
        "go_to place=kitchen",
        "move direction=forward",
        "move direction=forward distance=2 meters",
        "move direction=backward distance=50 centimeters speed=0.25 meters per second",
        "move direction=forward duration=3 seconds",
        "turn direction=left angle=90 degrees; move direction=forward; stop",
        "place thing=box place=desk",
    ],
)
def test_valid_plans(plan: str) -> None:
    assert accepts(schema(), plan)
    assert schema().parse(plan) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "none; stop",
        "stop; none",
        "stop;",
        "stop; ",
        "stop ",
        "move",
        "move distance=2 meters",
        "move direction=up",
        "move direction=forward distance=2",
        "move direction=forward distance=2 degrees",
        "move direction=forward distance=02 meters",
        "move direction=forward distance=2. meters",
        "move direction=forward distance=-2 meters",
        "move direction=forward distance=100.01 meters",
        "move direction=forward distance=0.04 meters",
        "move direction=forward distance=1 meters",
        "move direction=forward distance=2 meters duration=3 seconds",
        "turn direction=around angle=90 degrees",
        "go_to place=moon",
        "confirm",
        "deny",
        "stop; stop; stop; stop",
    ],
)
def test_invalid_plans(text: str) -> None:
    assert not accepts(schema(), text)
    assert schema().parse(text) is None


@pytest.mark.parametrize(
    "distance", ["0.05 meters", "100 meters", "5 centimeters", "0.1 kilometers"]
)
def test_the_bounds_themselves_are_allowed(distance: str) -> None:
    plan = f"move direction=forward distance={distance}"
    (reading,) = schema().parse(plan) or ()
    assert 0.05 <= float(reading.slots["distance"].value) <= 100.0
    assert reading.slots["distance"].unit == "m"


def test_values_below_zero(tmp_path: Path) -> None:
    of = PlanSchema(
        grammar_of(
            tmp_path,
            "slots:\n  level: {type: number, minimum: -3, maximum: 0.5}\n"
            "intents:\n  tilt: {phrases: ['tilt {level}']}\n",
        )
    )
    for level in ("-3", "-0.25", "0", "0.5"):
        assert accepts(of, f"tilt level={level}"), level
    for level in ("-3.01", "-4", "0.51", "1", "--1", "-"):
        assert not accepts(of, f"tilt level={level}"), level
    assert of.advance(of.start, "tilt level=-4") is None


def test_values_without_a_text_are_excluded(tmp_path: Path) -> None:
    of = PlanSchema(
        grammar_of(
            tmp_path,
            "slots:\n  grain: {type: number, minimum: 0.001, maximum: 0.002}\n"
            "  odd: {type: words, values: {'a;b': [], 'c=d': []}}\n"
            "intents:\n  none: {phrases: [nothing]}\n  grind: {phrases: ['grind {grain}']}\n"
            "  take: {phrases: ['take {odd}']}\n  stop: {phrases: [stop]}\n",
        )
    )
    assert [accepts(of, text) for text in ("stop", "none", "grind", "take odd=a;b")] == [
        True,
        True,
        False,
        False,
    ]
    assert of.parse("none") == ()


def test_every_phrase_round_trips() -> None:
    answers = {"confirm", "deny"}
    plans: set[str] = set()
    written = 0
    for sentence in shipped().sentences():
        if sentence.intent in answers:
            continue
        plan = schema().format([PhraseReading(sentence.intent, sentence.slots)])
        assert plan is not None, sentence
        (reading,) = schema().parse(plan) or ()
        assert reading.intent == sentence.intent
        assert set(reading.slots) == set(sentence.slots)
        for name, slot in sentence.slots.items():
            assert reading.slots[name].value == (
                pytest.approx(slot.value) if isinstance(slot.value, float) else slot.value
            )
        plans.add(plan)
        written += 1
    assert written > 500
    assert len(plans) > 50
    assert [plan for plan in plans if not accepts(schema(), plan)] == []


@pytest.mark.parametrize(
    ("text", "plan", "is_one"),
    [
        ("scoot ahead six feet", "move direction=forward distance=six feet", True),
        ("scoot ahead six feet", "move direction=backward", True),
        ("scoot ahead six feet", "move direction=forward distance=2 meters", False),
        ("scoot ahead six feet", "move direction=forward distance=six", False),
        ("scoot ahead six miles", "move direction=forward distance=six miles", False),
        ("hand me my mug", "pick thing=cup", True),
        ("hand me my mug", "pick thing=mug", False),
        ("hand me my mug", "pick thing=ball", False),
        ("twenty five degrees to the left", "turn direction=left angle=twenty five degrees", True),
        ("twenty five degrees to the left", "turn direction=left angle=five degrees", False),
        ("whatever", "none", True),
        ("whatever", "turn direction=around", True),
    ],
)
def test_values_come_from_the_text(text: str, plan: str, is_one: bool) -> None:
    restricted = schema().for_text(tuple(text.split()), ["direction"])
    assert accepts(restricted, plan) is is_one
    assert (restricted.parse(plan) is not None) is is_one


def test_a_quantity_keeps_its_value() -> None:
    restricted = schema().for_text(["scoot", "ahead", "six", "feet"], ["direction"])
    (reading,) = restricted.parse("move direction=forward distance=six feet") or ()
    assert reading.slots["distance"] == IntentSlot("distance", pytest.approx(1.8288), "m")
    assert restricted.format([reading]) == "move direction=forward distance=six feet"


def test_no_step_is_none() -> None:
    assert schema().format([]) == "none"
    assert schema().format([PhraseReading("fly", {})]) is None


def test_forced_text() -> None:
    of = schema()
    for prefix, rest in (("mo", "ve direction="), ("move direction=b", "ackward"), ("st", "op")):
        state = of.advance(of.start, prefix)
        assert state is not None
        assert of.forced_text(state) == rest


@given(st.data())
def test_every_valid_prefix_can_be_completed(data: st.DataObject) -> None:
    """A random walk by characters has no dead end, and a complete text is a plan."""
    of = schema()
    state, text = of.start, ""
    for _ in range(data.draw(st.integers(0, 120))):
        options = [c for c in of.alphabet if of.advance(state, c) is not None]
        if of.is_complete(state):
            assert of.parse(text) is not None
            if not options:
                break
        assert options, f"{text!r} leads nowhere"
        character = data.draw(st.sampled_from(options))
        after = of.advance(state, character)
        assert after is not None
        state, text = after, text + character


def test_max_steps_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="max_steps: expected at least 1, got 0"):
        PlanSchema(shipped(), max_steps=0)
