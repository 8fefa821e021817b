"""Documents that name the test which shows a thing name one that is there."""

from __future__ import annotations

import re

from tree import ROOT

NAMED = re.compile(r"`(test/[\w/]+\.py)(?:::(\w+))?`")


def test_every_test_that_safety_names_is_there() -> None:
    named = NAMED.findall((ROOT / "docs" / "safety.md").read_text())
    assert len(named) > 15
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or (name and f"def {name}(" not in (ROOT / file).read_text())
    ]
    assert missing == []
