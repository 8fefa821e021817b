"""A publisher of plans and transcripts for a command node."""

from __future__ import annotations

from edge_inference.composition.bus import Publisher
from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter
from rig import Rig

STILL = (0.0, 0.0)
FAR = (ActionStep("move", distance_m=5.0, speed_mps=0.25),)


class Speaker:
    """Publishes plans and transcripts from inside the process."""

    def __init__(self, rig: Rig) -> None:
        node = rig.container.node
        self._now = lambda: node.get_clock().now().nanoseconds
        self._plans, self._words = rig.call(
            lambda: (
                Publisher(node, ActionPlanAdapter(), "/ai/action_plan", RELIABLE),
                Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE),
            )
        )

    def plan(self, *steps: ActionStep, age_s: float = 0.0, refused: str = "") -> int:
        stamp_ns = self._now() - int(age_s * 1e9)
        self._plans.publish(ActionPlan("test", steps, stamp_ns, bool(refused), refused))
        return stamp_ns

    def say(self, text: str, is_final: bool = True, age_s: float = 0.0, problem: str = "") -> None:
        stamp_ns = self._now() - int(age_s * 1e9)
        self._words.publish(Transcript(text, 0.9, "command", stamp_ns, is_final, problem=problem))
