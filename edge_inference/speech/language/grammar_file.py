"""Reads a grammar from its YAML file; errors name file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edge_inference.core.bounded_file import read_text
from edge_inference.core.settings import setting, suggestion
from edge_inference.core.voice import IntentSlot
from edge_inference.core.yaml_file import BoundedLoader, Section, load_yaml
from edge_inference.errors import ConfigError
from edge_inference.speech.language.grammar import Grammar, Phrase
from edge_inference.speech.language.numbers import spell_number
from edge_inference.speech.language.phrase import find_placeholders, parse_phrase
from edge_inference.speech.language.slot_kinds import (
    NumberKind,
    NumberSettings,
    SlotKind,
    WordKind,
    list_phrasings,
)
from edge_inference.speech.language.text_normalization import split_words

_MAX_WORDS = 20
_NAME = re.compile(r"[^\W\d]\w*")
_Synonyms = Mapping[str, list[tuple[str, ...]]]


@dataclass(frozen=True)
class _Around:
    """The words of a grammar around and between commands."""

    ignored: tuple[str, ...] = setting((), "words around a command without meaning")
    joiners: tuple[str, ...] = setting((), "words between two commands")


def read_grammar(file: Path) -> Grammar:
    """Read a grammar file. Raises ConfigError with file and line."""
    top = load_yaml(file)
    around = top.read(_Around, "synonyms", "slots", "intents")
    kinds = {name: _kind(name, s) for name, s in _sections(top, "slots").items()}
    synonyms = _synonyms(top)
    lines = _phrase_lines(file)
    phrases: list[Phrase] = []
    for name, intent in top.sections("intents").items():
        if not _NAME.fullmatch(name):
            raise top.section("intents").error(
                name, "expected an intent name of letters, digits and _"
            )
        phrases += _phrases(name, intent, kinds, synonyms, lines.get(name, []))
    if not phrases:
        raise top.error("intents", "expected at least one intent, got none")
    return Grammar(file, phrases, kinds, around.ignored, around.joiners)


def _sections(top: Section, key: str) -> dict[str, Section]:
    return top.sections(key) if key in top else {}


def _synonyms(top: Section) -> _Synonyms:
    if "synonyms" not in top:
        return {}
    section = top.section("synonyms")
    found = {}
    for word in section:
        if split_words(word) != (word,):
            raise section.error(word, "expected one lower-case word as key")
        found[word] = [split_words(text) for text in _texts(section, word)]
        for phrasing in found[word]:
            _check_length(section, word, phrasing)
    return found


def _kind(name: str, section: Section) -> SlotKind:
    kind = section.get("type")
    if kind == "number":
        settings = section.read(NumberSettings, "type")
        _check_spoken(section, settings)
        return NumberKind(name, settings)
    if kind != "words":
        raise section.error("type", f"expected number or words, got {kind!r}")
    section.require_known("type", "values")
    values = section.get("values")
    if isinstance(values, Section):
        said = {value: list_phrasings(value, _texts(values, value)) for value in values}
    else:
        said = {value: list_phrasings(value, ()) for value in _texts(section, "values")}
    if not said:
        raise section.error("values", "expected at least one value, got none")
    _check_values(section, said)
    return WordKind(name, said)


def _check_spoken(section: Section, settings: NumberSettings) -> None:
    for number in settings.spoken:
        try:
            spell_number(number)
        except ValueError as error:
            raise section.error("spoken", str(error)) from error


def _check_values(section: Section, said: Mapping[str, list[tuple[str, ...]]]) -> None:
    owner: dict[tuple[str, ...], str] = {}
    for value, phrasings in said.items():
        for phrasing in phrasings:
            if not phrasing:
                raise section.error("values", f"{value!r} has no word")
            _check_length(section, "values", phrasing)
            other = owner.setdefault(phrasing, value)
            if other != value:
                text = " ".join(phrasing)
                raise section.error("values", f"{text!r} stands for both {other!r} and {value!r}")


def _check_length(section: Section, key: str, phrasing: tuple[str, ...]) -> None:
    if len(phrasing) > _MAX_WORDS:
        raise section.error(key, f"expected at most {_MAX_WORDS} words, got {len(phrasing)}")


def _texts(section: Section, key: str) -> list[str]:
    """Return the list of texts at a key."""
    values = section.get(key)
    if not isinstance(values, list):
        raise section.error(key, f"expected a list of texts, got {values!r}")
    for value in values:
        _require_text(section, key, value)
    return values


def _require_text(section: Section, key: str, value: Any) -> None:
    if not isinstance(value, str):
        raise section.error(key, f"expected a text, got {value!r}; put it in quotes")


def _phrases(
    intent: str,
    section: Section,
    kinds: Mapping[str, SlotKind],
    synonyms: _Synonyms,
    lines: list[int],
) -> list[Phrase]:
    section.require_known("phrases")
    items = section.get("phrases")
    if not isinstance(items, list) or not items:
        raise section.error("phrases", "expected a list with at least one phrase")
    found = []
    for line, item in zip(lines, items, strict=True):
        try:
            found.append(_phrase(intent, item, kinds, synonyms, line))
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            where = f"{section.file}, line {line}, {section.path}.phrases"
            raise ConfigError(f"{where}: {error}") from error
    return found


def _phrase(
    intent: str, item: Any, kinds: Mapping[str, SlotKind], synonyms: _Synonyms, line: int
) -> Phrase:
    fixed: dict[str, IntentSlot] = {}
    text = item
    if isinstance(item, Section):
        item.require_known("say", "slots")
        text = item.get("say")
        values = item.section("slots")
        for name in values:
            _require_text(values, name, values[name])
            fixed[name] = IntentSlot(name, values[name])
    if not isinstance(text, str):
        raise ValueError(f"expected a text, got {text!r}; put it in quotes")
    elements = parse_phrase(text, synonyms)
    for placeholder in find_placeholders(elements):
        if placeholder.kind not in kinds:
            raise ValueError(
                f"unknown slot {placeholder.kind!r}{suggestion(placeholder.kind, kinds)}"
            )
        if placeholder.slot in fixed:
            raise ValueError(f"the slot {placeholder.slot!r} is both a placeholder and fixed")
    return Phrase(intent, text, elements, fixed, line)


def _phrase_lines(file: Path) -> dict[str, list[int]]:
    """Return the line of every phrase, by intent; the loader of YAML files drops line numbers."""
    root = yaml.compose(read_text(file), Loader=BoundedLoader)
    intents = _child(root, "intents")
    found = {}
    for key, node in intents.value if isinstance(intents, yaml.MappingNode) else []:
        phrases = _child(node, "phrases")
        items = phrases.value if isinstance(phrases, yaml.SequenceNode) else []
        found[key.value] = [item.start_mark.line + 1 for item in items]
    return found


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)
