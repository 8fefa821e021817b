"""The files for the tools of others name only topics, fields and nodes that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from edge_inference.core.reading import Role

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "config" / "monitoring"
# The messages on the topics of the layouts; None is a message of other packages.
TOPICS = {
    "/ai/action_plan": "ActionPlan",
    "/ai/inference_latency": None,
    "/ai/inference_state": "InferenceState",
    "/ai/latency_report": "LatencyReport",
    "/ai/overlay/compressed": None,
    "/ai/platform_state": "PlatformState",
    "/ai/transcript": "Transcript",
    "/ai/workload": "Workload",
    "/diagnostics": None,
}
FIELD = re.compile(r"^([\w/]+)(?:<=\d+)?(\[[^\]]*\])?\s+(\w+)\s*(?:#|$)", re.MULTILINE)
# A field in a path, perhaps with an index or a slice, and with a filter.
STEP = re.compile(r"(\w+)(\[[^\]]*\])?(?:\{(\w+)==\"(\w+)\"\})?")


def fields_of(message: str) -> dict[str, tuple[str, bool]]:
    """Return type of each field of a message, and whether it is a list."""
    text = (ROOT / "msg" / f"{message}.msg").read_text()
    return {name: (kind, bool(size)) for kind, size, name in FIELD.findall(text)}


def fault_of(topic: str, steps: list[str]) -> str:
    """Return what is wrong with a path of fields, empty where nothing is."""
    if topic not in TOPICS:
        return f"no topic {topic}"
    message = TOPICS[topic]
    if message is None:
        return "" if steps in ([], ["data"]) else f"{topic} has no {steps}"
    for step in steps:
        found = STEP.fullmatch(step)
        if found is None:
            return f"{step} is no field"
        name, index, key, _ = found.groups()
        if message is None or name not in fields_of(message):
            return f"{message} has no field {name}"
        kind, is_list = fields_of(message)[name]
        if is_list != bool(index):
            return f"{name}: is it a list?"
        message = kind if (ROOT / "msg" / f"{kind}.msg").is_file() else None
        if key and (message is None or key not in fields_of(message)):
            return f"{kind} has no field {key}"
    return ""


def foxglove_fault(path: str) -> str:
    topic, *steps = re.split(r"\.(?![^{]*\})", path)
    return fault_of(topic, steps)


def plotjuggler_fault(path: str) -> str:
    topic = next((each for each in TOPICS if path.startswith(f"{each}/")), path)
    return fault_of(topic, path[len(topic) + 1 :].split("/"))


def texts_in(value: Any) -> Iterator[str]:
    """Yield each text in JSON."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        for each in value:
            yield from texts_in(each)
    elif isinstance(value, str):
        yield value


def foxglove() -> dict[str, Any]:
    return json.loads((FOLDER / "foxglove_layout.json").read_text())


def foxglove_paths() -> list[str]:
    return [text for text in texts_in(foxglove()) if text.startswith("/")]


def curves() -> list[str]:
    root = ElementTree.parse(FOLDER / "plotjuggler_layout.xml").getroot()
    return [curve.attrib["name"] for curve in root.iter("curve")]


def component_names() -> set[str]:
    files = (ROOT / "config" / "pipelines").glob("*.yaml")
    contents = [yaml.safe_load(file.read_text()) for file in files]
    return {each["name"] for content in contents for each in content.get("components", ())}


def analyzers() -> dict[str, dict[str, Any]]:
    content = yaml.safe_load((FOLDER / "diagnostic_aggregator.yaml").read_text())
    parameters = content["/**"]["ros__parameters"]
    return {name: each for name, each in parameters.items() if isinstance(each, dict)}


def groups_of(status: str) -> list[str]:
    """Return the paths of the analyzers that take a status."""
    return [
        each["path"]
        for each in analyzers().values()
        if any(part in status for part in each["contains"])
    ]


def test_every_path_in_the_foxglove_layout_exists() -> None:
    paths = foxglove_paths()
    assert len(paths) > 15
    assert {path: fault for path in paths if (fault := foxglove_fault(path))} == {}


def test_every_value_that_the_foxglove_layout_selects_by_exists() -> None:
    selected = [found for path in foxglove_paths() for found in re.findall(r'(\w+)=="(\w+)"', path)]
    known = {"stage": component_names(), "role": {each.value for each in Role}}
    assert len(selected) > 5
    assert [each for each in selected if each[1] not in known[each[0]]] == []


def test_the_foxglove_layout_shows_each_of_its_panels_once() -> None:
    content = foxglove()
    shown = [text for text in texts_in(content["layout"]) if text not in ("row", "column")]
    assert sorted(shown) == sorted(content["configById"])


def test_every_curve_in_the_plotjuggler_layout_exists() -> None:
    names = curves()
    assert len(names) > 10
    assert {name: fault for name in names if (fault := plotjuggler_fault(name))} == {}


def test_every_topic_is_one_of_a_robot() -> None:
    policy = ElementTree.parse(ROOT / "config" / "security" / "robot.policy.xml").getroot()
    published = {
        topic.text
        for topics in policy.iter("topics")
        if topics.get("publish") == "ALLOW"
        for topic in topics
    }
    assert TOPICS.keys() - published == set()


def test_every_node_has_one_place_in_the_aggregator() -> None:
    names = component_names()
    assert len(names) > 15
    places = {name: groups_of(f"/robot7/ai/{name}") for name in names}
    assert {name: found for name, found in places.items() if len(found) != 1} == {}
    used = {group for found in places.values() for group in found}
    assert used == {each["path"] for each in analyzers().values()}


@pytest.mark.parametrize(
    ("status", "group"),
    [
        ("/ai/latency: vision: age_ms p99 ≤ 100 ms", "Latency and targets"),
        ("/ai/perception_monitor: what holds frames up", "Processes"),
    ],
)
def test_other_statuses_have_one_place_too(status: str, group: str) -> None:
    assert groups_of(status) == [group]


@pytest.mark.parametrize(
    "path",
    [
        "/ai/no_topic.data",
        "/ai/latency_report.stages[:].no_field",
        "/ai/latency_report.stages.p99_ms",
        '/ai/latency_report.stages[:]{no_field=="inference"}.p99_ms',
        "/ai/latency_report.window_s.x",
        "/ai/inference_latency.value",
    ],
)
def test_a_wrong_path_is_found(path: str) -> None:
    assert foxglove_fault(path)


@pytest.mark.parametrize(
    "name", ["/ai/latency_report/stages/p99_ms", "/ai/platform_state/watts", "/ai/x/data"]
)
def test_a_wrong_curve_is_found(name: str) -> None:
    assert plotjuggler_fault(name)
