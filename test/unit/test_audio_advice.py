"""Hints about audio problems last long enough to be read."""

from __future__ import annotations

from edge_inference.speech.audio.audio_advice import AudioAdvice
from edge_inference.speech.audio.chunks import ChunkCounts


def test_good_audio_gives_no_hint() -> None:
    assert AudioAdvice().update(ChunkCounts(chunks=10, late=1), 5.0, 1) == ""


def test_clipping_is_reported_for_some_seconds() -> None:
    advice = AudioAdvice()
    assert advice.update(ChunkCounts(clipped=1), 0.0, 1) == "the audio is clipped: lower the gain"
    assert advice.update(ChunkCounts(clipped=1), 4.9, 1) != ""
    assert advice.update(ChunkCounts(clipped=1), 5.0, 1) == ""


def test_gaps_are_reported_with_their_cause() -> None:
    advice, counts = AudioAdvice(), ChunkCounts(gaps=1)
    assert "the source or the network loses chunks" not in advice.update(counts, 0.0, 2)
    assert advice.update(counts, 1.0, 1).startswith("2 sources publish audio on this topic")
    counts.gaps = 2
    counts.clipped = 1
    words = advice.update(counts, 2.0, 1)
    assert words.startswith("the audio has gaps") and words.endswith("lower the gain")
