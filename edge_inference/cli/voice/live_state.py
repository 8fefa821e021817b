"""What goes on in a voice pipeline at this moment."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_inference.cli.voice.utterance_tracker import Utterance, Velocity
from edge_inference.core.audio import AudioChunk, SpeechSegment
from edge_inference.core.voice import Transcript

#: What a level of nothing at all is shown as.
QUIET_DBFS = -96.0
# A chunk may come late.
_LEVEL_LASTS_S = 0.5
# Partial segments come every 0.3 s while somebody speaks.
_SPEECH_LASTS_S = 1.0


@dataclass(frozen=True)
class VoiceLiveState:
    """One look at the pipeline.

    ``level_dbfs`` is the loudest chunk since the last look: RMS, where a square wave at full scale
    has 0; None where no sound comes. ``partial`` is what has been said so far of a sentence that
    is not yet over.
    """

    level_dbfs: float | None
    is_speech: bool
    partial: str
    latest: Utterance | None
    velocity: Velocity


class AudioLevelMeter:
    """Gathers what a look needs. Any thread may add; ``now_s`` is a rising clock in seconds."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        #: The loudest since the last look, and still that one as long as no other comes.
        self._level = QUIET_DBFS
        self._was_looked_at = False
        self._heard_s = -math.inf
        self._speech_until_s = -math.inf
        self._partial = ""

    def add_audio(self, chunk: AudioChunk) -> None:
        """Measure a chunk."""
        level = level_dbfs(chunk)
        with self._lock:
            self._level = level if self._was_looked_at else max(level, self._level)
            self._was_looked_at = False
            self._heard_s = self._now_s()

    def add_speech(self, segment: SpeechSegment) -> None:
        """Take note that somebody speaks, or has ended."""
        lasts_s = 0.0 if segment.is_final else _SPEECH_LASTS_S
        with self._lock:
            self._speech_until_s = self._now_s() + lasts_s
            if segment.is_final:
                self._partial = ""

    def add_transcript(self, transcript: Transcript) -> None:
        """Take note of what has been said so far."""
        with self._lock:
            # One that was overtaken by the end of the sentence is of no interest any more.
            if not transcript.is_final and self._now_s() < self._speech_until_s:
                self._partial = transcript.text

    def look(self) -> tuple[float | None, bool, str]:
        """Return level, whether somebody speaks, and what has been said so far."""
        with self._lock:
            self._was_looked_at = True
            is_heard = self._now_s() - self._heard_s < _LEVEL_LASTS_S
            level = self._level if is_heard else None
            is_speech = self._now_s() < self._speech_until_s
            return level, is_speech, self._partial if is_speech else ""


def level_dbfs(chunk: AudioChunk) -> float:
    """Return the RMS level of a chunk relative to full scale; ``QUIET_DBFS`` at the least."""
    samples = chunk.samples
    power = float(samples @ samples) / len(samples) if len(samples) else 0.0
    return max(QUIET_DBFS, 10.0 * math.log10(power)) if power > 0.0 else QUIET_DBFS
