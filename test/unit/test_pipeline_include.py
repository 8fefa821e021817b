"""Included pipelines: names of arguments, merged components and errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.composition.pipeline import load_pipeline
from edge_inference.errors import ConfigError

EYE = """
name: eye
description: Sees
arguments:
  model: {default: small, description: Which model}
  source: {description: Image or video}
  source_topic: {default: images, description: Where images come from}
  folder: {description: Where models are}
components:
  - {name: clock, plugin: "toys::Clock", namespace: ai}
  - name: watch
    plugin: toys::Watch
    parameters: {model: "${model}", folder: "${folder}", label: "the ${model} one"}
    remappings: {image: "${source_topic}"}
  - name: player
    plugin: toys::Player
    when: source
    parameters: {source: "${source}"}
"""
EAR = """
name: ear
description: Hears
arguments:
  model: {default: tiny, description: Which recognizer}
  folder: {description: Where models are}
components:
  - {name: clock, plugin: "toys::Clock", namespace: ai}
  - name: listen
    plugin: toys::Listen
    parameters: {model: "${model}", folder: "${folder}"}
"""
BOTH = """
name: both
description: Sees and hears
arguments:
  folder: {default: /models, description: Where all models are}
  mood: {default: good, description: Its mood}
components:
  - {name: face, plugin: "toys::Face", parameters: {mood: "${mood}", model: "${ear_model}"}}
include:
  - pipeline: eye
    rename: {source: film, source_topic: film_topic}
  - pipeline: ear
    rename: {model: ear_model}
"""


@pytest.fixture
def both(tmp_path: Path) -> Path:
    for name, text in (("eye", EYE), ("ear", EAR), ("both", BOTH)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path / "both.yaml"


def test_own_and_renamed_arguments(both: Path) -> None:
    found = {
        each.name: (each.default, each.description) for each in load_pipeline(str(both)).arguments
    }
    assert found == {
        "folder": ("/models", "Where all models are"),
        "mood": ("good", "Its mood"),
        "model": ("small", "Which model"),
        "film": ("", "Image or video"),
        "film_topic": ("images", "Where images come from"),
        "ear_model": ("tiny", "Which recognizer"),
    }


def test_own_components_first_and_equal_ones_merged(both: Path) -> None:
    components = load_pipeline(str(both)).components()
    assert [each.name for each in components] == ["face", "clock", "watch", "listen"]


def test_values_reach_their_components(both: Path) -> None:
    user_set = {"model": "big", "film": "a.mp4", "film_topic": "screen"}
    by_name = {each.name: each for each in load_pipeline(str(both)).components(user_set, "robot")}
    assert by_name["watch"].parameters == {
        "model": "big",
        "folder": "/models",
        "label": "the big one",
    }
    assert by_name["watch"].remappings == {"image": "/robot/screen"}
    assert by_name["watch"].user_set == {"model", "label"}
    assert by_name["player"].parameters == {"source": "a.mp4"}
    assert by_name["listen"].parameters == {"model": "tiny", "folder": "/models"}
    assert by_name["listen"].user_set == set()
    assert by_name["face"].parameters == {"mood": "good", "model": "tiny"}
    with pytest.raises(ConfigError, match="unknown argument 'source'"):
        load_pipeline(str(both)).components({"source": "a.mp4"})


def test_arguments_can_swap_names(both: Path) -> None:
    rename = "rename: {source: source_topic, source_topic: source}"
    text = "name: x\ndescription: X\ninclude:\n  - pipeline: eye\n    " + rename
    both.write_text(text)
    components = load_pipeline(str(both)).components({"source": "t", "source_topic": "f"})
    by_name = {each.name: each for each in components}
    assert by_name["watch"].remappings == {"image": "/t"}
    assert by_name["player"].parameters == {"source": "f"}


def test_shipped_pipeline_is_included_by_name(both: Path) -> None:
    both.write_text("name: x\ndescription: X\ninclude:\n  - pipeline: platform\n")
    (manager,) = load_pipeline(str(both)).components()
    assert manager.plugin == "edge_inference::PlatformManager"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "pipeline: eye",
            "pipeline: ey",
            "line 10, include[0].pipeline: unknown pipeline 'ey'; expected one of",
        ),
        ("pipeline: eye", "pipelin: eye", "include[0].pipelin: unknown key"),
        (BOTH[BOTH.index("include:") :], "include: eye", "include: expected a list of mappings"),
        (
            "source: film,",
            "sorce: film,",
            "line 11, include[0].rename: pipeline eye has no argument 'sorce'; did you mean",
        ),
        ("source: film,", "source: 3,", "include[0].rename: source: expected a name of letters"),
        ("source: film,", "source: a b,", "include[0].rename: source: expected a name of letters"),
        (
            "    rename: {model: ear_model}\n",
            "",
            "line 12, include[1]: eye and ear both have an argument 'model': rename one of "
            "them, or declare 'model' under arguments for both",
        ),
        ("name: face,", "name: watch,", "include[0]: duplicate component /watch, with"),
        (
            "components:\n",
            'components:\n  - {name: face, plugin: "toys::Face"}\n',
            "components[1]: duplicate component /face",
        ),
        ("${ear_model}", "${source}", "components[0]: unknown argument 'source'"),
    ],
)
def test_errors_name_file_and_place(both: Path, old: str, new: str, said: str) -> None:
    assert old in BOTH
    both.write_text(BOTH.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_pipeline(str(both))
    assert str(caught.value).startswith(str(both))
    assert said in str(caught.value)


def test_different_components_of_one_name_are_an_error(both: Path) -> None:
    (both.parent / "ear.yaml").write_text(EAR.replace("toys::Clock", "toys::BetterClock"))
    with pytest.raises(ConfigError, match=r"include\[1\]: duplicate component /ai/clock"):
        load_pipeline(str(both))


@pytest.mark.parametrize("last", ["ear", "both"])
def test_include_cycle(both: Path, last: str) -> None:
    (both.parent / "ear.yaml").write_text(
        f"name: ear\ndescription: X\ninclude:\n  - pipeline: {last}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_pipeline(str(both))
    assert "ear.yaml, line 4, include[0].pipeline: pipelines include" in str(caught.value)
    assert str(caught.value).endswith(f"each other: both -> ear -> {last}")


def test_error_in_an_included_file_names_that_file(both: Path) -> None:
    (both.parent / "ear.yaml").write_text(EAR.replace("plugin: toys::Listen", "plugn: x"))
    with pytest.raises(ConfigError, match=r"ear\.yaml, line 10, components\[1\]"):
        load_pipeline(str(both))


def test_empty_pipeline(both: Path) -> None:
    both.write_text("name: x\ndescription: X\narguments: {}\n")
    with pytest.raises(ConfigError, match="components: missing"):
        load_pipeline(str(both))
