"""Only the values of a YAML file change, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.errors import ConfigError
from edge_inference.optimize.yaml_edit import set_values

ROOT = Path(__file__).parents[2]
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("task: x\n", "task: x\n\nderive:\n  a: new\n"),
        ("task: x", "task: x\n\nderive:\n  a: new\n"),
        ("task: x\r\n", "task: x\r\n\r\nderive:\r\n  a: new\r\n"),
        ("derive:\n  a: old\n", "derive:\n  a: new\n"),
        ("derive:\n  a: old  # why\n  b: 1\n", "derive:\n  a: new  # why\n  b: 1\n"),
        ("derive:\n    b: 1  # one\n# last\nz: 2\n",
         "derive:\n    b: 1  # one\n    a: new\n# last\nz: 2\n"),
        ("derive:\n  b:\n    - x\n    - y\n\n# next\nz: 2\n",
         "derive:\n  b:\n    - x\n    - y\n  a: new\n\n# next\nz: 2\n"),
        ("derive: {a: old, b: [c]}  # one line\nz: 1\n",
         'derive: {"a": "new", "b": ["c"]}  # one line\nz: 1\n'),
        ("derive:\n  a:\n  - old\n  - older\n  # said\nz: 1\n",
         "derive:\n  a: new\n  # said\nz: 1\n"),
        ("# head\nderive:\n  # inner\n  a: 'old' # why\n",
         "# head\nderive:\n  # inner\n  a: new # why\n"),
    ],
)  # fmt: skip
def test_one_text(before: str, after: str) -> None:
    assert set_values(before, "derive", {"a": "new"}) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("z: 1\n", "z: 1\n\nderive:\n  a:\n    - one\n    - /two/Conv\n"),
        ("derive:\n  a: []  # none\n", "derive:\n  a:\n    - one\n    - /two/Conv  # none\n"),
        ("derive:\n  a: [x, y]\nz: 1\n", "derive:\n  a:\n    - one\n    - /two/Conv\nz: 1\n"),
        ("derive:\n  a:\n    - x # why\n    - y\nz: 1\n",
         "derive:\n  a:\n    - one\n    - /two/Conv\nz: 1\n"),
    ],
)  # fmt: skip
def test_a_list(before: str, after: str) -> None:
    assert set_values(before, "derive", {"a": ["one", "/two/Conv"]}) == after


@pytest.mark.parametrize("text", ["{task: x}\n", "- a\n", "  task: x\n", "a: [\n", ""])
def test_an_unsupported_layout_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        set_values(text, "derive", {"a": "new"})


@given(TEXTS, st.lists(TEXTS, max_size=4))
def test_every_text_is_read_back_unchanged(text: str, entries: list[str]) -> None:
    made = set_values("z: 1\n", "derive", {"a": text, "b": entries})
    assert yaml.safe_load(made) == {"z": 1, "derive": {"a": text, "b": entries}}
    again = set_values(made, "derive", {"b": [text], "c": entries})
    assert yaml.safe_load(again) == {"z": 1, "derive": {"a": text, "b": [text], "c": entries}}


@pytest.mark.parametrize("file", sorted((ROOT / "models").glob("*/model.yaml")), ids=str)
def test_the_shipped_models_keep_every_line(file: Path) -> None:
    before = file.read_text()
    after = set_values(before, "derive", {"calibration": "calibration.json"})
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []
    plain = yaml.safe_load(after)
    assert plain.pop("derive")["calibration"] == "calibration.json"
    expected = yaml.safe_load(before)
    expected.pop("derive", None)
    assert plain == expected
