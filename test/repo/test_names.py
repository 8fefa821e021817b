"""Words and names: the field's own, one for each idea."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tree import PACKAGE, ROOT, module_name, tracked_files

GLOSSARY = Path("docs/glossary.md")
# Texts of others, and this list itself.
NOT_OURS = {GLOSSARY, Path("LICENSE")}
BRITISH = re.compile(
    r"(behaviour|catalogue|centre|colour|favour|flavour|grey|honour|labelled|neighbour"
    r"|(?:deseri|initi|norm|serial|visual|minim|maxim|optim|quant|summar|synthe|token)[a-z]*is(?=e|ing|ation))",
    re.IGNORECASE,
)


def refused_words() -> tuple[str, ...]:
    """Return the words of the glossary that nothing may contain."""
    text = (ROOT / GLOSSARY).read_text()
    table = text.partition("## Words that are never used")[2].partition("\n## ")[0]
    return tuple(re.findall(r"^\| ([a-z -]+) \|", table, re.MULTILINE))


def spellings(word: str) -> str:
    """Return a pattern for a word in prose, snake_case, CamelCase and capitals."""
    parts = re.split("[ -]", word)
    between = "[_-]?" if "-" in word else "[ _-]?"
    lower, camel, upper = (
        between.join(map(change, parts)) for change in (str.lower, str.capitalize, str.upper)
    )
    first = rf"[{lower[0]}{upper[0]}]{lower[1:]}"
    return rf"(?<![A-Za-z]){first}s?(?![a-z])|{camel}s?(?![a-z])|(?<![A-Z]){upper}S?(?![A-Z])"


def refused_in(text: str, words: tuple[str, ...]) -> list[str]:
    """Return the lines that contain one of the words, in any spelling."""
    pattern = re.compile("|".join(map(spellings, words)))
    return [
        f"line {number}: {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def identifiers(source: str) -> Iterator[str]:
    """Yield every name that a module's source uses."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.string


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every text file of the repository that is our own."""
    for name in tracked_files():
        data = (ROOT / name).read_bytes()
        if name not in NOT_OURS and b"\0" not in data[:8192]:
            yield name, data.decode(errors="replace")


def test_no_file_has_a_word_that_the_glossary_refuses() -> None:
    words = refused_words()
    assert {"picture", "flavour", "stand-in", "elsewhere"} <= set(words)
    found = {str(name): refused_in(f"{name}\n{text}", words) for name, text in texts()}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "text",
    [
        "a picture",
        "Pictures",
        "PictureSet",
        "MAX_PICTURES",
        "_stand_in",
        "is_stand_in",
        "Stand-ins",
        "VoiceBook",
        "a voice book",
    ],
)
def test_a_refused_word_is_found(text: str) -> None:
    assert refused_in(text, refused_words()) != []


@pytest.mark.parametrize(
    "text", ["understanding", "stand in a file", "standing", "image", "depicted"]
)
def test_other_words_are_not_refused(text: str) -> None:
    assert refused_in(text, refused_words()) == []


def test_a_class_name_stands_for_one_class() -> None:
    places = defaultdict(list)
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module_name(file))
    assert len(places) > 300
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_identifiers_are_spelt_as_the_field_does() -> None:
    found = {
        str(name): sorted({each for each in identifiers(text) if BRITISH.search(each)})
        for name, text in texts()
        if name.suffix == ".py"
    }
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize("name", ["colour", "QUANTISED", "_optimise", "normalisation", "greyscale"])
def test_another_spelling_is_found(name: str) -> None:
    assert BRITISH.search(name)


@pytest.mark.parametrize("name", ["promise", "noise", "precision", "raises", "advised", "optimize"])
def test_the_fields_spelling_is_not_found(name: str) -> None:
    assert not BRITISH.search(name)
