"""What a diagnosis tells the user to do can be done: every parameter that it names exists."""

from __future__ import annotations

import re

import pytest

from edge_inference.cli.command_line import make_parser
from edge_inference.observe.attribution.cause import Cause
from edge_inference.observe.attribution.remedies import all_remedies, find_remedy
from test_hint_keys import known_settings
from tree import ROOT

#: A parameter of every ROS node, and a key of pipeline files.
OTHERS = {"use_sim_time", "containers"}
COMMAND = re.compile(r"`edge-inference ([a-z -]+)`")


def test_parameters_exist() -> None:
    named = {parameter for _, parameter in all_remedies()}
    commands = {name for name in named if " " in name}
    assert named - commands - {""} <= known_settings() | OTHERS


def test_the_key_of_pipeline_files_exists() -> None:
    assert "\ncontainers:\n" in (ROOT / "config/pipelines/robot.yaml").read_text()


def test_the_text_names_its_parameter() -> None:
    missing = [text for text, parameter in all_remedies() if parameter and parameter not in text]
    # The faster model is a parameter of the node; the text says what to choose.
    assert all("model" in text or "precision" in text for text in missing)


def test_commands_in_the_texts_exist() -> None:
    commands = {words for text, _ in all_remedies() for words in COMMAND.findall(text)}
    assert commands
    for words in commands:
        with pytest.raises(SystemExit) as ended:
            make_parser().parse_args([*words.split(), "--help"])
        assert ended.value.code == 0


def test_words_with_underscores_are_parameters() -> None:
    words = {word for text, _ in all_remedies() for word in re.findall(r"\b[a-z]+_[a-z_]+\b", text)}
    assert words <= known_settings() | OTHERS


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_remedy(cause: Cause) -> None:
    for stage in ("", "inference", "decode"):
        text, _ = find_remedy(cause, stage)
        assert text
