"""Adapters for the audio messages of audio_common_msgs.

Two packages have that name. The one of ros-drivers sends bytes (``AudioDataStamped``) and their
format in a separate ``AudioInfo``; the one of mgonzs13 sends both together (``AudioStamped``).
The messages in the installed package tell which one it is.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_inference.composition.adapter import Adapter
from edge_inference.core.audio import AudioChunk
from edge_inference.errors import ConfigError, InputError
from edge_inference.nodes.conversions.audio import AUDIO_BOUNDS
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.speech.audio.pcm import check_length, from_pcm, to_pcm16

#: What this package publishes.
_OUTPUT_FORMAT = "S16LE"
_OUTPUT_CODING = "wave"
_UNCOMPRESSED = ("", "wave", "wav", "raw", "pcm")
_INT16 = 8
#: By PortAudio's format number: the field with the samples, their dtype and GStreamer's name.
_FIELDS = {
    1: ("float32_data", "<f4", "F32LE"),
    2: ("int32_data", "<i4", "S32LE"),
    _INT16: ("int16_data", "<i2", "S16LE"),
    16: ("int8_data", "i1", "S8"),
    32: ("uint8_data", "u1", "U8"),
}


def audio_common_messages() -> Any:
    """Return the messages of the installed audio_common_msgs; ConfigError if there is none."""
    try:
        from audio_common_msgs import msg
    except ImportError:
        raise ConfigError(
            "audio_common_msgs is not installed; install it, or leave its audio topics empty"
        ) from None
    if not hasattr(msg, "AudioDataStamped") and not hasattr(msg, "AudioStamped"):
        raise ConfigError(
            "audio_common_msgs: expected AudioDataStamped (ros-drivers) or AudioStamped (mgonzs13) "
            f"in it, got {', '.join(name for name in dir(msg) if name.startswith('Audio'))}"
        )
    return msg


def has_own_info(messages: Any) -> bool:
    """Tell whether the format has a message of its own (ros-drivers)."""
    return hasattr(messages, "AudioDataStamped")


@dataclass(frozen=True)
class AudioFormat:
    """The format of audio bytes; ``sample_format`` is GStreamer's name, such as S16LE."""

    sample_rate: int
    channels: int
    sample_format: str

    @classmethod
    def from_info(cls, info: Any) -> AudioFormat:
        """Read an ``AudioInfo``; raises InputError for compressed audio and a rate of 0."""
        if info.coding_format.lower() not in _UNCOMPRESSED:
            raise InputError(
                f"AudioInfo: coding_format {info.coding_format!r:.100}: expected uncompressed "
                "audio; start the capture with format:=wave"
            )
        if not info.sample_rate:
            raise InputError("AudioInfo: sample_rate: expected samples per second, got 0")
        return cls(int(info.sample_rate), int(info.channels), info.sample_format)


class AudioDataStampedAdapter(Adapter[AudioChunk]):
    """A chunk of audio as bytes in a format that another message describes.

    ``audio_format`` is None until that message has arrived.
    """

    bounds = AUDIO_BOUNDS

    def __init__(self, messages: Any) -> None:
        self.message_type = messages.AudioDataStamped
        self.audio_format: AudioFormat | None = None
        self._data_type = messages.AudioData

    def to_message(self, item: AudioChunk) -> Any:
        """Build the message: one channel of 16 bits."""
        data = array("B", to_pcm16(item.samples).astype("<i2").tobytes())
        header = to_header(item.stamp_ns, item.frame_id)
        return self.message_type(header=header, audio=self._data_type(data=data))

    def from_message(self, message: Any) -> AudioChunk:
        """Build the object; raises InputError before an AudioInfo, and for invalid bytes."""
        audio_format = self.audio_format
        if audio_format is None:
            raise InputError(
                "AudioDataStamped: expected an AudioInfo before it, got none; publish one, latched "
                "or repeatedly, on the topic audio_info beside it"
            )
        check_length(len(message.audio.data))
        data, sample_format = bytes(message.audio.data), audio_format.sample_format
        samples = from_pcm(data, sample_format, audio_format.channels)
        return _chunk(samples, audio_format.sample_rate, message.header)


class AudioStampedAdapter(Adapter[AudioChunk]):
    """A chunk of audio together with its format."""

    bounds = AUDIO_BOUNDS

    def __init__(self, messages: Any) -> None:
        self.message_type = messages.AudioStamped
        self._messages = messages

    def to_message(self, item: AudioChunk) -> Any:
        """Build the message: one channel of 16 bits."""
        count = len(item.samples)
        info = self._messages.AudioInfo(
            format=_INT16, channels=1, rate=item.sample_rate, chunk=count
        )
        data = self._messages.AudioData(int16_data=array("h", to_pcm16(item.samples).tobytes()))
        audio = self._messages.Audio(audio_data=data, info=info)
        return self.message_type(header=to_header(item.stamp_ns, item.frame_id), audio=audio)

    def from_message(self, message: Any) -> AudioChunk:
        """Build the object; raises InputError for an unknown format and a rate below 1."""
        info = message.audio.info
        if info.format not in _FIELDS:
            raise InputError(
                f"AudioStamped: format: expected {', '.join(map(str, _FIELDS))} (PortAudio's "
                f"numbers), got {info.format}"
            )
        if info.rate < 1:
            raise InputError(f"AudioStamped: rate: expected samples per second, got {info.rate}")
        field, dtype, sample_format = _FIELDS[info.format]
        data = np.asarray(getattr(message.audio.audio_data, field), dtype)
        check_length(data.nbytes)
        samples = from_pcm(data.tobytes(), sample_format, int(info.channels))
        return _chunk(samples, int(info.rate), message.header)


class AudioInfoAdapter(Adapter[AudioFormat]):
    """The format of the bytes in ``AudioDataStamped``."""

    def __init__(self, messages: Any) -> None:
        self.message_type = messages.AudioInfo

    def to_message(self, item: AudioFormat) -> Any:
        """Build the message; its bit rate is for 16 bits a sample, as this package publishes."""
        return self.message_type(
            channels=item.channels,
            sample_rate=item.sample_rate,
            sample_format=item.sample_format,
            bitrate=item.sample_rate * item.channels * 16,
            coding_format=_OUTPUT_CODING,
        )

    def from_message(self, message: Any) -> AudioFormat:
        """Read the format; raises InputError for compressed audio and a rate of 0."""
        return AudioFormat.from_info(message)


def to_info(messages: Any, sample_rate: int) -> Any:
    """Return the ``AudioInfo`` for the audio that this package publishes."""
    return AudioInfoAdapter(messages).to_message(AudioFormat(sample_rate, 1, _OUTPUT_FORMAT))


def _chunk(samples: Any, sample_rate: int, header: Any) -> AudioChunk:
    samples.flags.writeable = False
    return AudioChunk(samples, sample_rate, stamp_ns(header), frame_id=header.frame_id)
