"""Reads the names of classes from the forms in which they are published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from edge_inference.core.bounded_file import read_text
from edge_inference.core.yaml_file import BoundedLoader
from edge_inference.errors import ConfigError

#: Maximum number of a class in a numbering, so that a gap in it cannot fill the memory.
_MAX_NUMBER = 65535
#: Maximum length of a structured file, which PyYAML reads slowly.
_MAX_YAML_CHARACTERS = 1 << 18

#: Keys under which other tools list the classes: Ultralytics, Transformers, timm, PaddleDetection.
_KEYS = ("names", "id2label", "label_names", "label_list", "labels", "classes")
_ITEM = re.compile(r"\bitem\s*(?::\s*)?\{([^{}]*)\}")
_FIELD = re.compile(
    r"\b(id|name|display_name)\s*:\s*(-?\d+|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"
)
_NUMBERED = re.compile(r"(\d{1,6})(\s*[:,;=]\s*|\s+)(.*\S)")


class LabelsError(ConfigError):
    """A file of labels cannot be used."""


class _TextLoader(BoundedLoader):
    """Reads every scalar as text: ``no`` and ``7`` are names of classes."""

    yaml_implicit_resolvers: dict[str, Any] = {}


def read_labels_file(file: Path) -> tuple[str, ...]:
    """Read a file of labels, see :func:`parse_labels`. Raises LabelsError."""
    try:
        return parse_labels(read_text(file))
    except OSError as error:
        raise LabelsError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise LabelsError(f"{file} {error}") from error


def parse_labels(text: str) -> tuple[str, ...]:
    """Return the labels in a text, by class number. Raises ValueError.

    The text has one label a line; or numbered lines such as ``0 person``, ``0: person`` or
    ``1,person``; or a JSON or YAML list or mapping, at the top or under ``names`` as in a data set
    of Ultralytics or ``id2label`` as in Transformers; or the items of a TensorFlow label map.
    A numbering starts at 0 or 1. A class that it leaves out has its number as label.
    """
    lines = text.strip("\n \t").split("\n")
    lines = [line.strip() for line in lines]
    if lines == [""]:
        raise ValueError("is empty; expected one label a line")
    for read in (_label_map, _numbered_lines, _structured):
        labels = read(text, lines)
        if labels is not None:
            return labels
    if "" in lines:
        number = text.split("\n").index(next(filter(str.strip, text.split("\n"))))
        raise ValueError(
            f"has an empty line, line {number + lines.index('') + 1}; expected one label a line"
        )
    return tuple(lines)


def labels_of(value: object) -> tuple[str, ...] | None:
    """Return the labels of a list or mapping of Python or JSON, None if it is neither.

    A mapping is from numbers to names, or from names to numbers.
    """
    if isinstance(value, dict) and "0" not in value and 0 not in value:
        found = (value[key] for key in _KEYS if isinstance(value.get(key), list | dict))
        value = next(found, value)
    if isinstance(value, list | tuple):
        names = [_name(item) for item in value]
        return None if not names or None in names else tuple(map(str, names))
    if not isinstance(value, dict):
        return None
    numbered = {_number(key): _name(item) for key, item in value.items()}
    if None in numbered:
        numbered = {_number(item): _name(key) for key, item in value.items()}
    if None in numbered or None in numbered.values() or len(numbered) != len(value):
        return None
    return _in_order({int(str(key)): str(name) for key, name in numbered.items()})


def _label_map(text: str, lines: list[str]) -> tuple[str, ...] | None:
    """Read a TensorFlow label map: ``item { id: 1 name: 'person' }``."""
    if not re.match(r"item\s*(?::\s*)?\{", next(filter(_is_content, lines), "")):
        return None
    numbered: dict[int, str] = {}
    for item in _ITEM.findall(text):
        fields: dict[str, str] = dict(_FIELD.findall(item))
        name = _unquote(fields.get("display_name", fields.get("name", "")))
        if "id" not in fields or not name:
            raise ValueError("is a label map with an item without id or name; complete it")
        numbered[int(fields["id"])] = name
    return _in_order(numbered)


def _is_content(line: str) -> bool:
    return bool(line) and not line.startswith("#")


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]).strip() if text[:1] in ("'", '"') else text


def _numbered_lines(text: str, lines: list[str]) -> tuple[str, ...] | None:
    """Read ``0: person``, ``0 person`` or ``1,person`` lines.

    Labels may begin with numbers themselves ("1 euro", "2 euro", "10 euro"), so a blank as
    separator needs numbers without a gap, and distinct names.
    """
    found = [_NUMBERED.fullmatch(line) for line in lines if line]
    rows = [(int(row[1]), row[2].strip(), _bare(row[3])) for row in found if row is not None]
    if len(rows) != len(found) or len(rows) < 2 or min(row[0] for row in rows) > 1:
        return None
    numbered = {number: name for number, _, name in rows}
    if len(numbered) != len(rows):
        return None
    is_dense = max(numbered) - min(numbered) == len(numbered) - 1
    if any(not separator for _, separator, _ in rows) and not (
        is_dense and len(set(numbered.values())) == len(numbered)
    ):
        return None
    return _in_order(numbered)


def _bare(name: str) -> str:
    """Return a name without a comma at its end, and without quotes around it."""
    name = name.removesuffix(",").rstrip()
    return _unquote(name) if len(name) > 2 and name[0] == name[-1] and name[0] in "'\"" else name


def _structured(text: str, lines: list[str]) -> tuple[str, ...] | None:
    """Read JSON or YAML: a list, a mapping of numbers to names, or either under a known key."""
    is_list = (lines[0][:1], lines[-1][-1:]) in (("{", "}"), ("[", "]")) or all(
        line.startswith("- ") for line in lines if _is_content(line)
    )
    has_key = any(re.match(rf"({'|'.join(_KEYS)})\s*:", line) for line in lines)
    if not is_list and not has_key:
        return None
    if len(text) > _MAX_YAML_CHARACTERS:
        raise ValueError(
            f"has {len(text)} characters of YAML or JSON; expected at most {_MAX_YAML_CHARACTERS}, "
            "or one label a line"
        )
    try:
        value = yaml.load(text, _TextLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "invalid YAML"
        raise ValueError(f"has no readable list of labels{where}: {problem}") from error
    labels = labels_of(value)
    if labels is None:
        raise ValueError(
            "has no list of labels, and no mapping from class numbers to labels; write one label a "
            "line"
        )
    return labels


def _number(value: object) -> int | None:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    text = str(value).strip()
    return int(text) if text.isdecimal() and len(text) <= 6 else None


def _name(value: object) -> str | None:
    """Return the name of a class; a list, as in ImageNet's index, has it at its end."""
    if isinstance(value, list | tuple) and value:
        value = value[-1]
    is_name = isinstance(value, str | int | float) and not isinstance(value, bool)
    return " ".join(str(value).split()) or None if is_name else None


def _in_order(numbered: dict[int, str]) -> tuple[str, ...]:
    """Return the labels by class number. Raises ValueError for numbers that cannot be classes."""
    first = min(numbered)
    if first > 1 or first < 0 or max(numbered) > _MAX_NUMBER:
        raise ValueError(
            f"has the class numbers {first} to {max(numbered)}; expected 0 or 1 as the first, and "
            f"at most {_MAX_NUMBER}"
        )
    count = max(numbered) - first + 1
    return tuple(numbered.get(number + first, str(number)) for number in range(count))
