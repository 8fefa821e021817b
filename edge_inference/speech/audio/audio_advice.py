"""What somebody ought to do about the sound, from what was counted of it."""

from __future__ import annotations

from dataclasses import replace

from edge_inference.speech.audio.chunks import ChunkCounts

#: A fault stays on show for so long after it was last seen.
_SHOWN_S = 5.0


class AudioAdvice:
    """Turns counts of one stream into a sentence; for one thread."""

    def __init__(self) -> None:
        self._before = ChunkCounts()
        self._clipped_until = self._gaps_until = 0.0
        self._sources = 1

    def update(self, counts: ChunkCounts, now_s: float, sources: int) -> str:
        """Return what is to be done, empty where all is well.

        ``now_s`` is of a clock that never runs back; ``sources`` publish the sound.
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
            problems.append("the sound is clipped: lower the gain")
        return "; ".join(problems)

    def _describe_gaps(self) -> str:
        if self._sources > 1:
            return f"{self._sources} sources publish the sound in turn: leave one of them"
        return "the sound has gaps: see whether its source or the network loses some"
