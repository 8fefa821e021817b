"""The guide to optimizing has every action, options that exist, and every key of a recipe."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping

import pytest

from edge_inference.cli.commands import optimize
from edge_inference.optimize.recipe.recipe_file import RecipeData, RecipeModel
from edge_inference.optimize.recipe.step_table import STEP_KINDS
from edge_inference.optimize.recipe.target import Target
from edge_inference.optimize.training.train import TrainingSettings
from test_documented_commands import commands
from tree import ROOT

GUIDE = (ROOT / "docs" / "optimizing.md").read_text()
ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
#: Options of other commands.
OTHERS = {"--allow-changes", "--rate", "--source", "--model", "--model-path", "--part"}


def parsers() -> Mapping[str, argparse.ArgumentParser]:
    """Return the parser of each action by its name."""
    root = argparse.ArgumentParser()
    optimize.add(root.add_subparsers(), ())
    (verbs,) = _subparsers(root)
    (actions,) = _subparsers(verbs["optimize"])
    return actions


def _subparsers(parser: argparse.ArgumentParser) -> list[Mapping[str, argparse.ArgumentParser]]:
    kinds = (action.choices for action in parser._actions)
    return [kind for kind in kinds if isinstance(kind, dict)]


ACTIONS = parsers()


def test_every_action_is_in_the_first_table_and_has_a_command() -> None:
    table = GUIDE.partition("\n## ")[0]
    named = {name for row in ROW.findall(table) for name in CODE.findall(row[1])}
    shown = {words[1] for words in commands(GUIDE, "edge-inference") if words[0] == "optimize"}
    assert named - {"edge-inference optimize …"} == shown == {*ACTIONS}


def test_every_option_in_the_guide_exists() -> None:
    known = {option for parser in ACTIONS.values() for option in parser._option_string_actions}
    named = {*OPTION.findall(GUIDE)}
    assert len(named) > 30
    assert named <= known | OTHERS


def rows_of(heading: str) -> dict[str, str]:
    """Return the rows of the tables in a section."""
    return dict(ROW.findall(GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]))


def test_every_key_of_a_recipe_is_in_the_table() -> None:
    named = {key for row in rows_of("Recipes") for key in CODE.findall(row)}
    sections = {"model": RecipeModel, "data": RecipeData, "target": Target}
    keys = {
        f"{name}.{field.name}"
        for name, section in sections.items()
        for field in dataclasses.fields(section)
    }
    top = {"input", "seed", "training", "steps", "output"}
    assert named == keys | top | {*STEP_KINDS}


def test_every_key_of_training_is_in_the_table() -> None:
    row = rows_of("Recipes")["`training`"]
    assert {field.name for field in dataclasses.fields(TrainingSettings)} <= {*CODE.findall(row)}


@pytest.mark.parametrize("name", STEP_KINDS)
def test_every_key_of_a_step_is_in_the_table(name: str) -> None:
    kind = STEP_KINDS[name]
    fields = {field.name for field in dataclasses.fields(kind.default)}
    expected = fields - {"training", *kind.leave_out}
    row = rows_of("Recipes")[f"`{name}`"]
    named = {*CODE.findall(row)}
    assert named == ({"training"} if name == "train" else expected)
