"""Transcripts in, hri_msgs/LiveSpeech out."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.composition.reception import Reception
from edge_inference.core.voice import Transcript
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.hri import live_speech_adapter
from edge_inference.nodes.conversions.voice import TranscriptAdapter


@dataclass(frozen=True)
class LiveSpeechSettings:
    """No parameters."""


class LiveSpeech(Component):
    """Publishes partial and final transcripts for robots that follow REP 155.

    Transcripts without text are left out.
    """

    default_name = "live_speech"
    default_namespace = "ai"
    settings_class = LiveSpeechSettings

    def open(self) -> None:
        """Find the message type."""
        self._speech = self.make_publisher("live_speech", live_speech_adapter())

    def start(self) -> None:
        """Subscribe to transcripts."""
        self.subscribe_to("transcript", TranscriptAdapter(), self._on_transcript)

    def _on_transcript(self, transcript: Transcript, reception: Reception) -> None:
        del reception
        if transcript.text:
            self._speech.publish(transcript)
            self.health.count_processed()
