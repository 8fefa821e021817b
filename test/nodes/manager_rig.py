"""A platform manager on a recorded machine, and a fake manager."""

from __future__ import annotations

from pathlib import Path

from edge_inference.composition.bus import Publisher
from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.performance import DirectiveAdapter
from rig import Collected, Rig

RECORDINGS = Path(__file__).parents[1] / "platform_recordings"
TOPIC = "/ai/performance_directive"


def recorded(name: str) -> str:
    return str(RECORDINGS / f"{name}.jsonl")


def manager(rig: Rig, tree: str = "orin_nx", *arguments: str, **parameters):
    settings = {"recording": recorded(tree), "rate_hz": 10.0, **parameters}
    return rig.load("PlatformManager", *arguments, **settings)


class FakeManager:
    """Publishes directives as a platform manager does."""

    def __init__(self, rig: Rig, name: str = "fake") -> None:
        node = rig.container.node
        self._publisher = rig.call(lambda: Publisher(node, DirectiveAdapter(), TOPIC, RELIABLE))
        self._name = name

    def send(self, number: int, node: str = "/ai/inference", **limits) -> None:
        level = DirectiveLevel.REDUCED if limits else DirectiveLevel.FULL
        self._publisher.publish(
            Directive(number, self._name, node, level, 0.5, DirectiveLimits(**limits), "a test")
        )


def last(workloads: Collected):
    return workloads[-1]
