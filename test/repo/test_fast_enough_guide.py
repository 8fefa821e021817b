"""The guide from a symptom to a parameter has every cause, and names parameters that exist."""

from __future__ import annotations

import re

import pytest

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.attribution.cause import Cause
from edge_inference.observe.targets.measures import MEASURES
from test_documented_commands import commands
from test_hint_keys import known_settings
from test_remedies import OTHERS
from tree import ROOT

GUIDE = (ROOT / "docs" / "fast_enough.md").read_text()
ROW = re.compile(r"^\| ([a-z ]+) \| (.+) \|$", re.MULTILINE)
CODE = re.compile(r"`([a-z_]+)`")


def changes() -> dict[str, str]:
    """Return what to change for each cause."""
    _, _, section = GUIDE.partition("\n## 5. ")
    return dict(ROW.findall(section.partition("\n## 6. ")[0]))


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_row(cause: Cause) -> None:
    assert cause.value.replace("_", " ") in changes()


def test_parameters_of_the_table_exist() -> None:
    named = {name for text in changes().values() for name in CODE.findall(text)}
    assert {"precision", "cpu_affinity", "image_transport"} <= named
    assert named <= known_settings() | OTHERS


def test_parameters_that_are_set_exist() -> None:
    words = [words for words in commands(GUIDE, "ros2") if words[0] == "param"]
    assert len(words) > 2
    assert {each[3] for each in words} <= known_settings()


def test_the_steps_are_those_of_the_table() -> None:
    steps = re.findall(r"^\| \[(\d)\]\(#(\d)-", GUIDE, re.MULTILINE)
    headings = re.findall(r"^## (\d)\. ", GUIDE, re.MULTILINE)
    assert [number for number, _ in steps] == [anchor for _, anchor in steps] == headings


def test_words_with_underscores_are_known() -> None:
    known = known_settings() | OTHERS | {*MEASURES} | {*StageTiming._fields}
    others = {"params_file", "too_old", "deadline_ms", "image_topic"}
    words = {word for word in CODE.findall(GUIDE) if "_" in word}
    assert words <= known | others
