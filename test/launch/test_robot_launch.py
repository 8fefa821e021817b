"""The arguments and the nodes of robot.launch.py: perception and voice, each node once."""

from __future__ import annotations

import pytest

from edge_inference.composition.pipeline import load_pipeline
from edge_inference.errors import ConfigError
from launch_double import installed_executables
from launch_files import LaunchFile, Started, real_packages_are_installed

#: The renamed arguments of the two; all others keep their names.
RENAMED = {
    "perception": {
        "source": "image_source",
        "pace": "image_pace",
        "limit": "image_limit",
        "rate": "image_rate",
        "loop": "image_loop",
    },
    "voice": {
        "source": "audio_source",
        "pause_s": "audio_pause_s",
        "loop": "audio_loop",
        "model": "speech_model",
        "mode": "speech_mode",
    },
}
EVERYTHING = {"image_source": "film.mp4", "audio_source": "a.wav", "composed": "false"}


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> LaunchFile:
    double = not real_packages_are_installed()
    return LaunchFile("robot.launch.py", monkeypatch, double=double)


def everything_of(name: str) -> list[tuple[str, str]]:
    pipeline = load_pipeline(name)
    values = {argument.name: "1" for argument in pipeline.arguments}
    return [(each.name, each.plugin) for each in pipeline.components(values)]


def test_the_arguments_of_both_have_a_name(file: LaunchFile) -> None:
    declared = file.declared()
    for pipeline, names in RENAMED.items():
        for argument in load_pipeline(pipeline).arguments:
            assert names.get(argument.name, argument.name) in declared
    for name in ("source", "mode", "loop", "rate", "limit"):
        assert name not in declared
    assert declared["model"][0] == "nanodet"
    assert declared["speech_model"][0] == "moonshine_tiny"
    assert declared["image_source"][0] == ""
    assert declared["audio_source"][0] == "device"
    assert declared["thermal"][0] == "ramp"


def inside(node: Started, **given: str) -> set[str]:
    """Return the nodes that a container loads, by its command line."""
    words = list(node.arguments)
    assert words[:2] == ["--pipeline", "robot"]
    container = words[words.index("--container") + 1] if "--container" in words else ""
    return {each.name for each in load_pipeline("robot").components(given, container=container)}


def test_images_and_motion_are_in_different_processes(file: LaunchFile) -> None:
    given = {"speech_mode": "free", "image_source": "film.mp4"}
    perception, voice = file.start(**given, respawn="true")
    for node in (perception, voice):
        assert node.executable == "component_container"
        assert node.respawn is True
        assert node.arguments.count("--argument") == 2
        assert {"image_source:=film.mp4", "speech_mode:=free"} < {*node.arguments}
    eyes, ears = inside(perception, **given), inside(voice, **given)
    assert eyes == {
        *("latency", "decode", "inference", "preprocess", "overlay", "media_source"),
        *("scene_reporter", "perception_monitor"),
    }
    assert ears == {
        *("platform_manager", "command", "planner", "intent_parser", "speech_recognition"),
        *("voice_activity", "audio_source", "voice_monitor"),
    }


def test_one_container_on_request(file: LaunchFile) -> None:
    (node,) = file.start(containers="1", speech_mode="free")
    assert node.arguments == ["--pipeline", "robot", "--argument", "speech_mode:=free"]
    assert {"preprocess", "command"} < inside(node)


def test_the_number_of_containers_is_an_argument_with_a_meaning(file: LaunchFile) -> None:
    default, description = file.declared()["containers"]
    assert default == "2"
    assert "perception_container, voice_container" in description
    for wrong in ("3", "0", "two", ""):
        with pytest.raises(ConfigError, match=f"containers: expected 1 or 2, got '{wrong}'"):
            file.start(containers=wrong)


def test_all_nodes_of_both_come_up_once(file: LaunchFile) -> None:
    values = {argument.name: "1" for argument in load_pipeline("robot").arguments}
    started = file.start(**values, composed="false")
    names = [node.name for node in started]
    wanted = {name for each in ("perception", "voice") for name, _ in everything_of(each)}
    # Alone in a process, a monitor would watch only itself.
    monitors = {"perception_monitor", "voice_monitor"}
    assert monitors < wanted
    assert sorted(names) == sorted(wanted - monitors)
    assert {"latency", "platform_manager"} <= wanted
    assert {node.executable for node in started} <= set(installed_executables())


def test_models_and_sources_reach_their_nodes(file: LaunchFile) -> None:
    given = {"model": "eye", "speech_model": "ear", "image_loop": "true", "model_path": "/m"}
    values = {each.name: each for each in load_pipeline("robot").components({**given})}
    assert values["inference"].parameters["model"] == "eye"
    assert values["speech_recognition"].parameters["model"] == "ear"
    assert values["voice_activity"].parameters["model_path"] == "/m"
    assert values["inference"].parameters["model_path"] == "/m"
    started = {node.name: node for node in file.start(**EVERYTHING, **given)}
    assert started["media_source"].arguments[-2:] == ["--set", "loop:=true"]
    assert "loop:=true" not in started["audio_source"].arguments


def test_both_use_one_platform_manager(file: LaunchFile) -> None:
    started = {n.name: n for n in file.start(**EVERYTHING, namespace="r1", platform="/ai")}
    for name in ("inference", "speech_recognition"):
        remappings = dict(started[name].remappings)
        assert remappings["performance_directive"] == "/ai/performance_directive"
        assert remappings["workload"] == "/ai/workload"
