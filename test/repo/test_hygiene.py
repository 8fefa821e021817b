"""What no tracked file may contain, and what must agree between files."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import edge_inference
from tree import ROOT, tracked_files

# Written in pieces, so that this file does not contain what it looks for.
FORBIDDEN = {
    "a path of somebody's machine": r"(?<![\w.~$}])/(root|home/\w+|work|Users)/[\w.]",
    "a host of a package registry": r"(pypi|python" r"hosted|npm" r"js|debian)\.(org|com)\b",
    "an unfinished mark": r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b",
}
# A type, a name, and no value: constants say by their name what they are.
FIELD = re.compile(r"^\s*[\w/]+(<=\d+)?(\[[^\]]*\])?\s+\w+\b(?!\s*=)")


def text_of(name: Path) -> str | None:
    """Return a file's text, or None where it is binary."""
    data = (ROOT / name).read_bytes()
    if b"\0" in data[:8192]:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def forbidden_in(text: str) -> list[str]:
    """Return what is forbidden in a text, each with its line."""
    return [
        f"line {number}: {what}: {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in FORBIDDEN.items()
        if re.search(pattern, line)
    ]


def uncommented_fields(text: str) -> list[str]:
    """Return fields of a message that no comment explains: beside it, or on the lines above."""
    missing, explained = [], False
    for line in text.splitlines():
        if not line.strip():
            explained = False
        elif line.lstrip().startswith("#"):
            explained = True
        elif FIELD.match(line):
            if "#" not in line and not explained:
                missing.append(line.strip())
            explained = False
    return missing


def test_every_tracked_file_is_clean() -> None:
    texts = {name: text for name in tracked_files() if (text := text_of(name)) is not None}
    assert Path("README.md") in texts
    found = [f"{name}: {fault}" for name, text in texts.items() for fault in forbidden_in(text)]
    assert found == []


@pytest.mark.parametrize(
    "pieces",
    [
        ("see /ho", "me/anna/model.onnx"),
        ("/ro", "ot/.cache"),
        ("index = https://py", "pi.org/simple"),
        ("# TO", "DO later"),
    ],
)
def test_a_planted_line_is_found(pieces: tuple[str, str]) -> None:
    assert forbidden_in(f"fine\n{''.join(pieces)}\n") != []


def test_the_version_is_one() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.findtext("version") == edge_inference.__version__


def test_every_message_field_is_explained() -> None:
    files = sorted((ROOT / "msg").glob("*.msg"))
    missing = [
        f"{file.name}: {field}" for file in files for field in uncommented_fields(file.read_text())
    ]
    assert files
    assert missing == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", []),
        ("float32 mean", ["float32 mean"]),
        ("float32 mean # milliseconds", []),
        ("# milliseconds\nfloat32 mean", []),
        ("# milliseconds\nfloat32 mean\nfloat32 peak", ["float32 peak"]),
        ("uint8 DTYPE_INT = 0", []),
        ("string<=16[] names\nfloat32[<=4] box", ["string<=16[] names", "float32[<=4] box"]),
        ("# the message\n\nuint8[] data", ["uint8[] data"]),
        ("std_msgs/Header header  # stamp of capture", []),
    ],
)
def test_uncommented_fields_are_found(text: str, missing: list[str]) -> None:
    assert uncommented_fields(text) == missing
