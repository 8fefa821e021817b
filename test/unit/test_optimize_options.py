"""The format of the input, as the actions of `optimize` take it."""

from __future__ import annotations

import argparse

import pytest

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.optimize.optimize_options import add_input, read_input
from edge_inference.core.images.input_spec import InputSpec


def parse(*words: str) -> InputSpec | None:
    parser = argparse.ArgumentParser()
    add_input(parser)
    return read_input(parser.parse_args(words))


def test_several_values_follow_one_option_or_several() -> None:
    gray = InputSpec(name="image", width=64, height=32, color="GRAY", std=(255.0,))
    assert parse("--input", "width=64", "height=32", "color=GRAY", "std=255") == gray
    assert parse("--input", "width=64", "height=32", "--input", "color=GRAY", "std=[255]") == gray
    assert parse() is None


def test_one_number_is_for_all_channels_and_a_list_for_each() -> None:
    spec = parse("--input", "width=8", "height=8", "mean=0.5", "std=[1, 2, 3]")
    assert spec is not None
    assert (spec.mean, spec.std) == ((0.5,), (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("std=0", "std: expected numbers other than 0"),
        ("std=[1, 2]", "std: expected 1 or 3 entries for RGB, got 2"),
        ("std=red", "std: expected a list"),
        ("colour=GRAY", "--input colour: expected one of name, width"),
    ],
)
def test_a_wrong_value_is_refused(word: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem.replace("[", r"\[")):
        parse("--input", "width=8", "height=8", word)
