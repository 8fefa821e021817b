"""Scores of the voice benchmark."""

from __future__ import annotations

import math

import pytest

from benchmarks.voice_scores import (
    NONE,
    RIGHT,
    WRONG,
    ScoreCounts,
    count_word_errors,
    score_command,
    spell_numbers,
)


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ([], NONE),
        (["go"], RIGHT),
        (["stop"], WRONG),
        (["go", "go"], WRONG),
        (["go", "stop"], WRONG),
    ],
)
def test_command_is_right_only_without_other_results(heard: list, expected: str) -> None:
    assert score_command("go", heard) == expected


def test_no_commands_have_no_accuracy() -> None:
    assert math.isnan(ScoreCounts().accuracy)


def test_counts() -> None:
    tally = ScoreCounts()
    for found in (RIGHT, RIGHT, RIGHT, NONE):
        tally.add_command(found)
    for intents in (["stop"], [], ["stop", "look"]):
        tally.add_other(intents)
    assert tally.accuracy == 0.75
    assert (
        tally.summary()
        == "4 commands: 3 right, 0 wrong, 1 none; 3 others: 2 accepted (1 look, 2 stop)"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("Go forward 2.5 meters!", ["go", "forward", "two", "point", "five", "meters"]),
        ("two meters", ["two", "meters"]),
        ("4819600000000", ["4819600000000"]),
    ],
)
def test_numbers_are_spelled(text: str, words: list[str]) -> None:
    assert spell_numbers(text) == words


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("", "", (0, 0)),
        ("", "well", (1, 0)),
        ("go to the door", "", (4, 4)),
        ("go to the door", "Go to the door.", (0, 4)),
        ("go to the door", "go the floor", (2, 4)),
        ("turn left", "please turn left now", (2, 2)),
        ("go 10 meters", "go ten meters", (0, 3)),
    ],
)
def test_word_errors(said: str, heard: str, errors: tuple[int, int]) -> None:
    assert count_word_errors(said, heard) == errors
