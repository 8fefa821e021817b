"""Unloading a component frees all of its objects."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from edge_inference import nodes
from edge_inference.backends.base import Backend
from edge_inference.composition.adapter import Adapter
from edge_inference.composition.bus import Publisher, Subscription
from edge_inference.core.runtime.worker import Worker
from edge_inference.nodes.component import Component
from perception_rig import ASTRONAUT
from rig import Rig, wait_for

KINDS = (Component, Adapter, Backend, Publisher, Subscription, Worker)
MODELS = Path(__file__).parents[2] / "models"
RECORDINGS = Path(__file__).parents[1] / "platform_recordings"
SOUND = MODELS / "moonshine_tiny" / "golden" / "go_forward_ten_meters.wav"
PARAMETERS: dict[str, dict[str, Any]] = {
    "AudioSource": {"source": str(SOUND)},
    "PlatformManager": {"recording": str(RECORDINGS / "orin_nx.jsonl")},
}


@pytest.fixture(autouse=True)
def imported() -> None:
    """Import all modules first, so that their own objects do not count."""
    for name in nodes.__all__:
        getattr(nodes, name)


def alive() -> dict[int, Any]:
    """Return our objects that a node references, by identity."""
    return {id(each): each for each in gc.get_objects() if isinstance(each, KINDS)}


def left(watched: list[weakref.ref[Any]]) -> list[Any]:
    gc.collect()
    return [found for reference in watched if (found := reference()) is not None]


@pytest.mark.parametrize("name", nodes.__all__)
def test_unloaded_component_is_freed(rig: Rig, name: str) -> None:
    before = set(alive())
    component = rig.load_component(name, **PARAMETERS.get(name, {}))
    watched = [weakref.ref(each) for key, each in alive().items() if key not in before]
    assert any(reference() is component.node for reference in watched)
    number = component.id
    del component
    rig.call(lambda: rig.container.unload(number))
    # The executor drops its reference to a node when it runs again.
    wait_for(lambda: not left(watched), "everything of it to be gone")


def test_closed_pipeline_is_freed(rig: Rig) -> None:
    before = set(alive())
    overlays = rig.tap("/ai/overlay")
    for name in ("Decode", "Inference", "Preprocess", "Overlay", "Latency"):
        rig.load(name, "-r", "image_raw:=/camera/image_raw")
    rig.load("MediaSource", source=str(ASTRONAUT), loop=True, rate=20.0)
    overlays.wait(2)
    watched = [weakref.ref(each) for key, each in alive().items() if key not in before]
    kinds = {type(found).__name__ for found in left(watched)}
    assert {"Inference", "OrtBackend", "TensorListAdapter", "Worker"} <= kinds
    for number in [component.id for component in rig.container.components]:
        rig.call(lambda number=number: rig.container.unload(number))
    wait_for(lambda: not left(watched), "everything of it to be gone")
