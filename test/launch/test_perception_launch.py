"""The arguments and the nodes of perception.launch.py."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from edge_inference import nodes
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.errors import ConfigError
from launch_double import ROOT, Node, installed_executables
from launch_files import LaunchFile, Started, real_packages_are_installed

PROFILE = str(ROOT / "config" / "fastdds.xml")
NEW, OLD = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
NODES = ["latency", "decode", "inference", "preprocess", "overlay"]


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> LaunchFile:
    for name in (NEW, OLD):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DISTRO", "kilted")
    double = not real_packages_are_installed()
    return LaunchFile("perception.launch.py", monkeypatch, double=double)


def only(started: list[Started]) -> Started:
    assert len(started) == 1
    return started[0]


def following(words: list[str], flag: str) -> list[str]:
    return [after for word, after in itertools.pairwise(words) if word == flag]


def test_every_argument_of_the_pipeline_is_an_argument(file: LaunchFile) -> None:
    declared = file.declared()
    for argument in load_pipeline("perception").arguments:
        assert declared.pop(argument.name) == (argument.default, argument.description)
    assert set(declared) == {
        "params_file",
        "namespace",
        "composed",
        "log_level",
        "use_sim_time",
        "autostart",
        "respawn",
        "dashboard",
        "dashboard_port",
    }


def test_one_container_by_default(file: LaunchFile) -> None:
    node = only(file.start())
    assert (node.package, node.executable) == ("edge_inference", "component_container")
    assert node.arguments == ["--pipeline", "perception"]
    assert node.ros_arguments == ["--log-level", "info"]
    assert node.namespace == "/"
    assert node.parameters == []
    assert node.additional_env == {NEW: PROFILE}
    assert node.respawn is False


def test_container_gets_only_user_arguments(file: LaunchFile) -> None:
    node = only(file.start(model="other", source="a b.mp4", backend="auto", autostart="false"))
    assert following(node.arguments, "--argument") == ["model:=other", "source:=a b.mp4"]
    assert "--no-autostart" in node.arguments


def test_one_process_per_node(file: LaunchFile) -> None:
    started = file.start(composed="false")
    assert [node.name for node in started] == NODES
    for node in started:
        assert node.executable == node.name
        assert node.namespace == "/ai"
        assert node.additional_env == {NEW: PROFILE}
        assert node.arguments == []
    preprocess = started[NODES.index("preprocess")]
    assert preprocess.remappings == [("image_raw", "/camera/image_raw")]
    assert "model:='nanodet'" in following(preprocess.ros_arguments, "-p")


def test_source_adds_a_process(file: LaunchFile) -> None:
    *_, source = file.start(composed="false", source='it\'s: a "film".mp4', loop="true")
    assert (source.executable, source.namespace) == ("media_source", "/camera")
    assert following(source.arguments, "--set") == [
        "source:='it''s: a \"film\".mp4'",
        "loop:=true",
    ]


def test_user_arguments_override_files_but_defaults_do_not(
    file: LaunchFile, tmp_path: Path
) -> None:
    parameters = tmp_path / "mine.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n    max_age_ms: 5.0\n")
    started = file.start(composed="false", params_file=str(parameters), backend="ort")
    inference = started[NODES.index("inference")]
    assert inference.parameters == [str(parameters)]
    assert following(inference.arguments, "--set") == ["backend:='ort'"]
    assert "precision:='auto'" in following(inference.ros_arguments, "-p")


@pytest.mark.parametrize(
    ("pushed", "namespace", "whole"),
    [
        ("", "", ""),
        ("", "robot1", "/robot1"),
        ("", "/robot1/", "/robot1"),
        ("/fleet", "robot1", "/fleet/robot1"),
        ("/fleet", "", "/fleet"),
        ("/fleet", "/robot1", "/robot1"),
    ],
)
def test_namespaces(file: LaunchFile, pushed: str, namespace: str, whole: str) -> None:
    assert only(file.start(pushed, namespace=namespace)).namespace == (whole or "/")
    started = file.start(pushed, namespace=namespace, composed="false", source="sample")
    assert {node.namespace for node in started} == {f"{whole}/ai", f"{whole}/camera"}
    targets = {node.name: dict(node.remappings) for node in started if node.remappings}
    images = {"image_raw": f"{whole}/camera/image_raw"}
    assert targets == {
        "latency": {"platform_state": f"{whole}/ai/platform_state"},
        "inference": {
            "performance_directive": f"{whole}/ai/performance_directive",
            "workload": f"{whole}/ai/workload",
        },
        "preprocess": images,
        "overlay": images,
        "media_source": images,
    }


def test_a_manager_is_added_or_shared(file: LaunchFile) -> None:
    added = file.start(composed="false", thermal="predictive")
    manager = next(node for node in added if node.name == "platform_manager")
    assert following(manager.arguments, "--set") == ["preset:='predictive'"]
    shared = file.start(composed="false", namespace="second", platform="/ai")
    inference = shared[NODES.index("inference")]
    assert dict(inference.remappings) == {
        "performance_directive": "/ai/performance_directive",
        "workload": "/ai/workload",
    }


def test_the_manager_starts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    file = LaunchFile("platform.launch.py", monkeypatch, double=not real_packages_are_installed())
    node = only(file.start(composed="false", preset="predictive", actuators="[power_mode]"))
    assert (node.executable, node.namespace) == ("platform_manager", "/ai")
    assert "actuators:=['power_mode']" in following(node.arguments, "--set")
    assert set(file.declared()) >= {"preset", "recording", "power_limit_w", "minutes_to_last"}


def test_compressed_topic_selects_its_transport(file: LaunchFile) -> None:
    started = file.start(composed="false", image_topic="/front/image_raw/compressed")
    preprocess = started[NODES.index("preprocess")]
    assert preprocess.remappings == [("image_raw", "/front/image_raw")]
    assert "image_transport:='compressed'" in following(preprocess.ros_arguments, "-p")


def test_simulated_time_and_log_level(file: LaunchFile) -> None:
    for composed in ("true", "false"):
        for node in file.start(composed=composed, use_sim_time="true", log_level="debug"):
            assert node.ros_arguments[:4] == ["--log-level", "debug", "-p", "use_sim_time:=true"]


@pytest.mark.parametrize("variable", [NEW, OLD])
def test_a_profile_of_the_user_stays(
    file: LaunchFile, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "/mine.xml")
    assert not only(file.start()).additional_env


def test_older_distributions_have_another_name_for_the_profile(
    file: LaunchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DISTRO", "humble")
    assert only(file.start()).additional_env == {OLD: PROFILE}


def test_unknown_model_still_starts(file: LaunchFile) -> None:
    assert "model:=nope" in only(file.start(model="nope")).arguments
    assert len(file.start(model="nope", composed="false")) == len(NODES)


def test_respawn(file: LaunchFile) -> None:
    assert all(node.respawn for node in file.start(composed="false", respawn="true"))


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        (
            "params_file",
            "/no/such.yaml",
            "params_file: expected a file, but /no/such.yaml does not exist",
        ),
        ("composed", "perhaps", "composed: expected true or false, got 'perhaps'"),
    ],
)
def test_a_wrong_argument_is_refused(
    file: LaunchFile, argument: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        file.start(**{argument: value})


def test_every_component_has_an_executable() -> None:
    pipeline = load_pipeline("perception").components({"source": "sample"})
    assert {component.executable for component in pipeline} <= set(installed_executables())
    assert len(installed_executables()) == len(nodes.__all__) + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"executable": "decoder"},
        {"package": "edge_inferense"},
        {"parameters": ["/no/such.yaml"]},
        {"colour": "red"},
    ],
)
def test_the_double_is_strict(wrong: dict[str, object]) -> None:
    Node(package="edge_inference", executable="decode")
    with pytest.raises((AssertionError, TypeError)):
        Node(**{"package": "edge_inference", "executable": "decode", **wrong})
