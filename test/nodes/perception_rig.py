"""The perception stages in a rig, fed by reference with one real image."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_inference.composition.bus import Publisher
from edge_inference.core.images.frame import Frame
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.measured_costs import MeasuredCosts
from edge_inference.nodes.component import RELIABLE, Component
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.perception import operating_points
from rig import Collected, Rig

LEADER = "/ai/inference"
ASTRONAUT = Path(__file__).parents[2] / "models" / "nanodet" / "golden" / "astronaut.jpg"


def offer_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nodes offer operating points that are cheaper in theory, without measured costs."""
    nothing = types.SimpleNamespace(read=lambda report: MeasuredCosts())
    monkeypatch.setattr(operating_points, "CostCache", lambda folder: nothing)


def state(
    model: str, previous: str = "", node: str = LEADER, name: str = "", path: str = ""
) -> InferenceState:
    """Return what an inference node says that serves this model; by default it is called so."""
    return InferenceState(
        node=node,
        model=model,
        model_path=path,
        model_name=name or model,
        previous_model=previous,
        backend="ort",
        precision="fp32",
        engine="",
        takes_images=False,
        preparing="",
        progress=None,
        problem="",
    )


class Pipeline:
    """Preprocess, inference and decode; ``platform`` is the namespace of the manager obeyed."""

    def __init__(
        self,
        rig: Rig,
        inference: dict[str, Any] | None = None,
        namespace: str = "/ai",
        platform: str = "/ai",
        **parameters: Any,
    ):
        settings = {"golden_check": "off", "self_check": "off", **(inference or {})}
        place = ("-r", f"__ns:={namespace}")
        topics = ("performance_directive", "workload")
        remappings = [word for name in topics for word in ("-r", f"{name}:={platform}/{name}")]
        self.rig = rig
        # Before the node: its first state counts.
        self.states = rig.tap(f"{namespace}/inference_state")
        self.decode: Component = rig.load("Decode", *place, **parameters)
        self.inference: Component = rig.load(
            "Inference", *place, *remappings, **settings, **parameters
        )
        self.preprocess: Component = rig.load(
            "Preprocess", *place, "-r", "image_raw:=/image", **parameters
        )
        self.stages = [self.decode, self.inference, self.preprocess]
        node = rig.container.node
        self.images = rig.call(lambda: Publisher(node, ImageAdapter(), "/image", RELIABLE))
        self.detections = rig.tap(f"{namespace}/detections")
        self.classes = rig.tap(f"{namespace}/classification")
        self.image = cv2.imread(str(ASTRONAUT))

    def send(self) -> int:
        """Publish the image; return its stamp."""
        stamp = self.rig.container.node.get_clock().now().nanoseconds
        self.images.publish(Frame.from_array(np.array(self.image), "bgr8", stamp, "cam"))
        return stamp

    def next(self, results: Collected) -> Any:
        """Send an image and return what was found in it."""
        count = len(results)
        self.send()
        return results.wait(count + 1)[count]

    def lost(self) -> dict[str, int]:
        """Return how many frames each reason has cost, over all stages."""
        total: dict[str, int] = {}
        for stage in self.stages:
            for reason, count in stage.health.drop_counts().items():
                total[reason] = total.get(reason, 0) + count
        return total
