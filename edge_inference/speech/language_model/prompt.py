"""The prompt of the language model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section, load_yaml
from edge_inference.speech.actions.table import ACTIONS
from edge_inference.speech.language.grammar import Grammar, PhraseReading
from edge_inference.speech.language.text_normalization import split_words
from edge_inference.speech.language_model.plan_schema import NONE, PlanSchema
from edge_inference.speech.recognition.speech_model import DESCRIPTION_FILE, SpeechModel

_SYSTEM = (
    "Translate what is said to a robot into its commands. "
    f"Answer {NONE} for whatever is no command for a robot that moves."
)
#: Examples in words outside the grammar, mixed with conversation: a small model imitates the last
#: examples. Only examples whose plan the grammar knows are used. Their order is the one that was
#: measured, so they are not in the rows of the actions; those have examples of other actions.
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
    """The text around the utterance. The defaults are ChatML, as in SmolLM2 and Qwen2.5."""

    system: str = setting(_SYSTEM, "task of the model", max_length=65_536)
    start: str = setting(
        "<|im_start|>system\n{system}<|im_end|>\n",
        "start of the prompt; {system} is the text above",
    )
    ask: str = setting(
        "<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n",
        "one utterance: {text}",
    )
    answer: str = setting("{plan}<|im_end|>\n", "the answer: {plan}")
    end: tuple[str, ...] = setting(
        ("<|im_end|>", "<|endoftext|>"), "names of the tokens that end an answer"
    )

    def check(self) -> str | None:
        """Return the missing placeholder, or None."""
        for name, position in (("start", "{system}"), ("ask", "{text}"), ("answer", "{plan}")):
            if getattr(self, name).count(position) != 1:
                return f"{name}: expected {position} in it, once"
        if not self.end:
            return "end: expected at least one token"
        return None

    def prefix(self, examples: list[tuple[str, str]]) -> str:
        """Return the prompt before the utterance."""
        shown = "".join(
            self.ask.replace("{text}", text) + self.answer.replace("{plan}", plan)
            for text, plan in examples
        )
        return self.start.replace("{system}", self.system) + shown + self.ask.split("{text}")[0]

    def suffix(self) -> str:
        """Return the prompt after the utterance."""
        return self.ask.split("{text}")[1]


@dataclass(frozen=True)
class _Example:
    say: str = setting(description="the utterance")
    plan: str = setting(description="the expected plan, or none")


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
    """Return texts and their plans: the model's own examples, else built-in ones.

    If the grammar knows none of the built-in plans, the examples are sentences of the grammar, one
    for each form of a step. Raises ConfigError for one of the model's own examples with an invalid
    plan.
    """

    def fits(text: str, plan: str) -> bool:
        return schema.for_text(split_words(text), inferred).parse(plan) is not None

    for text, plan, section in own:
        if not fits(text, plan):
            raise section.error(
                "plan", f"expected a plan of this grammar with values from {text!r}, got {plan!r}"
            )
    if own:
        return [(text, plan) for text, plan, _ in own]
    others = [example for action in ACTIONS.rows().values() for example in action.examples]
    # Conversation remains the last.
    built_in = [*_EXAMPLES[:-1], *others, _EXAMPLES[-1]]
    known = [(text, plan) for text, plan in built_in if fits(text, plan)]
    if any(plan != NONE for _, plan in known):
        return known
    found: dict[tuple[str, frozenset[str]], tuple[str, str]] = {}
    for sentence in grammar.sentences():
        key = sentence.intent, frozenset(sentence.slots)
        if key not in found:
            reading = PhraseReading(sentence.intent, sentence.slots)
            generated = schema.for_text(split_words(sentence.text), inferred).format([reading])
            if generated:
                found[key] = sentence.text, generated
    return [*found.values(), *known]
