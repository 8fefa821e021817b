"""Intents in, hri_actions_msgs/Intent out."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.voice import Intent
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.hri import hri_intent_adapter
from edge_inference.nodes.conversions.voice import IntentAdapter


@dataclass(frozen=True)
class HriIntentsSettings:
    """No parameters."""


class HriIntents(Component):
    """Publishes intents for robots whose tasks start from ROS4HRI intents.

    Intents that have a problem, or that wait for a confirmation, are left out.
    """

    default_name = "hri_intents"
    default_namespace = "ai"
    settings_class = HriIntentsSettings

    def open(self) -> None:
        """Find the message type."""
        self._intents = self.make_publisher("hri_intents", hri_intent_adapter())

    def start(self) -> None:
        """Subscribe to intents."""
        self.subscribe_to("intent", IntentAdapter(), self._on_intent)

    def _on_intent(self, intent: Intent, by_reference: bool) -> None:
        del by_reference
        if intent.name and not intent.problem and not intent.needs_confirmation:
            self._intents.publish(intent)
            self.health.count_processed()
