"""Arguments of the voice pipeline that add a component for other packages' interfaces."""

from __future__ import annotations

import pytest

from edge_inference import nodes
from edge_inference.composition.pipeline import ComponentDescription, load_pipeline
from edge_inference.core.settings import rules

ADDED = {
    "listening": ("listener", {}),
    "live_speech_topic": ("live_speech", {"live_speech": "/there"}),
    "hri_intents_topic": ("hri_intents", {"hri_intents": "/there"}),
    "audio_common_topic": ("audio_common_input", {"audio_in": "/there", "audio": "/ai/audio"}),
    "audio_common_out_topic": (
        "audio_common_output",
        {"audio_out": "/there", "audio": "/ai/audio"},
    ),
}


def started(**arguments: str) -> dict[str, ComponentDescription]:
    return {each.name: each for each in load_pipeline("voice").components(arguments)}


@pytest.mark.parametrize("argument", ADDED)
def test_an_argument_adds_its_component(argument: str) -> None:
    name, remappings = ADDED[argument]
    assert name not in started()
    component = started(**{argument: "/there"})[name]
    assert dict(component.remappings) == remappings
    assert hasattr(nodes, component.plugin.rpartition("::")[2])


def test_argument_reaches_all_its_nodes() -> None:
    by_name = started(stop_words="[stop, basta]", listening="on_demand", cmd_vel_stamped="true")
    for name in ("command", "intent_parser", "speech_recognition"):
        assert by_name[name].parameters["stop_words"] == ["stop", "basta"]
    assert by_name["voice_activity"].parameters["listening"] == "on_demand"
    assert by_name["command"].parameters["stamped"] is True


def test_every_parameter_is_one_of_its_node() -> None:
    everything = dict.fromkeys(ADDED, "x") | {"stop_words": "[x]", "cmd_vel_frame": "x"}
    for component in started(**everything).values():
        settings = getattr(nodes, component.plugin.rpartition("::")[2]).settings_class
        assert component.parameters.keys() <= set(rules(settings))
