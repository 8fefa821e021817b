"""Audio data of the voice pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Sample rate of every stage after the source, in Hz.
SAMPLE_RATE = 16_000
#: Longest accepted audio chunk: a command waits for the end of a chunk.
MAX_CHUNK_S = 30.0
#: Longest speech segment.
MAX_SPEECH_S = 60.0
#: Most channels of an audio stream.
MAX_CHANNELS = 64


@dataclass(frozen=True, eq=False)
class AudioChunk:
    """A chunk of one audio channel.

    ``samples`` is float32 [n] within -1..1, read-only. ``stamp_ns`` is the time of the first
    sample on the node's clock. ``sequence`` counts the chunks of one source and shows gaps.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    stamp_ns: int
    sequence: int = 0
    frame_id: str = ""

    @property
    def end_ns(self) -> int:
        """The time after the last sample."""
        return self.stamp_ns + round(len(self.samples) * 1e9 / self.sample_rate)


@dataclass(frozen=True, eq=False)
class SpeechSegment:
    """One utterance with its pre-roll.

    ``samples`` is float32 [n] at ``SAMPLE_RATE``, read-only. ``stamp_ns`` is the time of the
    **last** sample with speech. All later results keep it unchanged, so delays are measured from
    data. ``start_ns`` is the time of the first sample. ``is_final`` is False for a partial
    segment of an utterance that continues. ``is_mixed`` means that the robot itself spoke at the
    same time; it is not a message field: mixed speech has its own topic.
    """

    samples: NDArray[np.float32]
    start_ns: int
    stamp_ns: int
    is_final: bool = True
    frame_id: str = ""
    is_mixed: bool = False
