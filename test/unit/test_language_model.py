"""A language model generates a plan within the grammar and its time limit, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_inference.core.voice import Intent, IntentArray
from edge_inference.errors import ConfigError, ModelError
from edge_inference.speech.actions.limits_file import read_limits
from edge_inference.speech.actions.table import step_objection
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language_model.constrained_decoding import Constraint, Vocabulary
from edge_inference.speech.language_model.model import LanguageModelSettings, PlanGenerator
from edge_inference.speech.language_model.plan_schema import PlanSchema
from edge_inference.speech.language_model.prompt import Prompt, read_prompt, select_examples
from edge_inference.speech.planning.planner import ActionPlanner
from edge_inference.speech.recognition.speech_model import load_speech_model
from language_doubles import END, PIECES, Decoder, Pieces, Spec, saying

VOICE = Path(__file__).parents[2] / "config" / "voice"
INFERRED = ("direction",)
PROMPT = Prompt(start="{system}\n", ask="{text}?", answer="{plan}\n", end=(END,), system="plans")


@cache
def shipped() -> Grammar:
    return read_grammar(VOICE / "grammar.yaml")


def model_of(
    decoder: Decoder,
    settings: LanguageModelSettings | None = None,
    ticks: Iterator[float] | None = None,
) -> PlanGenerator:
    examples = [("halt right there", "stop")]
    clock = (lambda: next(ticks)) if ticks else (lambda: 0.0)
    return PlanGenerator(
        decoder, Pieces(), shipped(), PROMPT, lambda schema, inferred: examples, settings, clock
    )


def unknown(text: str = "scoot ahead") -> IntentArray:
    return IntentArray(
        (), 0.0, text, "unknown", 7, problem="I do not understand", frame_id="microphone"
    )


def test_plan_becomes_an_intent_that_needs_confirmation() -> None:
    said = unknown("scoot ahead two meters")
    intent = model_of(saying("move direction=forward distance=two meters")).parse(said)
    assert (intent.names, intent.source, intent.needs_confirmation) == (
        ("move",),
        "language_model",
        True,
    )
    assert intent.intents[0].slots["distance"].value == 2.0
    assert (intent.text, intent.stamp_ns, intent.frame_id) == (said.text, 7, "microphone")
    assert (intent.problem, intent.confidence) == ("", pytest.approx(1.0, abs=1e-3))


def test_several_steps_become_several_intents() -> None:
    intent = model_of(saying("turn direction=left; stop")).parse(unknown())
    assert intent.names == ("turn", "stop")
    assert intent.intents[0].slots["direction"].value == "left"
    assert intent.needs_confirmation


@pytest.mark.parametrize("plan", ["stop", "look", "look thing=cup"])
def test_motionless_intent_needs_no_confirmation(plan: str) -> None:
    intent = model_of(saying(plan)).parse(unknown("what about my cup"))
    assert (intent.names, intent.needs_confirmation) == ((plan.partition(" ")[0],), False)


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("scoot ahead two meters", "move direction=forward"),
        ("scoot ahead six miles and look", "look"),
        ("scoot ahead five", "move direction=forward"),
    ],
)
def test_plan_without_a_quantity_of_the_text_is_rejected(text: str, plan: str) -> None:
    intent = model_of(saying(plan)).parse(unknown(text))
    assert (intent.names, intent.problem) == ((), f"I am not sure what {text!r} means")


@pytest.mark.parametrize("plan", ["move direction=forward distance=two meters", "look thing=cup"])
def test_values_outside_the_text_are_impossible(plan: str) -> None:
    assert model_of(saying(plan)).generate("scoot ahead").text != plan


def test_none_leaves_the_text_unknown() -> None:
    assert model_of(saying("none")).parse(unknown()) == unknown()


@pytest.mark.parametrize(
    "text", ["", "do not scoot", "if it rains scoot ahead", "a " * 50, "o" * 500]
)
def test_texts_that_the_model_does_not_get(text: str) -> None:
    decoder = saying("move direction=forward")
    model = model_of(decoder)
    before = decoder.runs
    assert model.parse(unknown(text)) == unknown(text)
    assert decoder.runs == before


def test_low_confidence_is_rejected() -> None:
    intent = model_of(saying("move direction=forward", sure=1.0)).parse(unknown())
    assert (intent.names, intent.problem) == ((), "I am not sure what 'scoot ahead' means")


def test_preference_for_other_text_lowers_confidence() -> None:
    written = model_of(saying("hello there")).generate("scoot ahead")
    assert written.confidence < 0.1
    assert PlanSchema(shipped()).parse(written.text) is not None


def test_time_limit_ends_decoding() -> None:
    ticks = iter(np.arange(0.0, 1000.0, 1.0).tolist())
    settings = LanguageModelSettings(time_limit_s=2.0)
    decoder = saying("move direction=forward; turn direction=left; stop")
    intent = model_of(decoder, settings, ticks).parse(unknown())
    assert intent.names == ()
    assert intent.problem == "I do not understand; the language model took too long"
    assert decoder.runs <= 5


def test_token_limit_ends_decoding() -> None:
    model = model_of(saying("move direction=forward; move direction=forward; stop"))
    model.settings = LanguageModelSettings(max_tokens=8)
    assert model.parse(unknown()).problem.endswith("the language model wrote too much")


def test_prompt_is_processed_once() -> None:
    decoder = saying("stop")
    model = model_of(decoder)
    assert decoder.runs == 1
    assert model.generate("a").text == model.generate("b").text == "stop"
    # Only the text after the prompt: "op" is forced, and then the end follows.
    assert decoder.runs <= 5


def test_tokenizer_without_an_end_token_is_refused() -> None:
    prompt = Prompt(end=("<nothing>",))
    with pytest.raises(ModelError, match=r"none of the end tokens <nothing>.*prompt\.end"):
        PlanGenerator(saying("stop"), Pieces(), shipped(), prompt, lambda schema, inferred: [])


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ([Spec("input_ids", (None, None))], "has no inputs input_ids and past_key_values"),
        ([Spec("pixels", (None, 3))], "has an input 'pixels'"),
        ([Spec("past_key_values.0.key", (None, None, None, 4))], "without a fixed number"),
    ],
)
def test_model_of_another_kind_is_refused(inputs: list[Spec], complaint: str) -> None:
    decoder = saying("stop")
    decoder.inputs = tuple(inputs)
    with pytest.raises(ModelError, match=complaint):
        model_of(decoder)


@given(seed=st.integers(0, 2**32 - 1), sharpness=st.sampled_from([0.0, 1.0, 30.0, 1e6]))
def test_random_scores_give_plans_that_the_planner_accepts(seed: int, sharpness: float) -> None:
    """With random scores the result is a plan of the grammar within the limits."""
    random = np.random.default_rng(seed)

    def answer(text: str) -> NDArray[np.float32]:
        return (random.standard_normal(len(PIECES)) * sharpness).astype(np.float32)

    model = model_of(Decoder(answer), LanguageModelSettings(max_tokens=500, min_model_confidence=0))
    text = "scoot ahead two meters or six feet at half a meter per second with the mug to the door"
    schema, words = PlanSchema(shipped(), 3), tuple(text.split())
    written = model.generate(text)
    if written.problem:
        assert written == type(written)(
            "", 0.0, written.tokens, "the language model wrote too much"
        )
        return
    readings = schema.for_text(words, INFERRED).parse(written.text)
    assert readings is not None, written.text
    assert 0.0 <= written.confidence <= 1.0
    intent = model.parse(unknown(text))
    assert not {"confirm", "deny"} & set(intent.names)
    limits = read_limits(VOICE / "limits.yaml")
    planner = ActionPlanner(limits)
    asked = planner.plan(intent)
    still = set(intent.names) <= {"stop", "look"}
    assert still or (asked.is_refused and not asked.steps)
    for step in planner.plan(IntentArray((Intent("confirm"),), 1.0, "yes", "grammar", 8)).steps:
        assert step_objection(step, limits) == ""


def test_tokens_outside_plans_are_never_allowed() -> None:
    schema = PlanSchema(shipped())
    constraint = Constraint(schema, Vocabulary(Pieces().token_texts(), schema.alphabet))
    numbers, texts = constraint.allowed_tokens(constraint.schema.start)
    assert {"none", "move", "st", "stop", "m"} <= set(texts)
    assert not {"éö", "?", "x", " forward", "hello"} & set(texts)
    assert [PIECES[number] for number in numbers] == list(texts)


# Prompts ------------------------------------------------------------------------------------------


def folder(tmp_path: Path, prompt: str) -> Path:
    files = "".join(
        f"  {r}: {{file: {r}.bin, sha256: {'a' * 64}}}\n" for r in ("decoder", "tokenizer")
    )
    (tmp_path / "speech.yaml").write_text(
        f"task: language_model\nlicense: MIT\nfiles:\n{files}{prompt}"
    )
    return tmp_path


def test_folder_without_a_prompt_has_the_default(tmp_path: Path) -> None:
    prompt, own = read_prompt(load_speech_model(folder(tmp_path, "")))
    assert (prompt, own) == (Prompt(), [])
    shown = prompt.prefix([("halt", "stop")])
    assert shown.startswith("<|im_start|>system\nTranslate")
    assert shown.endswith(
        "<|im_start|>user\nhalt<|im_end|>\n<|im_start|>assistant\nstop<|im_end|>\n<|im_start|>user\n"
    )
    assert prompt.suffix() == "<|im_end|>\n<|im_start|>assistant\n"


def test_examples_of_the_folder_are_validated(tmp_path: Path) -> None:
    text = "prompt:\n  end: [</s>]\n  examples:\n    - {say: fly, plan: fly height=3}\n"
    prompt, own = read_prompt(load_speech_model(folder(tmp_path, text)))
    assert prompt.end == ("</s>",)
    with pytest.raises(ConfigError, match=r"line 9, prompt\.examples.*got 'fly height=3'"):
        select_examples(PlanSchema(shipped()), INFERRED, shipped(), own)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("prompt: {ask: hello}\n", r"ask: expected \{text\} in it, once"),
        ("prompt: {end: []}\n", "end: expected at least one token"),
        ("prompt: {tone: kind}\n", "unknown key"),
        ("prompt: 3\n", "expected a mapping"),
    ],
)
def test_invalid_prompt_is_reported(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_prompt(load_speech_model(folder(tmp_path, text)))


def test_prompt_is_only_for_language_models(tmp_path: Path) -> None:
    file = folder(tmp_path, "prompt: {}\n") / "speech.yaml"
    file.write_text(file.read_text().replace("language_model", "recognition"))
    with pytest.raises(ConfigError, match="prompt: unknown key"):
        load_speech_model(tmp_path)


def test_examples_match_the_grammar(tmp_path: Path) -> None:
    known = select_examples(PlanSchema(shipped()), INFERRED, shipped(), [])
    assert ("rotate left", "turn direction=left") in known
    assert ("i am tired", "none") in known
    file = tmp_path / "grammar.yaml"
    file.write_text("intents:\n  sing: {phrases: [sing a song]}\n")
    other = read_grammar(file)
    shown = select_examples(PlanSchema(other), INFERRED, other, [])
    assert ("sing a song", "sing") in shown
    assert {plan for _, plan in shown} == {"sing", "none"}
