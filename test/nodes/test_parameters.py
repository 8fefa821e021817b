"""Parameters as a stock client in another process sees and sets them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from rclpy.node import Node

from edge_inference.composition.container import find_plugin
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.core import decoders
from edge_inference.core.settings import rules
from edge_inference.errors import ConfigError
from edge_inference.nodes.perception.decode import Decode
from edge_inference.nodes.perception.inference import Inference
from perception_rig import Pipeline
from rig import Outside, Rig, wait_for

ASTRONAUT = Path(__file__).parents[2] / "models" / "nanodet" / "golden" / "astronaut.jpg"
TYPES = {bool: 1, int: 2, float: 3, str: 4}
NODES = ["Decode", "Inference", "Latency", "MediaSource", "Overlay", "Preprocess"]
# Declared by rclpy itself, not by us.
RCLPY = ("use_sim_time", "qos_overrides.", "start_type_description_service")


def ours(outside: Outside, name: str) -> list[str]:
    return [n for n in outside.list_parameters(node=name) if not n.startswith(RCLPY)]


def change(outside: Outside, node: str, **values):
    """Set one by one; return (successful, reason) of the last."""
    return outside.set_parameters(node=node, values=values)[-1]


# Descriptions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("plugin", NODES)
def test_every_parameter_is_described(rig: Rig, outside: Outside, plugin: str) -> None:
    node = rig.load(plugin, autostart=False)
    name = node.get_fully_qualified_name()
    declared = rules(node.settings_class)
    assert sorted(ours(outside, name)) == sorted(declared)
    for described in outside.describe_parameters(node=name, names=list(declared)):
        rule = declared[described["name"]]
        assert described["description"].startswith(rule.description)
        assert rule.unit in described["description"]
        assert described["additional_constraints"] == f"expected {rule.expected()}"
        assert described["read_only"] == rule.read_only
        assert described["type"] == TYPES[rule.type] + (5 if rule.is_list else 0)
        ranges = described["integer_range"] + described["floating_point_range"]
        assert bool(ranges) == (rule.minimum is not None or rule.maximum is not None)
        if ranges and rule.minimum is not None:
            assert ranges[0]["from_value"] == rule.minimum
        if ranges and rule.maximum is not None:
            assert ranges[0]["to_value"] == rule.maximum


def test_decoder_parameters_have_the_values_of_the_model(rig: Rig, outside: Outside) -> None:
    node = rig.load("Decode", autostart=False)
    assert "confidence" not in ours(outside, "/ai/decode")
    rig.call(node.trigger_configure)
    values = outside.get_parameters(node="/ai/decode", names=["confidence", "strides", "classes"])
    assert values == [0.4, [8, 16, 32], []]
    described = outside.describe_parameters(node="/ai/decode", names=["confidence", "strides"])
    assert described[0]["floating_point_range"][0]["to_value"] == 1.0
    assert [entry["read_only"] for entry in described] == [False, True]
    rig.call(node.trigger_cleanup)
    assert "confidence" not in ours(outside, "/ai/decode")
    rig.call(node.trigger_configure)
    assert "confidence" in ours(outside, "/ai/decode")


@pytest.fixture(scope="module")
def decode() -> Iterator[str]:
    """One active decode node for all the tests that leave it as it was."""
    rig = Rig()
    yield rig.load("Decode", "-r", "__ns:=/settled").get_fully_qualified_name()
    rig.close()


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("confidence", "high", "confidence: expected a number from 0 to 1, got 'high'"),
        ("confidence", True, "confidence: expected a number from 0 to 1, got True"),
        ("confidence", [0.5], "confidence: expected a number from 0 to 1"),
        ("confidence", 7, "confidence: expected a number from 0 to 1, got 7.0"),
        ("confidence", 1.5, "confidence.*1.0.*1.5"),  # rclpy's own sentence for a range
        ("confidence", None, "confidence: expected a number from 0 to 1, got no value"),
        ("classes", None, "classes: expected a list.*got no value"),
        ("classes", "person", "classes: expected a list"),
        ("queue_depth", 2.5, "queue_depth: expected an integer from 1 to 100, got 2.5"),
        ("queue_depth", 0, "queue_depth.*0"),
        ("when_full", "stop", "when_full: expected one of drop_oldest, wait, got 'stop'"),
        ("model", "nanodett", "unknown model 'nanodett'; did you mean 'nanodet'"),
        ("strides", [8], "read-only parameter: strides"),
        ("classes", ["persn"], "classes: 'persn' is not a label .*did you mean 'person'"),
        ("classes", ["cup", ""], "classes: '' is not a label of this model"),
    ],
)
def test_a_bad_value_is_refused_in_a_sentence(
    decode: str, outside: Outside, name: str, value, expected: str
) -> None:
    before = outside.get_parameters(node=decode, names=[name])
    kind = outside.describe_parameters(node=decode, names=[name])
    done, reason = change(outside, decode, **{name: value})
    assert not done
    assert re.search(expected, reason), reason
    assert outside.get_parameters(node=decode, names=[name]) == before
    assert outside.describe_parameters(node=decode, names=[name]) == kind


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("model_path", "/m:" * 40_000, "model_path: expected a text of at most 4096 characters"),
        ("model_path", "/m:" * 65, "model path: expected at most 64 folders, got 65"),
        ("model_path", "~" + "x" * 4000, "^~xxx"),
        ("model", "/" + "x/" * 2000, "^/x/x/"),
        ("model", "x" * 4096, "unknown model 'xxx"),
        ("cpu_affinity", [1] * 100_000, "cpu_affinity: expected at most 1000 entries, got 100000"),
        ("classes", ["x"] * 100_000, "classes: expected at most 1000 entries, got 100000"),
        ("confidence", "x" * 1_000_000, "confidence: expected a number from 0 to 1, got 'xxx"),
    ],
)
def test_long_values_are_refused_in_a_short_sentence(
    decode: str, outside: Outside, name: str, value, expected: str
) -> None:
    before = outside.get_parameters(node=decode, names=[name])
    done, reason = change(outside, decode, **{name: value})
    assert not done
    assert re.search(expected, reason), reason
    assert len(reason) <= 1000
    assert outside.get_parameters(node=decode, names=[name]) == before


def test_a_check_that_fails_is_answered(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise IndexError("list index out of range")

    node = rig.load("Inference", autostart=False)
    name = node.get_fully_qualified_name()
    before = outside.get_parameters(node=name, names=["model"])
    monkeypatch.setattr("edge_inference.nodes.perception.inference.select_backend", fail)
    done, reason = change(outside, name, model="efficientnet_lite0")
    assert not done
    assert "IndexError: list index out of range" in reason
    assert outside.get_parameters(node=name, names=["model"]) == before
    monkeypatch.undo()
    assert change(outside, name, model="efficientnet_lite0")[0]


def test_all_or_nothing(rig: Rig, outside: Outside) -> None:
    node = rig.load("Decode")
    names = ["confidence", "iou", "queue_depth"]
    before = outside.get_parameters(node="/ai/decode", names=names)
    values = {"confidence": 0.6, "queue_depth": 3, "iou": "wide"}
    ((done, reason),) = outside.set_parameters(node="/ai/decode", values=values, atomically=True)
    assert not done
    assert reason == "iou: expected a number from 0 to 1, got 'wide'"
    assert outside.get_parameters(node="/ai/decode", names=names) == before
    assert node.parameters.current.queue_depth == 1
    values["iou"] = 0.7
    assert outside.set_parameters(node="/ai/decode", values=values, atomically=True) == [[True, ""]]
    assert outside.get_parameters(node="/ai/decode", names=names) == [0.6, 0.7, 3]
    assert node.parameters.current.queue_depth == 3


def test_a_whole_number_is_valid_for_a_float(rig: Rig, outside: Outside) -> None:
    node = rig.load("Decode", max_age_ms=100)
    assert node.parameters.current.max_age_ms == 100.0
    assert change(outside, "/ai/decode", confidence=1) == [True, ""]
    assert outside.describe_parameters(node="/ai/decode", names=["confidence"])[0]["type"] == 3
    assert change(outside, "/ai/decode", confidence=0.25) == [True, ""]


# Files ------------------------------------------------------------------------------------------


def params_file(folder: Path, text: str) -> list[str]:
    file = folder / "params.yaml"
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    file.write_text(f"/**:\n  ros__parameters:\n{lines}")
    return ["--params-file", str(file)]


@pytest.mark.parametrize(
    ("plugin", "text", "expected"),
    [
        ("Inference", "threads: two", "threads: expected an integer from 1 to 64.*'two'"),
        ("Inference", "threads: 0", "threads: expected an integer from 1 to 64.*0"),
        ("Inference", "backend: gpu", "backend: unknown backend 'gpu'; known: null, ort"),
        ("MediaSource", "loop: 1", "loop: expected true or false, got 1"),
        ("Latency", "window_s: [1.0]", r"window_s: expected a number from 1 to 3600"),
    ],
)
def test_a_wrong_value_in_a_file(
    rig: Rig, tmp_path: Path, plugin: str, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=f"parameter {expected}"):
        rig.load(plugin, *params_file(tmp_path, text), autostart=False)


def test_yaml_reads_off_as_false(rig: Rig, tmp_path: Path) -> None:
    node = rig.load("Inference", *params_file(tmp_path, "golden_check: off"), autostart=False)
    assert node.parameters.current.golden_check == "off"
    source = rig.load("MediaSource", *params_file(tmp_path, "source: 0"), autostart=False)
    assert source.parameters.current.source == "0"


def test_a_file_overrides_the_models_values(rig: Rig, tmp_path: Path, outside: Outside) -> None:
    text = "confidence: 0.9\nclasses: [person, cup]"
    rig.load("Decode", *params_file(tmp_path, text))
    values = outside.get_parameters(node="/ai/decode", names=["confidence", "classes", "iou"])
    assert values[:2] == [0.9, ["person", "cup"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("confidence: high", "confidence: expected a number from 0 to 1, got 'high'"),
        (
            "classes: [persn]",
            "classes: 'persn' is not a label of this model; did you mean 'person'?",
        ),
    ],
)
def test_a_decoders_value_that_is_wrong_in_a_file_is_an_error_of_configure(
    rig: Rig, tmp_path: Path, text: str, expected: str
) -> None:
    component = rig.load_component("Decode", *params_file(tmp_path, text))
    assert component.failure == "did not configure"
    ((_, message),) = component.node.health.take_errors()
    assert message == f"parameter {expected}"
    assert not component.node.has_parameter("classes")


# In action --------------------------------------------------------------------------------------


def test_a_change_acts_on_the_next_frame(rig: Rig, outside: Outside) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    found = pipeline.next(pipeline.detections)
    assert found.label(0) == "person"
    assert change(outside, "/ai/decode", confidence=0.99) == [True, ""]
    assert len(pipeline.next(pipeline.detections)) == 0
    assert change(outside, "/ai/decode", confidence=0.2) == [True, ""]
    assert len(pipeline.next(pipeline.detections)) > 0
    assert change(outside, "/ai/decode", classes=["cup"]) == [True, ""]
    assert "person" not in map(pipeline.next(pipeline.detections).label, range(0))


# Before Iron ------------------------------------------------------------------------------------


def test_without_post_set_callbacks_a_change_is_notified_after_it_is_set(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    for verb in ("add", "remove"):
        monkeypatch.delattr(Node, f"{verb}_post_set_parameters_callback", raising=False)
    applied = []
    monkeypatch.setattr(
        Inference, "on_change", lambda node, _: applied.append(node.get_parameter("threads").value)
    )
    node = rig.load("Inference", autostart=False)
    assert change(outside, "/ai/inference", threads=2) == [True, ""]
    wait_for(lambda: applied, "the change")
    assert applied == [2]
    rig.call(
        lambda: node.parameters.restore(dataclasses.replace(node.parameters.current, threads=1))
    )
    assert change(outside, "/ai/inference", threads=3) == [True, ""]
    wait_for(lambda: len(applied) > 1, "the next change")
    assert applied == [2, 3]


def test_an_unknown_parameter_is_logged(rig: Rig) -> None:
    node = rig.load("Latency", windw_s=3.0, nothing=True, window_s=5.0)
    assert node.health.notes()["unknown parameters"] == "nothing, windw_s"
    overriding = {"qos_overrides./ai/latency_report.publisher.depth": 3, "use_sim_time": False}
    node = rig.load("Latency", "-r", "__node:=other", window_s=3.0, **overriding)
    assert "unknown parameters" not in node.health.notes()


def test_the_shipped_pipelines_set_only_known_parameters() -> None:
    of_decoders = {rule for name in decoders.names() for rule in rules_of_decoder(name)}
    for name in ("perception", "platform", "robot", "voice"):
        arguments = {argument.name: "1" for argument in load_pipeline(name).arguments}
        for component in load_pipeline(name).components(arguments):
            node_class = find_plugin(component.plugin)
            known = set(rules(node_class.settings_class))
            if node_class is Decode:
                known |= of_decoders
            assert component.parameters.keys() <= known, (name, component.name)


def rules_of_decoder(name: str) -> Iterable[str]:
    return rules(decoders.find(name).settings_class)
