"""The expected results of the sentences in audio files, and the comparison with the actual ones.

A YAML file beside the audio files holds them::

    pause_s: 3.5                     # of silence after each file
    sentences:
      - file: turn_left.flac         # files are played in the order of their names
        said: turn left ninety degrees
        text: turn left ninety degrees   # the transcript; empty: no command
        intents:
          - {name: turn, slots: {direction: left, angle: 1.5708}}
        steps: [turn 1.5708 rad 0.5 rad/s]
        held: [0.5 rad/s]            # velocities that are held, in their order, without ramps
        angle_rad: 1.5708           # optional: distance_m and angle_rad in total, to 5 %
      - file: stop.flac
        …
        stopped: true                # velocity drops from motion to zero at once
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.cli.voice.utterance_tracker import (
    Utterance,
    format_intents,
    format_step,
)
from edge_inference.cli.voice.velocity_record import CommandedMotion, format_velocity
from edge_inference.core.yaml_file import Section, load_yaml

EXPECTED_FILE = "expected.yaml"

_MAX_PAUSE_S = 600.0
#: Velocities are published 25 times a second, so a motion may seem longer or shorter by this.
_DISTANCE_TOLERANCE = 0.05
_SLOT_TOLERANCE = 1e-3
_KEYS = (
    ("file", str),
    ("said", str),
    ("text", str),
    ("intents", list),
    ("steps", list),
    ("held", list),
    ("distance_m", (int, float)),
    ("angle_rad", (int, float)),
    ("stopped", bool),
)


@dataclass(frozen=True)
class ExpectedIntent:
    """An expected intent; numbers of ``slots`` are in SI."""

    name: str
    slots: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExpectedSentence:
    """The expected result of one file."""

    file: str
    said: str
    text: str
    intents: tuple[ExpectedIntent, ...] = ()
    steps: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    distance_m: float | None = None
    angle_rad: float | None = None
    stopped: bool = False

    def differences(self, utterance: Utterance, moves: CommandedMotion) -> list[str]:
        """Return a line for each difference."""
        actual = utterance.as_json()
        pairs = [
            ("text", self.text, _normalize(actual["text"])),
            ("steps", list(self.steps), actual["steps"]),
            ("held", list(self.held), [format_velocity(velocity) for velocity, _ in moves.held]),
            ("stopped", self.stopped, moves.stopped),
        ]
        found = [
            f"{name}: expected {expected!r}, got {got!r}"
            for name, expected, got in pairs
            if expected != got
        ]
        intents = [{"name": intent.name, "slots": intent.slots} for intent in self.intents]
        if not _are_equal(intents, actual["intents"]):
            found.append(f"intents: expected {intents}, got {actual['intents']}")
        for name, expected, got in (
            ("distance_m", self.distance_m, moves.distance_m),
            ("angle_rad", self.angle_rad, moves.angle_rad),
        ):
            if expected is not None and abs(got - expected) > max(
                0.01, _DISTANCE_TOLERANCE * abs(expected)
            ):
                found.append(f"{name}: expected {expected:g}, got {got:.3f}")
        return found


@dataclass(frozen=True)
class Expectation:
    """The expected results of all sentences, in the order in which they are played."""

    sentences: tuple[ExpectedSentence, ...]
    pause_s: float


@dataclass(frozen=True)
class SentenceResult:
    """One sentence and its result. ``wrong`` holds the differences; empty if there are none.

    ``sentence`` is None for an utterance that was not expected, ``utterance`` is None for a
    sentence that was not recognized.
    """

    sentence: ExpectedSentence | None
    utterance: Utterance | None
    moves: CommandedMotion
    wrong: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        sentence, utterance = self.sentence, self.utterance
        head = (
            f'{sentence.file}, "{sentence.said}"' if sentence is not None else "unexpected speech"
        )
        rows = []
        if utterance is not None:
            actual = utterance.as_json()
            text = f'"{actual["text"]}" ({actual["confidence"] or 0:.2f})'
            times = ", ".join(f"{stage} {ms:.0f}" for stage, ms in utterance.after_ms.items())
            rows = [
                ("text", text if actual["text"] else f"no command: {utterance.reason}"),
                ("intents", format_intents(actual["intents"]) or "none"),
                ("plan", _format_plan(utterance)),
                ("velocity", str(self.moves)),
                ("times", f"{times} ms after the last word"),
            ]
        rows += [("result", "WRONG: " + "; ".join(self.wrong) if self.wrong else "right")]
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
    """Compare the expected sentence of a file with the utterances while it was played."""
    if sentence is not None and not utterances:
        return [SentenceResult(sentence, None, CommandedMotion(), ("nothing was recognized",))]
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
    """Read the file; raises ConfigError with the line of an error."""
    top = load_yaml(file)
    top.require_known("pause_s", "sentences")
    pause_s = top.get("pause_s", 1.0)
    if not _is_number(pause_s) or not 0.0 <= pause_s <= _MAX_PAUSE_S:
        raise top.error("pause_s", f"expected 0 to {_MAX_PAUSE_S:g} seconds, got {pause_s!r}")
    sentences = tuple(map(_read_sentence, top.section_list("sentences")))
    if not sentences:
        raise top.error("sentences", "expected at least one")
    return Expectation(sentences, float(pause_s))


def _read_sentence(section: Section) -> ExpectedSentence:
    section.require_known(*(name for name, _ in _KEYS))
    for name in ("file", "said", "text"):
        if name not in section:
            raise section.error(None, f"{name} is missing")
    for name, kind in _KEYS:
        value = section.get(name)
        if value is not None and not isinstance(value, kind):
            raise section.error(name, f"expected {_describe_type(kind)}, got {value!r}")
    values = section.plain()
    for name in ("steps", "held"):
        values[name] = tuple(map(str, values.get(name, ())))
    if "intents" in section:
        values["intents"] = tuple(map(_read_intent, section.section_list("intents")))
    return ExpectedSentence(**values)


def _read_intent(section: Section) -> ExpectedIntent:
    section.require_known("name", "slots")
    name = section.get("name")
    if not isinstance(name, str):
        raise section.error("name", f"expected a text, got {name!r}")
    return ExpectedIntent(name, section.section("slots").plain() if "slots" in section else {})


def _describe_type(kind: type[Any] | tuple[type[Any], ...]) -> str:
    names = {str: "a text", list: "a list", bool: "true or false"}
    return "a number" if isinstance(kind, tuple) else names[kind]


def _format_plan(utterance: Utterance) -> str:
    plan = utterance.plan
    if plan is None:
        return "none"
    text = ", then ".join(map(format_step, plan.steps)) or f"none: {plan.reason}"
    return f"{text}, but not executed: {utterance.problem}" if utterance.problem else text


def _normalize(text: str) -> str:
    """Remove capitals and punctuation, which recognizers add."""
    return " ".join("".join(c for c in text.lower() if c.isalnum() or c in " '").split())


def _are_equal(expected: Any, actual: Any) -> bool:
    """Tell whether plain values are equal, numbers within a tolerance."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(
            _are_equal(value, actual[name]) for name, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(_are_equal, expected, actual))
    if _is_number(expected) and _is_number(actual):
        return math.isclose(expected, actual, rel_tol=_SLOT_TOLERANCE)
    return bool(expected == actual)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
