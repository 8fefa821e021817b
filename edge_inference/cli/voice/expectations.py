"""What should become of the sentences of sound files, and whether it did.

A file in YAML says it, beside the sound::

    pause_s: 3.5                     # of silence after each file
    sentences:
      - file: turn_left.flac         # files are heard in the order of their names
        said: turn left ninety degrees
        text: turn left ninety degrees   # recognised; empty: no command
        intent: turn
        slots: {direction: left, angle: 1.5708}
        steps: [turn 1.5708 rad 0.5 rad/s]
        held: [0.5 rad/s]            # velocities that last, in their order; ramps left out
        turned_rad: 1.5708           # way_m and turned_rad: all in all, to 5 %; may be left out
      - file: stop.flac
        …
        stopped: true                # moving before, zero at once
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.cli.voice.utterance_tracker import Utterance, format_step
from edge_inference.cli.voice.velocity_record import CommandedMotion, format_velocity
from edge_inference.core.yaml_file import Section, load_yaml

EXPECTED_FILE = "expected.yaml"

_LONGEST_PAUSE_S = 600.0
#: Velocities go out 25 times a second: that much of a way can be seen early or late.
_WAY = 0.05
_SAME = 1e-3
_KEYS = (
    ("file", str),
    ("said", str),
    ("text", str),
    ("intent", str),
    ("slots", Section),
    ("steps", list),
    ("held", list),
    ("way_m", (int, float)),
    ("turned_rad", (int, float)),
    ("stopped", bool),
)


@dataclass(frozen=True)
class ExpectedSentence:
    """What should become of one file."""

    file: str
    said: str
    text: str
    intent: str = ""
    slots: dict[str, Any] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    way_m: float | None = None
    turned_rad: float | None = None
    stopped: bool = False

    def differences(self, utterance: Utterance, moves: CommandedMotion) -> list[str]:
        """Return what came out in another way, each in words."""
        came = utterance.as_json()
        pairs = [
            ("text", self.text, _plain(came["text"])),
            ("intent", self.intent, came["intent"]),
            ("steps", list(self.steps), came["steps"]),
            ("held", list(self.held), [format_velocity(velocity) for velocity, _ in moves.held]),
            ("stopped", self.stopped, moves.stopped),
        ]
        found = [
            f"{name}: expected {wanted!r}, got {got!r}"
            for name, wanted, got in pairs
            if wanted != got
        ]
        if not _are_same(self.slots, came["slots"]):
            found.append(f"slots: expected {self.slots}, got {came['slots']}")
        for name, wanted, got in (
            ("way_m", self.way_m, moves.way_m),
            ("turned_rad", self.turned_rad, moves.turned_rad),
        ):
            if wanted is not None and abs(got - wanted) > max(0.01, _WAY * abs(wanted)):
                found.append(f"{name}: expected {wanted:g}, got {got:.3f}")
        return found


@dataclass(frozen=True)
class Expectation:
    """What should become of the sentences, in the order in which they are heard."""

    sentences: tuple[ExpectedSentence, ...]
    pause_s: float


@dataclass(frozen=True)
class SentenceResult:
    """One sentence and what became of it. ``wrong`` says what differs; empty if nothing does.

    ``sentence`` is None for an utterance that nobody expected, ``utterance`` for a sentence that
    was not heard.
    """

    sentence: ExpectedSentence | None
    utterance: Utterance | None
    moves: CommandedMotion
    wrong: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return it in words."""
        sentence, utterance = self.sentence, self.utterance
        head = f'{sentence.file}, "{sentence.said}"' if sentence is not None else "another sound"
        rows = []
        if utterance is not None:
            came = utterance.as_json()
            slots = ", ".join(f"{name} {_short(value)}" for name, value in came["slots"].items())
            heard = f'"{came["text"]}" ({came["confidence"] or 0:.2f})'
            times = ", ".join(f"{stage} {ms:.0f}" for stage, ms in utterance.after_ms.items())
            rows = [
                ("heard", heard if came["text"] else f"no command: {utterance.reason}"),
                ("meaning", f"{came['intent']} {slots}".strip() or "none"),
                ("plan", _plan_words(utterance)),
                ("velocity", str(self.moves)),
                ("times", f"{times} ms after the last word"),
            ]
        rows += [("verdict", "WRONG: " + "; ".join(self.wrong) if self.wrong else "right")]
        return [head, *(f"  {name:<9}{words}" for name, words in rows)]

    def as_json(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            **({} if self.utterance is None else self.utterance.as_json()),
            "file": None if self.sentence is None else self.sentence.file,
            "said": None if self.sentence is None else self.sentence.said,
            "velocities": self.moves.as_json(),
            "wrong": list(self.wrong),
        }


def compare_sentence(
    sentence: ExpectedSentence | None, utterances: Sequence[tuple[Utterance, CommandedMotion]]
) -> list[SentenceResult]:
    """Compare what a file was expected to say with what was heard while it was played."""
    if sentence is not None and not utterances:
        return [SentenceResult(sentence, None, CommandedMotion(), ("nothing was heard",))]
    found: list[SentenceResult] = []
    for utterance, moves in utterances:
        if sentence is None or found:
            wrong = [f'not expected: "{utterance.as_json()["text"]}"']
            found.append(SentenceResult(None, utterance, moves, tuple(wrong)))
        else:
            wrong = sentence.differences(utterance, moves)
            found.append(SentenceResult(sentence, utterance, moves, tuple(wrong)))
    return found


def load_expectation(file: Path) -> Expectation:
    """Read the file; raises ConfigError with the line of what is wrong."""
    top = load_yaml(file)
    top.require_known("pause_s", "sentences")
    pause_s = top.get("pause_s", 1.0)
    if not _is_number(pause_s) or not 0.0 <= pause_s <= _LONGEST_PAUSE_S:
        raise top.error("pause_s", f"expected seconds up to {_LONGEST_PAUSE_S:g}, got {pause_s!r}")
    sentences = tuple(map(_sentence, top.section_list("sentences")))
    if not sentences:
        raise top.error("sentences", "expected at least one")
    return Expectation(sentences, float(pause_s))


def _sentence(section: Section) -> ExpectedSentence:
    section.require_known(*(name for name, _ in _KEYS))
    for name in ("file", "said", "text"):
        if name not in section:
            raise section.error(None, f"{name} is missing")
    for name, kind in _KEYS:
        value = section.get(name)
        if value is not None and not isinstance(value, kind):
            raise section.error(name, f"got {value!r}, which is of the wrong kind")
    values = section.plain()
    for name in ("steps", "held"):
        values[name] = tuple(map(str, values.get(name, ())))
    return ExpectedSentence(**values)


def _plan_words(utterance: Utterance) -> str:
    plan = utterance.plan
    if plan is None:
        return "none"
    words = ", then ".join(map(format_step, plan.steps)) or f"none: {plan.reason}"
    return f"{words}, but not done: {utterance.problem}" if utterance.problem else words


def _plain(text: str) -> str:
    """Leave out capitals and punctuation, which recognisers put in."""
    return " ".join("".join(c for c in text.lower() if c.isalnum() or c in " '").split())


def _are_same(expected: dict[str, Any], came: dict[str, Any]) -> bool:
    return expected.keys() == came.keys() and all(
        math.isclose(value, came[name], rel_tol=_SAME)
        if _is_number(value) and _is_number(came[name])
        else value == came[name]
        for name, value in expected.items()
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
