"""The arguments and the nodes of voice.launch.py."""

from __future__ import annotations

import pytest

from edge_inference import nodes
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.core.settings import rules
from launch_double import installed_executables
from launch_files import LaunchFile, real_packages_are_installed

NODES = [
    "latency",
    "scene_reporter",
    "command",
    "planner",
    "intent_parser",
    "speech_recognition",
    "voice_activity",
    "audio_source",
]


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> LaunchFile:
    double = not real_packages_are_installed()
    return LaunchFile("voice.launch.py", monkeypatch, double=double)


def test_every_argument_of_the_pipeline_is_an_argument(file: LaunchFile) -> None:
    declared = file.declared()
    for argument in load_pipeline("voice").arguments:
        assert declared.pop(argument.name) == (argument.default, argument.description)
    assert "namespace" in declared


def test_one_container_by_default(file: LaunchFile) -> None:
    (node,) = file.start(mode="free")
    assert node.executable == "component_container"
    assert node.arguments == ["--pipeline", "voice", "--argument", "mode:=free"]


def test_one_process_per_node(file: LaunchFile) -> None:
    started = file.start(composed="false", namespace="robot", cmd_vel_topic="cmd_vel")
    assert [node.name for node in started] == NODES
    assert {node.executable for node in started} <= set(installed_executables())
    assert {node.namespace for node in started} == {"/robot/ai"}
    by_name = {node.name: node for node in started}
    assert by_name["command"].remappings == [("/cmd_vel", "/robot/cmd_vel")]
    assert by_name["voice_activity"].remappings == [("audio", "/robot/ai/audio")]
    assert by_name["audio_source"].remappings == [("audio", "/robot/ai/audio")]


def test_without_a_source_another_node_publishes_the_sound(file: LaunchFile) -> None:
    started = file.start(composed="false", source="")
    assert "audio_source" not in [node.name for node in started]


def test_every_parameter_is_one_of_its_node() -> None:
    for component in load_pipeline("voice").components(
        {argument.name: "1" for argument in load_pipeline("voice").arguments}
    ):
        settings = getattr(nodes, component.plugin.rpartition("::")[2]).settings_class
        assert set(component.parameters) <= set(rules(settings)), component.name
