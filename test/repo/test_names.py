"""Words and names: those of the field, one for each idea."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tree import PACKAGE, ROOT, package_sources, text_of, tracked_files

GLOSSARY = Path("docs/glossary.md")
# Texts of others, and the files that list the words.
EXEMPT_FILES = {GLOSSARY, Path("LICENSE"), Path(__file__).relative_to(ROOT)}
SEPARATORS = str.maketrans("", "", " -_")
BRITISH = re.compile(
    r"analys(?=e|ing)|armour|artefact|behaviour|catalogue|centre|colour|favour|flavour|grey|honour"
    r"|labell|licence|metre(?!r)|modell|neighbour|signall|travell"
    r"|(?:deseri|factor|final|general|initi|local|maxim|minim|norm|optim|organ|penal|priorit|public"
    r"|quant|real|recogn|serial|special|standard|stabil|summar|synchron|synthe|token|visual)"
    r"[a-z]*is(?=e|ing|ation)",
    re.IGNORECASE,
)
MESSAGE_FIELD = re.compile(r"^\s*[\w/]+(?:<=\d+)?(?:\[[^\]]*\])?\s+(\w+)", re.MULTILINE)
YAML_KEY = re.compile(r"^[\s-]*([\w./-]+):(?:\s|$)", re.MULTILINE)
# A string that is one name: a key, an option, a parameter.
NAME_LITERAL = re.compile(r"""[rbf]*["']-{0,2}([a-z][a-z0-9]*[_-][a-z0-9_-]+)["']""")
PARAMETER_ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
# The bounds of values are called min_… and max_….
BOUND = re.compile(r"(?:least|most|lowest|highest|shortest|longest|smallest|largest)_")
# Files of these folders apply a module to one purpose and have its name: the node of a function,
# the command of a function, the messages of a type.
ADAPTER_FOLDERS = {
    "cli/commands",
    "nodes/conversions",
    "nodes/conversions/results",
    "nodes/observe",
    "nodes/perception",
    "nodes/platform",
    "nodes/voice",
}
# Names that are clear only with their folder, each with a reason.
REPEATED_FILE_NAMES = {
    "decoder": "of tokens, for speech recognition and for the language model",
    "model": "the model folder, and the language model",
    "power_mode": "its sensor and its actuator",
    "registry": "of decoders, and of actuators",
    "run": "of the perception pipeline, and of the voice pipeline",
    "settings": "how settings are declared, and those of the governor",
}


@cache
def refused_words() -> tuple[str, ...]:
    """Return the words of the glossary that no file may contain."""
    text = (ROOT / GLOSSARY).read_text()
    table = text.partition("## Words that are never used")[2].partition("\n## ")[0]
    return tuple(re.findall(r"^\| ([a-z -]+) \|", table, re.MULTILINE))


def spellings(word: str) -> str:
    """Return a pattern for a word in prose, snake_case, CamelCase and capitals."""
    parts = re.split("[ -]", word)
    # "stand in" is a verb with another meaning than "stand-in".
    separator = "[_-]?" if "-" in word else "[ _-]?"
    lower, camel, upper = (
        separator.join(map(change, parts)) for change in (str.lower, str.capitalize, str.upper)
    )
    first = rf"[{lower[0]}{upper[0]}]{lower[1:]}"
    return rf"(?<![A-Za-z]){first}s?(?![a-z])|{camel}s?(?![a-z])|(?<![A-Z]){upper}S?(?![A-Z])"


@cache
def refused_pattern() -> re.Pattern[str]:
    return re.compile("|".join(map(spellings, refused_words())))


def refused_in(text: str) -> list[str]:
    """Return the lines that contain a refused word in any spelling."""
    # Most files contain no such letters at all, and the pattern is slow.
    letters = text.lower().translate(SEPARATORS)
    if not any(word.translate(SEPARATORS) in letters for word in refused_words()):
        return []
    return [
        f"line {number}: {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), start=1)
        if refused_pattern().search(line)
    ]


def names_in(file: Path, text: str) -> Iterator[str]:
    """Yield the path of a file, and its identifiers: of Python, of messages, of YAML keys."""
    yield str(file)
    if file.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.string
            elif token.type == tokenize.STRING:
                yield from NAME_LITERAL.findall(token.string)
    elif file.suffix in (".msg", ".action"):
        yield from MESSAGE_FIELD.findall(text)
    elif file.suffix in (".yaml", ".yml"):
        yield from YAML_KEY.findall(text)


def british_names_in(file: Path, text: str) -> set[str]:
    """Return the names of a file that are not spelt in American English."""
    # The tokenizer is slow, and most files have no such letters even in their prose.
    if not BRITISH.search(f"{file}\n{text}"):
        return set()
    return {name for name in names_in(file, text) if BRITISH.search(name)}


def modules_of_classes(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the modules in which each public class name is defined."""
    modules = defaultdict(list)
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(module)
    return dict(modules)


def file_names_that_repeat(files: Iterable[Path]) -> dict[str, list[str]]:
    """Return the module names that more than one file has, without packages and adapters."""
    places = defaultdict(list)
    for file in files:
        is_adapter = file.parent.as_posix() in ADAPTER_FOLDERS
        if file.stem != "__init__" and not is_adapter:
            places[file.stem].append(file.as_posix())
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_file_has_a_word_that_the_glossary_refuses() -> None:
    assert len(refused_words()) >= 10
    texts = {name: text_of(name) or "" for name in tracked_files() if name not in EXEMPT_FILES}
    assert Path("README.md") in texts
    faults = {
        str(name): [*refused_in(str(name)), *refused_in(text)] for name, text in texts.items()
    }
    assert {name: lines for name, lines in faults.items() if lines} == {}


@pytest.mark.parametrize(
    "text",
    [
        "a picture",
        "Pictures",
        "PictureSet",
        "MAX_PICTURES",
        "load_pictures()",
        "_stand_in",
        "is_stand_in",
        "Stand-ins",
        "VoiceBook",
        "a voice book",
        "public_graph.py",
    ],
)
def test_a_refused_word_is_found(text: str) -> None:
    assert refused_in(f"one line\n{text}\n") == [f"line 2: {text}"]


@pytest.mark.parametrize(
    "text", ["understanding", "stand in a file", "standing", "image", "depicted", "outlooking"]
)
def test_other_words_are_not_refused(text: str) -> None:
    assert refused_in(text) == []


def test_a_class_name_stands_for_one_class() -> None:
    modules = modules_of_classes(package_sources())
    assert len(modules) > 300
    assert {name: found for name, found in modules.items() if len(found) > 1} == {}


def test_classes_of_the_same_name_are_found() -> None:
    sources = {"a": "class A: ...\nclass _B: ...", "b": "class A:\n    class C: ...\nclass _B: ..."}
    assert modules_of_classes(sources) == {"A": ["a", "b"], "C": ["b"]}


def test_a_file_name_stands_for_one_module() -> None:
    files = [file.relative_to(PACKAGE) for file in sorted(PACKAGE.rglob("*.py"))]
    folders = {file.parent.as_posix() for file in files}
    assert folders >= ADAPTER_FOLDERS
    repeated = file_names_that_repeat(files)
    assert {name: repeated[name] for name in repeated if name not in REPEATED_FILE_NAMES} == {}
    assert REPEATED_FILE_NAMES.keys() - repeated.keys() == set()


def test_a_repeated_file_name_is_found() -> None:
    names = ("core/frame.py", "nodes/perception/frame.py", "cli/__init__.py", "core/__init__.py")
    files = [Path(name) for name in names]
    assert file_names_that_repeat(files) == {}
    files.append(Path("engines/frame.py"))
    assert file_names_that_repeat(files) == {"frame": ["core/frame.py", "engines/frame.py"]}


def test_names_are_spelt_in_american_english() -> None:
    texts = {name: text_of(name) or "" for name in tracked_files() if name not in EXEMPT_FILES}
    faults = {str(name): sorted(british_names_in(name, text)) for name, text in texts.items()}
    assert {name: names for name, names in faults.items() if names} == {}


def test_bounds_among_parameters_and_keys_are_min_and_max() -> None:
    names = set(PARAMETER_ROW.findall(text_of(Path("docs/parameters.md")) or ""))
    assert "max_age_ms" in names
    for file in tracked_files():
        if file.suffix in (".yaml", ".msg", ".action"):
            names |= set(names_in(file, text_of(file) or ""))
    assert {name for name in names if BOUND.match(name)} == set()


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("a.py", "colour = 1", "colour"),
        ("a.py", "# a colour\nQUANTISED = 1", "QUANTISED"),
        ("a.py", "def _optimise(normalisation): ...", "_optimise"),
        ("a.py", "def f(normalisation): ...", "normalisation"),
        ("a.py", "class Greyscale: ...", "Greyscale"),
        ("a.py", "add('--colour-map', 1)", "colour-map"),
        ("a.py", "licence: str", "licence"),
        ("A.msg", "# colour\nfloat32[<=4] centre  # pixels", "centre"),
        ("a.yaml", "a:\n  - colour: red", "colour"),
        ("labelled.py", "", "labelled.py"),
    ],
)
def test_a_british_name_is_found(file: str, text: str, name: str) -> None:
    assert name in british_names_in(Path(file), text)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.py", "promise = noise = precision = advised = optimize"),
        ("a.py", "# the colour\n'''a grey image'''\nsay('the centre of the image')"),
        ("a.py", "perimeter = parameters = publisher = organism"),
        ("A.msg", "float32 mean  # centre"),
        ("a.yaml", "color: grey  # the colour: grey"),
        ("a.md", "colour"),
    ],
)
def test_other_names_and_prose_are_not_refused(file: str, text: str) -> None:
    assert british_names_in(Path(file), text) == set()
