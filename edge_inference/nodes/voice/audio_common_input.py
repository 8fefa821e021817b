"""Sound of audio_common_msgs in, sound for voice activity out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSProfile

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
# Drivers repeat what their sound is, others latch it. A subscription hears only one of both.
_INFO = (QoSProfile(depth=1), LATCHED)


@dataclass(frozen=True)
class AudioCommonInputSettings:
    """Parameters of the way in for sound of audio_common_msgs."""

    info_topic: str = setting(
        "", "topic of the AudioInfo; empty for audio_info beside the sound", read_only=True
    )


class AudioCommonInput(Component):
    """Takes sound of audio_common_msgs, whichever of the two packages is installed.

    Any usual rate, up to 64 channels; compressed sound is refused.
    """

    default_name = "audio_common_input"
    default_namespace = "ai"
    own_executor = True
    settings_class = AudioCommonInputSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._infos: list[Any] = []

    def open(self) -> None:
        """Find out which package is installed."""
        self._messages = audio_common_messages()
        self._chunks = self.make_publisher("audio", AudioChunkAdapter())
        self.health.expect("sound")

    def start(self) -> None:
        """Listen to the sound, and to what it is."""
        adapter: AudioDataStampedAdapter | AudioStampedAdapter
        if has_own_info(self._messages):
            adapter = AudioDataStampedAdapter(self._messages)
            self._listen_to_info(adapter)
        else:
            adapter = AudioStampedAdapter(self._messages)
        self.health.note("message", adapter.message_type.__name__)
        self.subscribe_to("audio_in", adapter, self._pass_on, _CHUNKS, match_reliability=True)

    def stop(self) -> None:
        """Listen to nothing."""
        for info in self._infos:
            self.destroy_subscription(info)
        self._infos.clear()

    def _listen_to_info(self, adapter: AudioDataStampedAdapter) -> None:
        infos = AudioInfoAdapter(self._messages)
        topic = self.parameters.current.info_topic or beside(self.resolve_topic_name("audio_in"))
        for qos in _INFO:
            self._infos.append(
                self.create_subscription(
                    self._messages.AudioInfo,
                    topic,
                    lambda data: self._on_info(infos, data, adapter),
                    qos,
                    raw=True,
                    # One of the two never fits; that is nothing to warn about.
                    event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                )
            )

    def _on_info(
        self, infos: AudioInfoAdapter, data: bytes, adapter: AudioDataStampedAdapter
    ) -> None:
        try:
            known = infos.from_bytes(data)
        except EdgeInferenceError as error:
            adapter.sound_format = None
            self.report_error(error, "info", lost=False)
            return
        adapter.sound_format = known
        words = f"{known.sample_format}, {known.sample_rate} Hz, {known.channels} channels"
        self.health.note("sound", words)

    def _pass_on(self, chunk: AudioChunk, by_reference: bool) -> None:
        del by_reference
        self._chunks.publish(chunk)
        self.health.count_processed()


def beside(topic: str) -> str:
    """Return the topic of the AudioInfo of a sound."""
    return topic.rpartition("/")[0] + "/audio_info"
