"""Transcripts in, hri_msgs/LiveSpeech out."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.voice import Transcript
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.hri import live_speech_adapter
from edge_inference.nodes.conversions.voice import TranscriptAdapter


@dataclass(frozen=True)
class LiveSpeechSettings:
    """It has no parameters."""


class LiveSpeech(Component):
    """Publishes what is said, word by word and at its end, for robots that keep to REP 155.

    What was not understood is left out.
    """

    default_name = "live_speech"
    default_namespace = "ai"
    settings_class = LiveSpeechSettings

    def open(self) -> None:
        """Find the message."""
        self._speech = self.make_publisher("live_speech", live_speech_adapter())

    def start(self) -> None:
        """Listen to transcripts."""
        self.subscribe_to("transcript", TranscriptAdapter(), self._pass_on)

    def _pass_on(self, transcript: Transcript, by_reference: bool) -> None:
        del by_reference
        if transcript.text:
            self._speech.publish(transcript)
            self.health.count_processed()
