"""The current state of a voice pipeline, for the live view."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_inference.cli.voice.utterance_tracker import Utterance, Velocity
from edge_inference.core.audio import AudioChunk, SpeechSegment
from edge_inference.core.voice import Transcript

#: The level that is shown for digital silence.
QUIET_DBFS = -96.0
# A chunk may be late.
_LEVEL_LASTS_S = 0.5
# Partial segments come every 0.3 s while speech goes on.
_SPEECH_LASTS_S = 1.0


@dataclass(frozen=True)
class VoiceLiveState:
    """A snapshot of the pipeline.

    ``level_dbfs`` is the RMS level of the loudest chunk since the last snapshot (0 for a square
    wave at full scale); None if no audio arrives. ``partial`` is the partial transcript of an
    utterance in progress.
    """

    level_dbfs: float | None
    is_speech: bool
    partial: str
    latest: Utterance | None
    velocity: Velocity


class AudioLevelMeter:
    """Measures level and speech for snapshots. Thread-safe; ``now_s`` is a monotonic clock."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        #: The highest level since the last snapshot; it stays until another chunk arrives.
        self._level = QUIET_DBFS
        self._is_read = False
        self._last_chunk_s = -math.inf
        self._speech_until_s = -math.inf
        self._partial = ""

    def add_audio(self, chunk: AudioChunk) -> None:
        """Measure a chunk."""
        level = level_dbfs(chunk)
        with self._lock:
            self._level = level if self._is_read else max(level, self._level)
            self._is_read = False
            self._last_chunk_s = self._now_s()

    def add_speech(self, segment: SpeechSegment) -> None:
        """Record that speech goes on or has ended."""
        lasts_s = 0.0 if segment.is_final else _SPEECH_LASTS_S
        with self._lock:
            self._speech_until_s = self._now_s() + lasts_s
            if segment.is_final:
                self._partial = ""

    def add_transcript(self, transcript: Transcript) -> None:
        """Record a partial transcript."""
        with self._lock:
            # A partial transcript may arrive after the end of its utterance.
            if not transcript.is_final and self._now_s() < self._speech_until_s:
                self._partial = transcript.text

    def snapshot(self) -> tuple[float | None, bool, str]:
        """Return the level, whether speech goes on, and the partial transcript."""
        with self._lock:
            self._is_read = True
            has_audio = self._now_s() - self._last_chunk_s < _LEVEL_LASTS_S
            level = self._level if has_audio else None
            is_speech = self._now_s() < self._speech_until_s
            return level, is_speech, self._partial if is_speech else ""


def level_dbfs(chunk: AudioChunk) -> float:
    """Return the RMS level of a chunk relative to full scale; ``QUIET_DBFS`` or more."""
    samples = chunk.samples
    power = float(samples @ samples) / len(samples) if len(samples) else 0.0
    return max(QUIET_DBFS, 10.0 * math.log10(power)) if power > 0.0 else QUIET_DBFS
