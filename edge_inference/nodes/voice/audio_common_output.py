"""Audio chunks in, audio_common_msgs audio out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.timer import Timer

from edge_inference.composition.reception import Reception
from edge_inference.core.audio import AudioChunk
from edge_inference.core.settings import setting
from edge_inference.nodes.component import LATCHED, Component
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.conversions.audio_common import (
    AudioDataStampedAdapter,
    AudioStampedAdapter,
    audio_common_messages,
    has_own_info,
    to_info,
)
from edge_inference.nodes.voice.audio_common_input import info_topic_of

_CHUNKS = QoSProfile(depth=100)
# As often as the driver repeats it; so subscribers without durability receive it too.
_INFO_PERIOD_S = 5.0


@dataclass(frozen=True)
class AudioCommonOutputSettings:
    """Parameters of the output for audio_common_msgs."""

    info_topic: str = setting(
        "", "topic of the AudioInfo; empty for audio_info beside the audio topic", read_only=True
    )


class AudioCommonOutput(Component):
    """Publishes audio as audio_common_msgs messages: one channel of 16 bits."""

    default_name = "audio_common_output"
    default_namespace = "ai"
    settings_class = AudioCommonOutputSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._info: Any = None
        self._timer: Timer | None = None

    def open(self) -> None:
        """Find the installed package."""
        self._messages = audio_common_messages()
        adapter: AudioDataStampedAdapter | AudioStampedAdapter
        if has_own_info(self._messages):
            adapter = AudioDataStampedAdapter(self._messages)
            topic = self.resolve_topic_name("audio_out")
            self._info = self.create_publisher(
                self._messages.AudioInfo,
                self.parameters.current.info_topic or info_topic_of(topic),
                LATCHED,
            )
        else:
            adapter = AudioStampedAdapter(self._messages)
        self._audio_out = self.make_publisher("audio_out", adapter)
        self.health.note("message", adapter.message_type.__name__)

    def start(self) -> None:
        """Subscribe to audio."""
        self._rate = 0
        self.subscribe_to(
            "audio", AudioChunkAdapter(), self._on_chunk, _CHUNKS, match_reliability=True
        )
        self._timer = self.make_timer(_INFO_PERIOD_S, self._publish_info)

    def stop(self) -> None:
        """Stop publishing the format of the audio."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def close(self) -> None:
        """Destroy the publisher of the format."""
        if self._info is not None:
            self.destroy_publisher(self._info)
            self._info = None

    def _on_chunk(self, chunk: AudioChunk, reception: Reception) -> None:
        del reception
        if chunk.sample_rate != self._rate:
            self._rate = chunk.sample_rate
            self._publish_info()
        self._audio_out.publish(chunk)
        self.health.count_processed()

    def _publish_info(self) -> None:
        if self._info is not None and self._rate:
            self._info.publish(to_info(self._messages, self._rate))
