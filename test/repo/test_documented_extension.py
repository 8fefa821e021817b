"""The examples of docs/extending.md are in the package of test/extension_package."""

from __future__ import annotations

import re

from tree import ROOT, entry_points_of_extension

DOCUMENT = ROOT / "docs" / "extending.md"
SOURCE = ROOT / "test" / "extension_package" / "my_robot"
TEST = ROOT / "test" / "contract" / "test_backend_contract.py"
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCSTRING = re.compile(r'\n +""".*?"""\n(?:\n(?= ))?', re.DOTALL)
GROUP = re.compile(r"^\| `(edge_inference\.\w+)` \|", re.MULTILINE)
ENTRY = re.compile(r"^    (\w+ = my_robot[\w.]*:\w+)$", re.MULTILINE)


def without_docstrings(source: str) -> str:
    """Return code as an example may show it."""
    return DOCSTRING.sub("\n", source)


def test_every_example_is_code_of_the_package() -> None:
    whole = [file.read_text() for file in (*SOURCE.glob("*.py"), TEST)]
    sources = [*whole, *map(without_docstrings, whole)]
    examples = PYTHON.findall(DOCUMENT.read_text())
    assert len(examples) >= 4
    assert [text for text in examples if not any(text in source for source in sources)] == []


def test_every_entry_point_is_that_of_the_package() -> None:
    entries = ENTRY.findall(DOCUMENT.read_text())
    setup = (SOURCE.parent / "setup.cfg").read_text()
    assert len(entries) >= 2
    assert [entry for entry in entries if entry not in setup] == []


def test_every_group_is_documented() -> None:
    groups = {group for group, _ in entry_points_of_extension()}
    assert len(groups) >= 2
    assert groups <= set(GROUP.findall(DOCUMENT.read_text()))
