"""What a language model is told before the text that it is to understand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section, load_yaml
from edge_inference.speech.language.grammar import Grammar, PhraseReading
from edge_inference.speech.language.text_normalization import split_words
from edge_inference.speech.language_model.plan_schema import NONE, PlanSchema
from edge_inference.speech.recognition.speech_model import DESCRIPTION_FILE, SpeechModel

_SYSTEM = (
    "Translate what is said to a robot into its commands. "
    f"Answer {NONE} for whatever is no command for a robot that moves."
)
#: In words that a grammar does not have, and mixed with talk: a small model imitates what it has
#: read last. Only those are shown whose plan a grammar knows.
_EXAMPLES = (
    ("move ahead", "move direction=forward"),
    ("nice weather today", NONE),
    ("drive forward two meters", "move direction=forward distance=two meters"),
    ("go back a meter", "move direction=backward distance=a meter"),
    ("rotate left", "turn direction=left"),
    ("who won the match", NONE),
    ("make a turn of ninety degrees to the right", "turn direction=right angle=ninety degrees"),
    ("keep going for five seconds", "move direction=forward duration=five seconds"),
    ("turn yourself around", "turn direction=around"),
    ("my sister likes tea", NONE),
    ("drive over to the kitchen", "go_to place=kitchen"),
    ("find my mug", "look thing=cup"),
    ("what is around you", "look"),
    ("halt right there", "stop"),
    ("the train was late again", NONE),
    ("come to the desk please", "go_to place=desk"),
    ("reverse three meters", "move direction=backward distance=three meters"),
    ("i am tired", NONE),
)


@dataclass(frozen=True)
class Prompt:
    """The text around what is said. The defaults are ChatML, as SmolLM2 and Qwen2.5 have it."""

    system: str = setting(_SYSTEM, "what the model is for", longest=65_536)
    start: str = setting(
        "<|im_start|>system\n{system}<|im_end|>\n", "the beginning; {system} is the text above"
    )
    ask: str = setting(
        "<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n",
        "one thing that is said: {text}",
    )
    answer: str = setting("{plan}<|im_end|>\n", "the answer to it: {plan}")
    end: tuple[str, ...] = setting(
        ("<|im_end|>", "<|endoftext|>"), "tokens, by name, with which the model ends an answer"
    )

    def check(self) -> str | None:
        """Say which place is missing."""
        for name, place in (("start", "{system}"), ("ask", "{text}"), ("answer", "{plan}")):
            if getattr(self, name).count(place) != 1:
                return f"{name}: expected {place} in it, once"
        if not self.end:
            return "end: expected at least one token"
        return None

    def before(self, examples: list[tuple[str, str]]) -> str:
        """Return the prompt up to the text that is to be understood."""
        shown = "".join(
            self.ask.replace("{text}", text) + self.answer.replace("{plan}", plan)
            for text, plan in examples
        )
        return self.start.replace("{system}", self.system) + shown + self.ask.split("{text}")[0]

    def behind(self) -> str:
        """Return what follows the text that is to be understood."""
        return self.ask.split("{text}")[1]


@dataclass(frozen=True)
class _Example:
    say: str = setting(description="what is said")
    plan: str = setting(description="the plan that is meant, or none")


def read_prompt(model: SpeechModel) -> tuple[Prompt, list[tuple[str, str, Section]]]:
    """Read the ``prompt`` section of a model's description, and the examples in it.

    Raises ConfigError with file, line and key.
    """
    top = load_yaml(Path(model.folder) / DESCRIPTION_FILE)
    if "prompt" not in top:
        return Prompt(), []
    section = top.section("prompt")
    prompt = section.read(Prompt, "examples")
    found = []
    for each in section.section_list("examples") if "examples" in section else ():
        example = each.read(_Example)
        found.append((example.say, example.plan, each))
    return prompt, found


def select_examples(
    schema: PlanSchema,
    inferred: Collection[str],
    grammar: Grammar,
    own: list[tuple[str, str, Section]],
) -> list[tuple[str, str]]:
    """Return texts and their plans: the model's own, else some that the grammar knows.

    Where it knows none of those, they are sentences of the grammar, one for every form of a step.
    Raises ConfigError for one of the model's own that is no plan for its text.
    """

    def fits(text: str, plan: str) -> bool:
        return schema.for_text(split_words(text), inferred).parse(plan) is not None

    for text, plan, section in own:
        if not fits(text, plan):
            raise section.error(
                "plan", f"{plan!r} is no plan with this grammar that has its values from {text!r}"
            )
    if own:
        return [(text, plan) for text, plan, _ in own]
    known = [(text, plan) for text, plan in _EXAMPLES if fits(text, plan)]
    if any(plan != NONE for _, plan in known):
        return known
    found: dict[tuple[str, frozenset[str]], tuple[str, str]] = {}
    for sentence in grammar.sentences():
        key = sentence.intent, frozenset(sentence.slots)
        if key not in found:
            reading = PhraseReading(sentence.intent, sentence.slots)
            written = schema.for_text(split_words(sentence.text), inferred).write([reading])
            if written:
                found[key] = sentence.text, written
    return [*found.values(), *known]
