"""Hints about audio problems, from the counts of an audio stream."""

from __future__ import annotations

from dataclasses import replace

from edge_inference.speech.audio.chunks import ChunkCounts

#: A problem is reported for this long after its last occurrence.
_SHOWN_S = 5.0


class AudioAdvice:
    """Makes a hint from the counts of one audio stream. Not thread-safe."""

    def __init__(self) -> None:
        self._before = ChunkCounts()
        self._clipped_until = self._gaps_until = 0.0
        self._sources = 1

    def update(self, counts: ChunkCounts, now_s: float, sources: int) -> str:
        """Return a hint; empty if there is no problem.

        ``now_s`` is a time of a monotonic clock; ``sources`` is the number of audio publishers.
        """
        if counts.clipped > self._before.clipped:
            self._clipped_until = now_s + _SHOWN_S
        if counts.gaps > self._before.gaps:
            self._gaps_until = now_s + _SHOWN_S
            self._sources = sources
        self._before = replace(counts)
        problems = []
        if now_s < self._gaps_until:
            problems.append(self._describe_gaps())
        if now_s < self._clipped_until:
            problems.append("the audio is clipped: lower the gain")
        return "; ".join(problems)

    def _describe_gaps(self) -> str:
        if self._sources > 1:
            return f"{self._sources} sources publish audio on this topic: stop all but one"
        return "the audio has gaps: check whether the source or the network loses chunks"
