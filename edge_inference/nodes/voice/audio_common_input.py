"""audio_common_msgs audio in, audio chunks for voice activity out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSProfile

from edge_inference.composition.reception import Reception
from edge_inference.core.audio import AudioChunk
from edge_inference.core.settings import setting
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import LATCHED, Component
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.conversions.audio_common import (
    AudioDataStampedAdapter,
    AudioInfoAdapter,
    AudioStampedAdapter,
    audio_common_messages,
    has_own_info,
)

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # before Iron
    from rclpy.qos_event import SubscriptionEventCallbacks

_CHUNKS = QoSProfile(depth=100)
# Some drivers repeat the AudioInfo, others latch it; one subscription receives only one kind.
_INFO_QOS = (QoSProfile(depth=1), LATCHED)


@dataclass(frozen=True)
class AudioCommonInputSettings:
    """Parameters of the input for audio_common_msgs."""

    info_topic: str = setting(
        "", "topic of the AudioInfo; empty for audio_info beside the audio topic", read_only=True
    )


class AudioCommonInput(Component):
    """Converts audio of audio_common_msgs, from either of the two packages of that name.

    Accepts all usual rates and up to 64 channels; refuses compressed audio.
    """

    default_name = "audio_common_input"
    default_namespace = "ai"
    own_executor = True
    settings_class = AudioCommonInputSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._info_subscriptions: list[Any] = []

    def open(self) -> None:
        """Find the installed package."""
        self._messages = audio_common_messages()
        self._chunks = self.make_publisher("audio", AudioChunkAdapter())
        self.health.expect("audio")

    def start(self) -> None:
        """Subscribe to the audio and to its format."""
        adapter: AudioDataStampedAdapter | AudioStampedAdapter
        if has_own_info(self._messages):
            adapter = AudioDataStampedAdapter(self._messages)
            self._subscribe_to_info(adapter)
        else:
            adapter = AudioStampedAdapter(self._messages)
        self.health.note("message", adapter.message_type.__name__)
        self.subscribe_to("audio_in", adapter, self._on_chunk, _CHUNKS, match_reliability=True)

    def stop(self) -> None:
        """Destroy the subscriptions to the format."""
        for info in self._info_subscriptions:
            self.destroy_subscription(info)
        self._info_subscriptions.clear()

    def _subscribe_to_info(self, adapter: AudioDataStampedAdapter) -> None:
        info_adapter = AudioInfoAdapter(self._messages)
        topic = self.parameters.current.info_topic or info_topic_of(
            self.resolve_topic_name("audio_in")
        )
        for qos in _INFO_QOS:
            self._info_subscriptions.append(
                self.create_subscription(
                    self._messages.AudioInfo,
                    topic,
                    lambda data: self._on_info(info_adapter, data, adapter),
                    qos,
                    raw=True,
                    # One of the two QoS profiles is never compatible; that needs no warning.
                    event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                )
            )

    def _on_info(
        self, info_adapter: AudioInfoAdapter, data: bytes, adapter: AudioDataStampedAdapter
    ) -> None:
        try:
            audio_format = info_adapter.from_bytes(data)
        except EdgeInferenceError as error:
            adapter.audio_format = None
            self.report_error(error, "info", lost=False)
            return
        adapter.audio_format = audio_format
        self.health.note(
            "audio",
            f"{audio_format.sample_format}, {audio_format.sample_rate} Hz, "
            f"{audio_format.channels} channels",
        )

    def _on_chunk(self, chunk: AudioChunk, reception: Reception) -> None:
        del reception
        self._chunks.publish(chunk)
        self.health.count_processed()


def info_topic_of(topic: str) -> str:
    """Return the default topic of the AudioInfo for a topic with audio."""
    return topic.rpartition("/")[0] + "/audio_info"
