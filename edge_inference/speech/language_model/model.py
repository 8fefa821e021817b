"""Understands texts outside the grammar with a small language model that only generates plans."""

from __future__ import annotations

import re
import string
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from edge_inference.core.settings import setting
from edge_inference.core.voice import Intent, IntentArray
from edge_inference.errors import ModelError
from edge_inference.speech.actions.table import may_move
from edge_inference.speech.language.grammar import Grammar
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
#: Characters of spoken quantities.
_IN_QUANTITIES = string.ascii_lowercase + string.digits + " .-/°"
#: A longer text is conversation, not a command.
MAX_WORDS = 40
MAX_CHARACTERS = 400


@dataclass(frozen=True)
class LanguageModelSettings:
    """Limits and thresholds of the language model."""

    max_steps: int = setting(
        3, "most steps of a generated plan", minimum=1, maximum=8, read_only=True
    )
    inferred_slots: tuple[str, ...] = setting(
        ("direction",),
        "slots whose value the model may infer; the values of all others must be in the text",
    )
    max_tokens: int = setting(
        96, "most tokens of a plan; longer plans are rejected", minimum=8, maximum=1024
    )
    time_limit_s: float = setting(
        2.0,
        "time limit of a plan, checked after every token; together with recognition it must stay "
        "below max_age_s of the limits",
        unit="s",
        minimum=0.1,
        maximum=60.0,
    )
    min_model_confidence: float = setting(
        0.4,
        "lowest accepted confidence of a plan: the mean probability of a token",
        minimum=0.0,
        maximum=1.0,
    )


class PlanGenerator:
    """Understands a text by generating a plan. Not thread-safe.

    The constructor processes the prompt once. ``clock`` returns monotonic seconds.
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
        self._vocabulary = Vocabulary(
            tokens.token_texts(), {*self._schema.alphabet, *_IN_QUANTITIES}
        )
        found = {name: tokens.token_id(name) for name in prompt.end}
        self._end_ids = [number for number in found.values() if number is not None]
        if not self._end_ids:
            raise ModelError(
                f"the tokenizer has none of the end tokens {', '.join(prompt.end)}; "
                "set prompt.end to the model's end tokens"
            )
        self._suffix = prompt.suffix()
        self._prompt_decoder = LanguageDecoder(decoder)
        prompt_examples = examples(self._schema, self.settings.inferred_slots)
        self._prompt_decoder.read(
            tokens.encode(prompt.prefix(prompt_examples), add_special_tokens=True)
        )

    def parse(self, unknown: IntentArray) -> IntentArray:
        """Return the intents of a text outside the grammar.

        If one may move the robot, they need confirmation. Without any there is a ``problem``.
        """
        words = split_words(unknown.text[: MAX_CHARACTERS + 1])
        is_too_long = len(unknown.text) > MAX_CHARACTERS or len(words) > MAX_WORDS
        if not words or is_too_long or NEGATIONS_AND_CONDITIONS.intersection(words):
            # The model must not drop a negation or condition: it changes the meaning of the text.
            return unknown
        schema = self._schema.for_text(words, self.settings.inferred_slots)
        generated = self._generate(words, schema)
        if generated.problem:
            return replace(unknown, problem=f"{unknown.problem}; {generated.problem}")
        readings = schema.parse(generated.text)
        assert readings is not None, "generated text is a valid plan"
        if not readings:
            return unknown
        is_sure = generated.confidence >= self.settings.min_model_confidence
        if not is_sure or not _has_quantities(generated.text, words):
            return replace(unknown, problem=f"I am not sure what {unknown.text!r} means")
        return replace(
            unknown,
            intents=tuple(Intent(reading.intent, reading.slots) for reading in readings),
            confidence=generated.confidence,
            source=SOURCE,
            needs_confirmation=any(may_move(reading.intent) for reading in readings),
            problem="",
        )

    def generate(self, text: str) -> DecodedPlan:
        """Return the generated plan for a text."""
        words = split_words(text)
        return self._generate(words, self._schema.for_text(words, self.settings.inferred_slots))

    def _generate(self, words: Sequence[str], schema: PlanSchema) -> DecodedPlan:
        settings = self.settings
        deadline_s = self._clock() + settings.time_limit_s
        model = self._prompt_decoder.copy()
        scores = model.read(self._tokens.encode(" ".join(words) + self._suffix))
        bounds = DecodingLimits(settings.max_tokens, deadline_s, self._clock)
        constraint = Constraint(schema, self._vocabulary)
        return decode_plan(model, scores, constraint, self._tokens.encode, self._end_ids, bounds)


def _has_quantities(plan: str, words: Sequence[str]) -> bool:
    """Tell whether a plan has every quantity of the text: without one it is another command.

    "One" without a unit does not count: it is a pronoun as often as a number.
    """
    spoken = {
        " ".join(words[start : quantity.end])
        for start, quantity in find_quantities(words)
        if quantity.unit or words[start] != "one"
    }
    return all(re.search(rf"={re.escape(each)}(?= \w+=|;|$)", plan) for each in spoken)
