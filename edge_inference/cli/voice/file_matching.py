"""Assigns utterances to audio files, and checks them against the expected sentences."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from edge_inference.cli.voice.expectations import (
    Expectation,
    ExpectedSentence,
    SentenceResult,
    compare_sentence,
)
from edge_inference.cli.voice.utterance_tracker import Utterance
from edge_inference.cli.voice.velocity_record import CommandedMotion, VelocityRecord
from edge_inference.core.audio import AudioChunk
from edge_inference.errors import ConfigError
from edge_inference.speech.audio.sources import open_audio_input

# Shorter than any chunk; sums of chunk lengths have rounding errors.
_ROUNDING_S = 0.001


class FileMatcher:
    """Tells from the audio that is played which file it belongs to. Thread-safe.

    ``lengths_s`` are the lengths of the files with their pauses, in their order.
    """

    def __init__(self, lengths_s: Sequence[float]) -> None:
        self._lengths_s = lengths_s
        self._lock = threading.Lock()
        self._left_s = lengths_s[0]
        #: The end of each file that is over.
        self._ends_ns: list[int] = []

    def add(self, chunk: AudioChunk) -> None:
        """Add the next chunk."""
        with self._lock:
            self._left_s -= len(chunk.samples) / chunk.sample_rate
            if self._left_s < _ROUNDING_S and len(self._ends_ns) + 1 < len(self._lengths_s):
                self._ends_ns.append(chunk.end_ns)
                self._left_s += self._lengths_s[len(self._ends_ns)]

    def index_at(self, moment_ns: int) -> int:
        """Return the index of the file that was played at a moment."""
        with self._lock:
            return sum(1 for end_ns in self._ends_ns if end_ns < moment_ns)


class SentenceChecker:
    """Compares each utterance with its expected sentence as soon as the next utterance arrives."""

    def __init__(
        self, sentences: Sequence[ExpectedSentence], matcher: FileMatcher, record: VelocityRecord
    ) -> None:
        self._sentences = sentences
        self._matcher = matcher
        self._record = record
        self._number = 0
        self._of_file: list[tuple[Utterance, CommandedMotion]] = []
        self._last: Utterance | None = None
        #: The number of sentences, the number of right results, and whether any result is wrong.
        self.expected = len(sentences)
        self.right = 0
        self.is_wrong = False

    def add(self, utterance: Utterance) -> list[SentenceResult]:
        """Add an utterance; return the results of the files before it."""
        self._close(utterance.seen_ns)
        self._last = utterance
        return self._advance(self._matcher.index_at(utterance.stamp_ns))

    def finish(self) -> list[SentenceResult]:
        """Return the remaining results."""
        self._close(None)
        return self._advance(len(self._sentences))

    def _close(self, seen_ns: int | None) -> None:
        """Assign all motion up to the next utterance to the last one."""
        if self._last is not None:
            moves = self._record.between(self._last.seen_ns, seen_ns)
            self._of_file.append((self._last, moves))
            self._last = None

    def _advance(self, number: int) -> list[SentenceResult]:
        found: list[SentenceResult] = []
        while self._number < number:
            found += compare_sentence(self._sentences[self._number], self._of_file)
            self._of_file = []
            self._number += 1
        self.right += sum(1 for each in found if not each.wrong)
        self.is_wrong |= any(each.wrong for each in found)
        return found


def read_file_lengths(source: str, pause_s: float) -> list[tuple[str, float]]:
    """Return the names of a source's files with their lengths, pauses included, in seconds.

    Reads all files. Raises SourceError.
    """
    found: dict[str, float] = {}
    audio = open_audio_input(source, pause_s)
    try:
        while (block := audio.read()) is not None:
            length_s = len(block.samples) / block.sample_rate
            found[audio.origin] = found.get(audio.origin, 0.0) + length_s
    finally:
        audio.close()
    return [(Path(origin).name, length_s) for origin, length_s in found.items()]


def select_sentences(
    source: str, files: Sequence[str], expectation: Expectation, file: Path
) -> tuple[ExpectedSentence, ...]:
    """Return the expected sentence of each file. Raises ConfigError."""
    known = {sentence.file: sentence for sentence in expectation.sentences}
    missing = [name for name in files if name not in known]
    if missing:
        raise ConfigError(f"{file}: expected a sentence for {', '.join(missing)}, got none")
    left_over = [name for name in known if name not in files]
    if left_over and Path(source).expanduser().is_dir():
        raise ConfigError(f"{file}: {', '.join(left_over)}: no such file in {source}")
    return tuple(known[name] for name in files)
