"""Files, tests and headings that documents and docstrings name exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tree import ROOT, text_of, tracked_files

# A file in backticks, and perhaps a test in it: `test/unit/test_a.py::test_b`.
NAMED = re.compile(r"`([\w./-]+\.(?:cpp|cu|md|msg|py|txt|xml|yaml))(?:::(\w+))?`")
# A relative link: [voice.md](voice.md#trying-it), also an image.
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# A path may be relative to these folders, or to the folder of the document.
BASES = ("", "docs", "edge_inference", "test", "test/extension_package")
# Files of users, of recipes, of Python and of pycuda.
FOREIGN_FILES = {
    ".aksetup-defaults.py",
    "decisions.md",
    "my_package/corners.py",
    "sitecustomize.py",
}


@cache
def file_names() -> set[str]:
    return {name.name for name in tracked_files()}


def find_file(name: str, document: Path) -> Path | None:
    """Return the file that a document names, relative to the root; None if there is none."""
    for base in (*map(Path, BASES), document.parent):
        if (ROOT / base / name).is_file():
            return base / name
    is_bare = "/" not in name
    return Path(name) if is_bare and name in file_names() else None


def missing_names(text: str, document: Path) -> list[str]:
    """Return the files and tests that a text names and that do not exist."""
    missing = []
    for name, test in NAMED.findall(text):
        if name in FOREIGN_FILES:
            continue
        file = find_file(name, document)
        if file is None:
            missing.append(name)
        elif test and f"def {test}(" not in (text_of(file) or ""):
            missing.append(f"{name}::{test}")
    return missing


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in words}


def broken_links(text: str, document: Path) -> list[str]:
    """Return the relative links of a document whose file or heading does not exist."""
    broken = []
    for target, anchor in LINK.findall(text):
        file = (ROOT / document.parent / target).resolve() if target else None
        if file and not file.exists():
            broken.append(target)
        elif anchor and anchor not in anchors_of(file.read_text() if file else text):
            broken.append(f"{target}#{anchor}")
    return broken


def test_every_link_has_a_target() -> None:
    documents = {name: text_of(name) or "" for name in tracked_files() if name.suffix == ".md"}
    assert sum(len(LINK.findall(text)) for text in documents.values()) > 20
    broken = {str(name): broken_links(text, name) for name, text in documents.items()}
    assert {name: links for name, links in broken.items() if links} == {}


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[a](safety.md) [b](../README.md) [c](https://example.com/x#y) ![d](images)", []),
        ("# On a `robot`: …\n[a](#on-a-robot-) [b](#another)", ["#another"]),
        ("[a](no_such_page.md)", ["no_such_page.md"]),
        ("[a](../README.md#no-such-heading)", ["../README.md#no-such-heading"]),
    ],
)
def test_a_broken_link_is_found(text: str, broken: list[str]) -> None:
    assert broken_links(text, Path("docs/models.md")) == broken


def test_every_named_file_exists() -> None:
    texts = {name: text_of(name) or "" for name in tracked_files() if name.suffix in (".md", ".py")}
    own = Path(__file__).relative_to(ROOT)
    missing = {str(name): missing_names(text, name) for name, text in texts.items() if name != own}
    assert {name: found for name, found in missing.items() if found} == {}


def test_safety_names_a_test_for_each_claim() -> None:
    named = NAMED.findall((ROOT / "docs" / "safety.md").read_text())
    assert len([name for name, _ in named if name.startswith("test/")]) > 15


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("see `docs/safety.md` and `safety.md`", []),
        ("in ``core/settings.py``", []),
        ("`test/repo/tree.py::copy_to`", []),
        ("`test/repo/tree.py::no_such_test`", ["test/repo/tree.py::no_such_test"]),
        ("`core/no_such_file.py`, `no_such_file.py`", ["core/no_such_file.py", "no_such_file.py"]),
        ("no_such_file.py without backticks, `a.b`", []),
    ],
)
def test_a_missing_file_is_found(text: str, missing: list[str]) -> None:
    assert missing_names(text, Path("docs/models.md")) == missing
