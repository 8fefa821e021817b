"""Untrusted texts become one line of a log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.runtime.health import Health
from edge_inference.core.text_line import MAX_CHARACTERS, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("zone/cpu at 81 °C", "zone/cpu at 81 °C"),
        ("two\nlines", "two lines"),
        ("two \r\n\t lines\n", "two lines"),
        ("one\u2028two\x85three", "one two three"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x00b\u202egnp", "a\\x00b\\u202egnp"),
        ("two  spaces", "two  spaces"),
    ],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_long_text_is_cut() -> None:
    assert one_line("x" * 10**6) == "x" * (MAX_CHARACTERS - 2) + " …"
    assert one_line("abcdef", 5) == "abc …"


@given(st.text(max_size=60), st.integers(3, 40))
def test_every_text_becomes_one_short_line(text: str, most: int) -> None:
    shown = one_line(text, most)
    assert len(shown) <= most
    assert shown.isprintable()
    assert one_line(shown, most) == shown


def test_health_messages_are_short_lines() -> None:
    long = "first\nsecond " + "x" * 10**6
    health = Health()
    health.set_active(True)
    health.note("a", long)
    health.replace_notes({"b": long})
    health.count_error("odd", long, 0, lost=False)
    for show in (health.set_fault, health.set_warning, lambda _: health.set_fault("")):
        show(long)
        status = health.status(0)
        for text in (status.message, *status.values.values()):
            assert len(text) <= MAX_CHARACTERS
            assert text.isprintable()
    assert all(len(message) <= MAX_CHARACTERS for _, message in health.take_errors())
