"""Intents in, hri_actions_msgs/Intent out: one message for each intent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_inference.composition.reception import Reception
from edge_inference.core.voice import STOP, IntentArray
from edge_inference.errors import InputError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.hri import hri_intent_adapter
from edge_inference.nodes.conversions.voice import IntentArrayAdapter


@dataclass(frozen=True)
class HriIntentsSettings:
    """No parameters."""


class HriIntents(Component):
    """Publishes intents for robots whose tasks start from ROS4HRI intents.

    Intents that have a problem, or that wait for a confirmation, are left out, except a stop.
    """

    default_name = "hri_intents"
    default_namespace = "ai"
    settings_class = HriIntentsSettings

    def open(self) -> None:
        """Find the message type."""
        self._intents = self.make_publisher("hri_intents", hri_intent_adapter())

    def start(self) -> None:
        """Subscribe to intents."""
        self.subscribe_to("intent", IntentArrayAdapter(), self._on_intent)

    def _on_intent(self, spoken: IntentArray, reception: Reception) -> None:
        del reception
        is_uncertain = spoken.problem or spoken.needs_confirmation
        intents = [each for each in spoken.intents if each.name == STOP or not is_uncertain]
        for intent in intents:
            try:
                self._intents.publish(replace(spoken, intents=(intent,)))
            except InputError as error:  # the next one may be a stop
                self.report_error(error)
        if intents:
            self.health.count_processed()
