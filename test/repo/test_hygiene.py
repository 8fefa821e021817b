"""What no tracked file may contain, and what must be consistent between files."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import edge_inference
from tree import ROOT, text_of, tracked_files

# Split strings, so that this file does not contain what it forbids.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.~$}])/(root|home/\w+|work|Users)/[\w.]",
    "a host of a package registry": r"(pypi|python" r"hosted|npm" r"js|debian)\.(org|com)\b",
    "an unfinished mark": r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b",
}
# Programs of others, and what was made for one machine: downloaded or built, never kept.
BINARY = re.compile(r"\.(whl|egg|so|dll|dylib|a|o|pyd|plan|engine|pt|pth)(\.\d+)*$")
MAX_MIB = 16  # the largest weights have 9
# A type and a name without a value; a constant, which has a value, is explained by its name.
FIELD = re.compile(r"^\s*[\w/]+(<=\d+)?(\[[^\]]*\])?\s+\w+\b(?!\s*=)")


def forbidden_in(text: str) -> list[str]:
    """Return a description of each line with forbidden text."""
    return [
        f"line {number}: {what}: {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in FORBIDDEN.items()
        if re.search(pattern, line)
    ]


def uncommented_fields(text: str) -> list[str]:
    """Return the fields of a message without a comment in the same line or in the line above."""
    missing, has_comment = [], False
    for line in text.splitlines():
        if not line.strip():
            has_comment = False
        elif line.lstrip().startswith("#"):
            has_comment = True
        elif FIELD.match(line):
            if "#" not in line and not has_comment:
                missing.append(line.strip())
            has_comment = False
    return missing


def test_every_tracked_file_is_clean() -> None:
    texts = {name: text for name in tracked_files() if (text := text_of(name)) is not None}
    assert Path("README.md") in texts
    faults = [f"{name}: {fault}" for name, text in texts.items() for fault in forbidden_in(text)]
    assert faults == []


def test_no_library_and_no_large_file_is_tracked() -> None:
    names = tracked_files()
    assert [str(name) for name in names if BINARY.search(name.name)] == []
    sizes = {str(name): (ROOT / name).stat().st_size / 2**20 for name in names}
    assert {name: size for name, size in sizes.items() if size > MAX_MIB} == {}


@pytest.mark.parametrize(
    "name", ["tensorrt-10-py3-none-any.whl", "libnvinfer.so.10", "librt.so", "a.plan", "best.pt"]
)
def test_a_library_is_found(name: str) -> None:
    assert BINARY.search(name)


@pytest.mark.parametrize(
    "pieces",
    [
        ("see /ho", "me/anna/model.onnx"),
        ("/ro", "ot/.cache"),
        ("index = https://py", "pi.org/simple"),
        ("# TO", "DO later"),
    ],
)
def test_a_forbidden_line_is_found(pieces: tuple[str, str]) -> None:
    assert forbidden_in(f"fine\n{''.join(pieces)}\n") != []


def test_package_xml_has_the_version_of_the_package() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.findtext("version") == edge_inference.__version__


def test_every_message_field_has_a_comment() -> None:
    files = [*(ROOT / "msg").glob("*.msg"), *(ROOT / "action").glob("*.action")]
    missing = [
        f"{file.name}: {field}" for file in files for field in uncommented_fields(file.read_text())
    ]
    assert {file.suffix for file in files} == {".msg", ".action"}
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
