"""Sound as audio_common_msgs has it.

Two packages share that name. That of ros-drivers sends bytes (``AudioDataStamped``) and says in an
``AudioInfo`` of its own what they are; that of mgonzs13 sends both together (``AudioStamped``).
They are told apart by the messages in them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_inference.composition.adapter import Adapter
from edge_inference.core.audio import AudioChunk
from edge_inference.errors import ConfigError, InputError
from edge_inference.nodes.conversions.audio import SOUND_BOUNDS
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.speech.audio.pcm import check_length, from_pcm, to_pcm16

#: What we publish.
_OUR_FORMAT = "S16LE"
_OUR_CODING = "wave"
_UNCOMPRESSED = ("", "wave", "wav", "raw", "pcm")
_INT16 = 8
#: PortAudio's numbers: the field with the samples, and how their bytes are called.
_FIELDS = {
    1: ("float32_data", "<f4", "F32LE"),
    2: ("int32_data", "<i4", "S32LE"),
    _INT16: ("int16_data", "<i2", "S16LE"),
    16: ("int8_data", "i1", "S8"),
    32: ("uint8_data", "u1", "U8"),
}


def audio_common_messages() -> Any:
    """Return the messages of the audio_common_msgs that is installed; ConfigError for none."""
    try:
        from audio_common_msgs import msg
    except ImportError:
        raise ConfigError(
            "audio_common_msgs is not installed; install it, or leave the topics of its sound empty"
        ) from None
    if not hasattr(msg, "AudioDataStamped") and not hasattr(msg, "AudioStamped"):
        raise ConfigError(
            "audio_common_msgs: expected AudioDataStamped (ros-drivers) or AudioStamped (mgonzs13) "
            f"in it, there are {', '.join(name for name in dir(msg) if name.startswith('Audio'))}"
        )
    return msg


def has_own_info(messages: Any) -> bool:
    """Tell whether the sound's format comes in a message of its own (ros-drivers)."""
    return hasattr(messages, "AudioDataStamped")


@dataclass(frozen=True)
class SoundFormat:
    """What bytes of sound are; ``sample_format`` is GStreamer's name, such as S16LE."""

    sample_rate: int
    channels: int
    sample_format: str

    @classmethod
    def of(cls, info: Any) -> SoundFormat:
        """Read an ``AudioInfo``; raises InputError for compressed sound and a rate of 0."""
        if info.coding_format.lower() not in _UNCOMPRESSED:
            raise InputError(
                f"AudioInfo: coding_format {info.coding_format!r:.100}: expected uncompressed "
                "sound; start the capture with format:=wave"
            )
        if not info.sample_rate:
            raise InputError("AudioInfo: sample_rate: expected samples a second, got 0")
        return cls(int(info.sample_rate), int(info.channels), info.sample_format)


class AudioDataStampedAdapter(Adapter[AudioChunk]):
    """A piece of sound as bytes; what they are has to be known before.

    ``sound_format`` is None as long as nobody has said it.
    """

    bounds = SOUND_BOUNDS

    def __init__(self, messages: Any) -> None:
        self.message_type = messages.AudioDataStamped
        self.sound_format: SoundFormat | None = None
        self._data_type = messages.AudioData

    def to_message(self, item: AudioChunk) -> Any:
        """Build the message: one channel of 16 bits."""
        data = array("B", to_pcm16(item.samples).astype("<i2").tobytes())
        header = to_header(item.stamp_ns, item.frame_id)
        return self.message_type(header=header, audio=self._data_type(data=data))

    def from_message(self, message: Any) -> AudioChunk:
        """Build the object; raises InputError while no AudioInfo has come, and for odd bytes."""
        known = self.sound_format
        if known is None:
            raise InputError(
                "AudioDataStamped: no AudioInfo has said what it is; publish one, latched or again "
                "and again, on the topic audio_info beside it"
            )
        check_length(len(message.audio.data))
        samples = from_pcm(bytes(message.audio.data), known.sample_format, known.channels)
        return _chunk(samples, known.sample_rate, message.header)


class AudioStampedAdapter(Adapter[AudioChunk]):
    """A piece of sound with what it is."""

    bounds = SOUND_BOUNDS

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
            raise InputError(f"AudioStamped: rate: expected samples a second, got {info.rate}")
        field, dtype, sample_format = _FIELDS[info.format]
        data = np.asarray(getattr(message.audio.audio_data, field), dtype)
        check_length(data.nbytes)
        samples = from_pcm(data.tobytes(), sample_format, int(info.channels))
        return _chunk(samples, int(info.rate), message.header)


class AudioInfoAdapter(Adapter[SoundFormat]):
    """What the bytes of ``AudioDataStamped`` are."""

    def __init__(self, messages: Any) -> None:
        self.message_type = messages.AudioInfo

    def to_message(self, item: SoundFormat) -> Any:
        """Build the message; the bit rate is that of 16 bits a sample, as we publish."""
        return self.message_type(
            channels=item.channels,
            sample_rate=item.sample_rate,
            sample_format=item.sample_format,
            bitrate=item.sample_rate * item.channels * 16,
            coding_format=_OUR_CODING,
        )

    def from_message(self, message: Any) -> SoundFormat:
        """Read the format; raises InputError for compressed sound and a rate of 0."""
        return SoundFormat.of(message)


def to_info(messages: Any, sample_rate: int) -> Any:
    """Return the ``AudioInfo`` of what we publish."""
    return AudioInfoAdapter(messages).to_message(SoundFormat(sample_rate, 1, _OUR_FORMAT))


def _chunk(samples: Any, sample_rate: int, header: Any) -> AudioChunk:
    samples.flags.writeable = False
    return AudioChunk(samples, sample_rate, stamp_ns(header), frame_id=header.frame_id)
