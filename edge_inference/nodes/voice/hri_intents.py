"""Intents in, hri_actions_msgs/Intent out."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.voice import Intent
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.hri import hri_intent_adapter
from edge_inference.nodes.conversions.voice import IntentAdapter


@dataclass(frozen=True)
class HriIntentsSettings:
    """It has no parameters."""


class HriIntents(Component):
    """Publishes what is meant for robots whose tasks start from ROS4HRI intents.

    What was not understood, and what nobody has said yes to yet, is left out.
    """

    default_name = "hri_intents"
    default_namespace = "ai"
    settings_class = HriIntentsSettings

    def open(self) -> None:
        """Find the message."""
        self._intents = self.make_publisher("hri_intents", hri_intent_adapter())

    def start(self) -> None:
        """Listen to intents."""
        self.subscribe_to("intent", IntentAdapter(), self._pass_on)

    def _pass_on(self, intent: Intent, by_reference: bool) -> None:
        del by_reference
        if intent.name and not intent.problem and not intent.needs_confirmation:
            self._intents.publish(intent)
            self.health.count_processed()
