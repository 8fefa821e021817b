"""Pipeline descriptions: arguments, conditions, names and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_inference import nodes
from edge_inference.composition.parameter_format import format_value, parse_value
from edge_inference.composition.pipeline import (
    ComponentDescription,
    load_pipeline,
    share_folder,
)
from edge_inference.errors import ConfigError

TEXT = """
name: toy
description: A toy
arguments:
  model:
    default: small
    description: Which model
  rate:
    description: How often
  eye_topic:
    default: eye
    description: Images
  eye_transport:
    default: raw
    description: How they come
components:
  - name: watch
    plugin: toys::SlowWatch
    namespace: ai
    parameters:
      model: ${model}
      rate: ${rate}
      label: the ${model} one
      transport: ${eye_transport}
      depth: 3
    remappings:
      image: ${eye_topic}
      out: /fixed
      own: ~/private
  - name: clock
    plugin: toys::Clock
    when: rate
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    file = tmp_path / "toy.yaml"
    file.write_text(TEXT)
    return file


def test_defaults_are_substituted_and_empty_values_left_out(toy: Path) -> None:
    (watch,) = load_pipeline(str(toy)).components()
    assert watch.name == "watch"
    assert watch.namespace == "/ai"
    assert watch.parameters == {
        "model": "small",
        "label": "the small one",
        "transport": "raw",
        "depth": 3,
    }
    assert watch.remappings == {"image": "/eye", "out": "/fixed", "own": "~/private"}
    assert watch.user_set == set()


def test_user_arguments(toy: Path) -> None:
    watch, clock = load_pipeline(str(toy)).components({"rate": "2.5", "model": "big"})
    assert watch.parameters["rate"] == 2.5
    assert watch.user_set == {"rate", "model", "label"}
    assert (clock.name, clock.namespace) == ("clock", "/")


@pytest.mark.parametrize("empty", ["", "''", '""'])
def test_a_component_can_be_left_out_on_any_command_line(toy: Path, empty: str) -> None:
    (watch,) = load_pipeline(str(toy)).components({"rate": empty, "model": empty})
    assert watch.name == "watch"
    assert "model" not in watch.parameters


@pytest.mark.parametrize("namespace", ["robot1", "/robot1", "robot1/", "/robot1/"])
def test_namespace_prefixes_names_and_relative_topics(toy: Path, namespace: str) -> None:
    watch, clock = load_pipeline(str(toy)).components({"rate": "1"}, namespace)
    assert (watch.namespace, clock.namespace) == ("/robot1/ai", "/robot1")
    assert watch.remappings == {"image": "/robot1/eye", "out": "/fixed", "own": "~/private"}


@pytest.mark.parametrize(
    ("eye", "seen"), [("eye", "/ai_2/eye"), ("ai/eye", "/ai_2/eye"), ("/cam", "/cam")]
)
def test_other_base_namespace_shares_only_absolute_names(toy: Path, eye: str, seen: str) -> None:
    arguments = {"rate": "1", "eye_topic": eye}
    watch, clock = load_pipeline(str(toy)).components(arguments, base_namespace="ai_2")
    assert (watch.namespace, clock.namespace) == ("/ai_2", "/ai_2")
    assert watch.remappings == {"image": seen, "out": "/fixed", "own": "~/private"}


def test_a_compressed_topic_sets_its_transport(toy: Path) -> None:
    (watch,) = load_pipeline(str(toy)).components({"eye_topic": "/cam/compressed"})
    assert watch.remappings["image"] == "/cam"
    assert watch.parameters["transport"] == "compressed"
    assert "transport" in watch.user_set


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("12", 12),
        ("0.5", 0.5),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("plain words", "plain words"),
        ("'12'", "12"),
        ("[open", "[open"),
        ("a: b", "a: b"),
        ("2024-01-02", "2024-01-02"),
        ("null", "null"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_parse_value_uses_yaml_types_of_parameters(text: str, value: object) -> None:
    assert parse_value(text) == value


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
)


@given(st.one_of(SCALARS, st.lists(SCALARS, max_size=4)))
def test_format_value_round_trip(value: object) -> None:
    assert yaml.safe_load(format_value(value)) == value


def test_node_arguments() -> None:
    component = ComponentDescription(
        name="watch",
        plugin="toys::SlowWatch",
        namespace="/ai",
        parameters={"source": 'it\'s a: "film"', "on": True, "names": ["a", "1"]},
        remappings={"image": "/eye"},
    )
    assert component.executable == "slow_watch"
    assert component.package == "toys"
    assert component.node_arguments("/p.yaml") == [
        "--ros-args",
        *("-r", "__node:=watch"),
        *("-r", "__ns:=/ai"),
        *("-r", "image:=/eye"),
        *("-p", "source:='it''s a: \"film\"'"),
        *("-p", "on:=true"),
        *("-p", "names:=['a', '1']"),
        *("--params-file", "/p.yaml"),
    ]
    assert "--params-file" not in component.node_arguments()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (TEXT, "", "the file is empty"),
        ("name: toy", "nam: toy", "line 2, nam: unknown key"),
        ("  - name: watch", "  - nome: watch", "line 17, components[0].nome: unknown key"),
        (
            "${eye_topic}",
            "${eye_topc}",
            "unknown argument 'eye_topc'; did you mean 'eye_topic'",
        ),
        ("when: rate", "when: rat", "components[1]: unknown argument 'rat'"),
        ("    description: Which model\n", "", "arguments.model.description: missing"),
        ("default: small", "default: [1]", "line 6, arguments.model.default: expected a text"),
        ("    plugin: toys::Clock\n", "", "components[1].plugin: missing"),
        (
            TEXT[TEXT.index("components:") :],
            "components: 3",
            "components: expected a list of mappings",
        ),
    ],
)
def test_errors_name_file_and_place(toy: Path, old: str, new: str, said: str) -> None:
    toy.write_text(TEXT.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_pipeline(str(toy))
    assert str(toy) in str(caught.value)
    assert said in str(caught.value)


def test_an_unknown_argument_and_an_unknown_pipeline(toy: Path) -> None:
    with pytest.raises(ConfigError, match="unknown argument 'modle'; did you mean 'model'"):
        load_pipeline(str(toy)).components({"modle": "x"})
    with pytest.raises(
        ConfigError, match=r"unknown pipeline 'nope'.*expected one of \[.*'perception'"
    ):
        load_pipeline("nope")


SHIPPED = sorted((share_folder() / "config" / "pipelines").glob("*.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_pipelines_name_components_that_exist(file: Path) -> None:
    pipeline = load_pipeline(file.stem)
    assert pipeline.file == file
    assert pipeline.name == file.stem
    everything = pipeline.components({argument.name: "1" for argument in pipeline.arguments})
    assert everything
    for component in everything:
        package, _, class_name = component.plugin.partition("::")
        assert package == "edge_inference"
        assert class_name in nodes.__all__
    assert len({component.name for component in everything}) == len(everything)
