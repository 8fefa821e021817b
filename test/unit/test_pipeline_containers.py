"""The containers of a pipeline: descriptions and errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.composition.pipeline import load_pipeline
from edge_inference.errors import ConfigError

TOY = """
name: toy
description: A toy
arguments:
  film: {description: Image or video}
components:
  - {name: watch, plugin: "toys::Watch", namespace: ai}
  - {name: player, plugin: "toys::Player", when: film}
  - {name: drive, plugin: "toys::Drive"}
containers:
  - {name: eyes, components: [player, watch]}
  - {name: legs, components: [drive]}
"""
PLAN = TOY[TOY.index("containers:") :]
#: Nodes that receive images or other large messages.
TAKE_IMAGES = {"preprocess", "overlay", "media_source", "inference", "decode"}
#: Nodes that recognize speech, move and stop the robot, and the platform manager.
MUST_NOT_WAIT = {"command", "planner", "intent_parser", "speech_recognition", "platform_manager"}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    file = tmp_path / "toy.yaml"
    file.write_text(TOY)
    return file


def names(file: Path | str, container: str = "", **values: str) -> list[str]:
    components = load_pipeline(str(file)).components(values, container=container)
    return [each.name for each in components]


def test_a_container_has_its_components_in_the_order_of_all(toy: Path) -> None:
    assert list(load_pipeline(str(toy)).containers) == ["eyes", "legs"]
    assert names(toy, "eyes", film="a.mp4") == ["watch", "player"]
    assert names(toy, "eyes") == ["watch"]
    assert names(toy, "legs", film="a.mp4") == ["drive"]
    assert names(toy, film="a.mp4") == ["watch", "player", "drive"]


def test_values_reach_one_container(toy: Path) -> None:
    pipeline = load_pipeline(str(toy))
    everything = {each.name: each for each in pipeline.components({"film": "x"}, "robot")}
    for container in pipeline.containers:
        for each in pipeline.components({"film": "x"}, "robot", container=container):
            assert each == everything[each.name]


def test_pipeline_without_containers(toy: Path) -> None:
    toy.write_text(TOY.replace(PLAN, ""))
    assert load_pipeline(str(toy)).containers == {}
    with pytest.raises(
        ConfigError, match=r"pipeline toy: unknown container 'eyes'; expected one of \[\]"
    ):
        names(toy, "eyes")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[drive]", "[]", "line 10, containers: drive: in no container; list each component"),
        ("[drive]", "[drive, watch]", "containers[1].components: watch is in eyes and in legs"),
        ("[drive]", "[driv]", "unknown component 'driv'; did you mean 'drive'?"),
        ("name: legs", "name: eyes", "containers[1].name: expected a new name, got 'eyes' twice"),
        ("name: legs", "name: my legs", "containers[1].name: expected a node name of letters"),
        ("name: legs", "name: ai/legs", "containers[1].name: expected a node name of letters"),
        ("name: legs", 'name: ""', "containers[1].name: expected a node name of letters"),
        ("name: legs, ", "", "containers[1].name: missing"),
        ("name: legs, ", "name: legs, colour: red, ", "containers[1].colour: unknown key"),
        (PLAN, "containers: two\n", "containers: expected a list of mappings"),
    ],
)
def test_errors_name_file_and_place(toy: Path, old: str, new: str, said: str) -> None:
    assert old in TOY
    toy.write_text(TOY.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_pipeline(str(toy))
    assert str(caught.value).startswith(str(toy))
    assert said in str(caught.value)


def test_containers_of_included_pipelines_apply(toy: Path) -> None:
    outer = toy.with_name("outer.yaml")
    outer.write_text("name: outer\ndescription: X\ninclude:\n  - pipeline: toy\n")
    assert names(outer, "eyes") == ["watch"]
    assert names(outer, "legs") == ["drive"]
    more = 'components:\n  - {name: face, plugin: "toys::Face"}\n'
    outer.write_text(outer.read_text() + more)
    with pytest.raises(ConfigError, match="face: in no container; list each component under"):
        load_pipeline(str(outer))
    outer.write_text(
        outer.read_text() + "containers:\n  - {name: all, components: [face, watch, player, drive]}"
    )
    assert list(load_pipeline(str(outer)).containers) == ["all"]


def test_robot_images_and_motion_are_in_different_containers() -> None:
    robot = load_pipeline("robot")
    perception, voice = robot.containers
    assert robot.containers[perception] >= TAKE_IMAGES
    assert robot.containers[voice] >= MUST_NOT_WAIT
    # Every node of the two pipelines is in a container.
    values = {argument.name: "1" for argument in robot.arguments}
    parts = [
        each.name for name in robot.containers for each in robot.components(values, container=name)
    ]
    assert sorted(parts) == sorted(each.name for each in robot.components(values))
