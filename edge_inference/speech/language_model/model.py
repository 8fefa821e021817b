"""Texts outside the grammar, understood by a small language model that can only write plans."""

from __future__ import annotations

import re
import string
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from edge_inference.core.settings import setting
from edge_inference.core.voice import Intent
from edge_inference.errors import ModelError
from edge_inference.speech.language.grammar import Grammar, PhraseReading
from edge_inference.speech.language.intent_sequence import join_intents
from edge_inference.speech.language.stop_phrases import NEGATIONS_AND_CONDITIONS
from edge_inference.speech.language.text_normalization import split_words
from edge_inference.speech.language_model.constrained_decoding import (
    Constraint,
    DecodedPlan,
    DecodingLimits,
    Vocabulary,
    decode_plan,
)
from edge_inference.speech.language_model.decoder import LanguageDecoder
from edge_inference.speech.language_model.json_tokenizer import JsonTokenizer
from edge_inference.speech.language_model.plan_atoms import find_quantities
from edge_inference.speech.language_model.plan_schema import PlanSchema
from edge_inference.speech.language_model.prompt import Prompt
from edge_inference.speech.model_runner import ModelRunner

SOURCE = "language_model"
#: Intents that move nothing, so that nobody is asked first.
MOTIONLESS_INTENTS = frozenset({"stop", "look"})
#: Characters of quantities as they are said.
_IN_QUANTITIES = string.ascii_lowercase + string.digits + " .-/°"
#: A longer text is talk, not a command.
MAX_WORDS = 40
MAX_CHARACTERS = 400


@dataclass(frozen=True)
class LanguageModelSettings:
    """How far the language model is trusted, and how long it may take."""

    max_steps: int = setting(
        3, "most steps of a plan that the model writes", minimum=1, maximum=8, read_only=True
    )
    inferred_slots: tuple[str, ...] = setting(
        ("direction",), "slots whose value need not be said; all others are read from the text"
    )
    max_tokens: int = setting(
        96, "most tokens of a plan; a longer one is given up", minimum=8, maximum=1024
    )
    time_limit_s: float = setting(
        2.0,
        "time after which a plan is given up, seen to after every token; with recognition it has "
        "to stay below max_age_s of the limits",
        unit="s",
        minimum=0.1,
        maximum=60.0,
    )
    min_model_confidence: float = setting(
        0.4,
        "lowest confidence of the model, the mean probability of a token, for a plan",
        minimum=0.0,
        maximum=1.0,
    )


class PlanGenerator:
    """Understands a text by writing a plan. May be used from one thread at a time.

    The prompt is read once, when this is made. ``clock`` gives rising seconds.
    """

    def __init__(
        self,
        decoder: ModelRunner,
        tokens: JsonTokenizer,
        grammar: Grammar,
        prompt: Prompt,
        examples: Callable[[PlanSchema, Collection[str]], list[tuple[str, str]]],
        settings: LanguageModelSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or LanguageModelSettings()
        self._schema = PlanSchema(grammar, self.settings.max_steps)
        self._clock = clock
        self._tokens = tokens
        self._vocabulary = Vocabulary(tokens.texts(), {*self._schema.alphabet, *_IN_QUANTITIES})
        found = {name: tokens.number(name) for name in prompt.end}
        self._end_ids = [number for number in found.values() if number is not None]
        if not self._end_ids:
            raise ModelError(
                f"the tokenizer has none of the tokens {', '.join(prompt.end)} that end an answer; "
                "name the right ones in prompt.end"
            )
        self._behind = prompt.behind()
        self._read = LanguageDecoder(decoder)
        shown = examples(self._schema, self.settings.inferred_slots)
        self._read.read(tokens.encode(prompt.before(shown), whole=True))

    def parse(self, unknown: Intent) -> Intent:
        """Return what is meant by a text that is outside the grammar.

        What moves needs confirmation. A name that is empty has a ``problem`` in words.
        """
        words = split_words(unknown.text[: MAX_CHARACTERS + 1])
        is_talk = len(unknown.text) > MAX_CHARACTERS or len(words) > MAX_WORDS
        if not words or is_talk or NEGATIONS_AND_CONDITIONS.intersection(words):
            # To leave out a not or an if turns a text around.
            return unknown
        schema = self._schema.for_text(words, self.settings.inferred_slots)
        written = self._write(words, schema)
        if written.problem:
            return replace(unknown, problem=f"{unknown.problem}; {written.problem}")
        readings = schema.parse(written.text)
        assert readings is not None, "what was written is a plan"
        if not readings:
            return unknown
        is_sure = written.confidence >= self.settings.min_model_confidence
        if not is_sure or not _has_quantities(written.text, words):
            return replace(unknown, problem=f"I am not sure what {unknown.text!r} means")
        return join_intents([_intent(reading, unknown, written.confidence) for reading in readings])

    def generate(self, text: str) -> DecodedPlan:
        """Return the plan that the model writes for a text."""
        words = split_words(text)
        return self._write(words, self._schema.for_text(words, self.settings.inferred_slots))

    def _write(self, words: Sequence[str], schema: PlanSchema) -> DecodedPlan:
        settings = self.settings
        deadline_s = self._clock() + settings.time_limit_s
        model = self._read.copy()
        scores = model.read(self._tokens.encode(" ".join(words) + self._behind))
        bounds = DecodingLimits(settings.max_tokens, deadline_s, self._clock)
        constraint = Constraint(schema, self._vocabulary)
        return decode_plan(model, scores, constraint, self._tokens.encode, self._end_ids, bounds)


def _has_quantities(plan: str, words: Sequence[str]) -> bool:
    """Tell whether a plan has every quantity that was said: without one it is another command.

    A bare one is a pronoun as often as a number.
    """
    said = {
        " ".join(words[start : quantity.end])
        for start, quantity in find_quantities(words)
        if quantity.unit or words[start] != "one"
    }
    return all(re.search(rf"={re.escape(each)}(?= \w+=|;|$)", plan) for each in said)


def _intent(reading: PhraseReading, unknown: Intent, confidence: float) -> Intent:
    return replace(
        unknown,
        name=reading.intent,
        slots=reading.slots,
        confidence=confidence,
        source=SOURCE,
        needs_confirmation=reading.intent not in MOTIONLESS_INTENTS,
        problem="",
    )
