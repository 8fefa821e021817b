"""Adapters for audio messages: AudioChunk and SpeechSegment."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core import audio as core
from edge_inference.errors import InputError
from edge_inference.msg import AudioChunk, SpeechSegment
from edge_inference.nodes.conversions.headers import stamp_ns, time_ns, to_header, to_time
from edge_inference.speech.audio.resample import MAX_SAMPLE_RATE

_MAX_CHUNK_SAMPLES = round(core.MAX_CHUNK_S * MAX_SAMPLE_RATE)
_MAX_SPEECH_SAMPLES = round(core.MAX_SPEECH_S * core.SAMPLE_RATE)

#: Fits the longest speech segment, one minute; up to a hundred chunks of this size may wait.
AUDIO_BOUNDS = MessageBounds(size=4 << 20)


class AudioChunkAdapter(Adapter[core.AudioChunk]):
    """A chunk of audio."""

    message_type = AudioChunk
    bounds = AUDIO_BOUNDS

    def to_message(self, item: core.AudioChunk) -> AudioChunk:
        """Build the message; the sequence number wraps at 32 bits."""
        return AudioChunk(
            header=to_header(item.stamp_ns, item.frame_id),
            sequence=item.sequence % 2**32,
            sample_rate=item.sample_rate,
            samples=_to_array(item.samples),
        )

    def from_message(self, message: AudioChunk) -> core.AudioChunk:
        """Build the object; raises InputError for a rate of 0 and for invalid samples."""
        if not message.sample_rate:
            raise InputError(
                "AudioChunk: sample_rate: expected samples per second, got 0; set it in the "
                f"publisher (usually {core.SAMPLE_RATE})"
            )
        return core.AudioChunk(
            samples=_to_samples(message.samples, "AudioChunk", _MAX_CHUNK_SAMPLES),
            sample_rate=int(message.sample_rate),
            stamp_ns=stamp_ns(message.header),
            sequence=int(message.sequence),
            frame_id=message.header.frame_id,
        )


class SpeechSegmentAdapter(Adapter[core.SpeechSegment]):
    """A segment of audio with speech."""

    message_type = SpeechSegment
    bounds = AUDIO_BOUNDS

    def to_message(self, item: core.SpeechSegment) -> SpeechSegment:
        """Build the message."""
        return SpeechSegment(
            header=to_header(item.stamp_ns, item.frame_id),
            start=to_time(item.start_ns),
            is_final=item.is_final,
            sample_rate=core.SAMPLE_RATE,
            samples=_to_array(item.samples),
        )

    def from_message(self, message: SpeechSegment) -> core.SpeechSegment:
        """Build the object; raises InputError for a wrong rate and for an end before the start."""
        if message.sample_rate != core.SAMPLE_RATE:
            raise InputError(
                f"SpeechSegment: sample_rate: expected {core.SAMPLE_RATE}, got "
                f"{message.sample_rate}; publish AudioChunk on the topic audio, which is resampled"
            )
        start_ns = time_ns(message.start)
        end_ns = stamp_ns(message.header)
        if end_ns < start_ns:
            raise InputError(
                f"SpeechSegment: expected a stamp (last sample) after start, got {end_ns} ns "
                f"before {start_ns} ns"
            )
        return core.SpeechSegment(
            samples=_to_samples(message.samples, "SpeechSegment", _MAX_SPEECH_SAMPLES),
            start_ns=start_ns,
            stamp_ns=end_ns,
            is_final=message.is_final,
            frame_id=message.header.frame_id,
        )


def _to_array(samples: NDArray[np.float32]) -> array[float]:
    return array("f", np.ascontiguousarray(samples, dtype=np.float32).tobytes())


def _to_samples(values: Any, name: str, max_samples: int) -> NDArray[np.float32]:
    if len(values) > max_samples:
        raise InputError(
            f"{name}: samples: expected at most {max_samples}, got {len(values)}; publish "
            "shorter ones"
        )
    samples = np.array(values, dtype=np.float32)
    samples.flags.writeable = False
    # A comparison with NaN is False.
    if samples.size and not float(np.abs(samples).max()) <= 1.0:
        raise InputError(
            f"{name}: samples: expected numbers within -1..1, got {samples.min():g} to "
            f"{samples.max():g}; divide 16-bit samples by 32768, and clip the result"
        )
    return samples
