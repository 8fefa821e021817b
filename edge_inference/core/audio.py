"""Sound on its way through the voice pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: What every stage behind the source works on, samples a second.
SAMPLE_RATE = 16_000
#: Longest chunk of sound from outside: a command waits for a chunk's end.
MAX_CHUNK_S = 30.0
#: Longest that somebody may speak in one go.
MAX_SPEECH_S = 60.0
#: Most channels that a sound may have.
MAX_CHANNELS = 64


@dataclass(frozen=True, eq=False)
class AudioChunk:
    """A piece of one channel of sound.

    ``samples`` is float32 [n] within -1..1, read-only. ``stamp_ns`` is the moment of the first
    sample on the node's clock. ``sequence`` counts chunks of one source, so that a gap shows.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    stamp_ns: int
    sequence: int = 0
    frame_id: str = ""

    @property
    def end_ns(self) -> int:
        """The moment after the last sample."""
        return self.stamp_ns + round(len(self.samples) * 1e9 / self.sample_rate)


@dataclass(frozen=True, eq=False)
class SpeechSegment:
    """What somebody said in one go, with a little before it.

    ``samples`` is float32 [n] at ``SAMPLE_RATE``, read-only. ``stamp_ns`` is the moment of the
    **last** sample with speech: it travels unchanged into everything made from it, so delays are
    measured from data. ``start_ns`` is the moment of the first sample. ``is_final`` is
    False for what has been said so far of an utterance that goes on. ``is_mixed`` tells that the
    robot itself spoke meanwhile; no message has it: such speech has a topic of its own.
    """

    samples: NDArray[np.float32]
    start_ns: int
    stamp_ns: int
    is_final: bool = True
    frame_id: str = ""
    is_mixed: bool = False
