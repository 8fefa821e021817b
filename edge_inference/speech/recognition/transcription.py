"""Transcription of speech segments: in command mode, freely, or in both modes in turn."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from edge_inference.core.audio import SAMPLE_RATE, SpeechSegment
from edge_inference.errors import ConfigError
from edge_inference.speech.language.stop_phrases import (
    STOP_WORDS,
    find_stop_word,
    has_negation_or_condition,
    is_rejection,
    starts_with_no,
)
from edge_inference.speech.recognition.command_mode import BeamSearchResult, CommandMode
from edge_inference.speech.recognition.recognizer import Recognizer

COMMAND, FREE, BOTH = MODES = ("command", "free", "both")
_OWN = "the robot itself spoke meanwhile"
#: A shorter silence may cut off the last word.
_PAUSE_NS = 60_000_000


class SpeechTranscript(NamedTuple):
    """A text with its confidence (0 to 1) and the recognition mode, command or free.

    An empty text has a ``problem``.
    """

    text: str
    confidence: float
    mode: str
    problem: str


class _PauseResult(NamedTuple):
    """The search result at a pause, reused if the pause is the end of speech."""

    start_ns: int
    stamp_ns: int
    expects_answer: bool
    result: BeamSearchResult


class Transcriber:
    """Transcribes segments with one recognizer.

    Voice activity detection waits for the hangover before it ends a segment. The transcriber
    already searches at the pause, so the final segment needs no further search. Not thread-safe.
    """

    def __init__(self, recognizer: Recognizer, command_mode: CommandMode) -> None:
        self.command_mode = command_mode
        self._recognizer = recognizer
        self._pause_result: _PauseResult | None = None

    def transcribe(
        self, segment: SpeechSegment, mode: str, *, expects_answer: bool = False
    ) -> SpeechTranscript:
        """Return the transcript of a segment.

        In mode ``both`` a final segment that is none of the phrases is transcribed freely.
        ``expects_answer``: a question is open. Raises the errors of :meth:`Recognizer.encode`, and
        ConfigError for an unknown mode.
        """
        if mode not in MODES:
            raise ConfigError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
        if mode != FREE:
            result = self._search(segment, expects_answer)
            command = self.command_mode.decide(result, is_final=segment.is_final)
            if mode == COMMAND or command.text or not segment.is_final:
                # A negation or rejection is not a phrase of the grammar, but later stages need it.
                is_negative = any(
                    test(command.free_text)
                    for test in (has_negation_or_condition, is_rejection, starts_with_no)
                )
                text = command.text or (command.free_text if is_negative else "")
                return SpeechTranscript(text, command.confidence, COMMAND, command.problem)
        text, confidence, _ = self._recognizer.transcribe(segment.samples)
        return SpeechTranscript(text, confidence, FREE, "" if text else "no words in what was said")

    def transcribe_mixed(
        self, segment: SpeechSegment, mode: str, stop_words: Collection[str] = STOP_WORDS
    ) -> SpeechTranscript:
        """Return a stop or a rejection in speech that may be the robot's own; drop other text.

        A stop word counts anywhere in the text, also in partial speech: a user who speaks over the
        robot must not wait. A rejection counts in final speech only. The transcript always has a
        problem, so it is neither a command nor an answer: otherwise a robot that says "stopping"
        would react to itself for ever.
        """
        if mode == FREE:
            text, confidence, _ = self._recognizer.transcribe(segment.samples)
            texts = [text]
        else:
            result = self._search(segment, expects_answer=False)
            command = self.command_mode.decide(result, is_final=segment.is_final)
            texts, confidence = (
                [command.text, self.command_mode.free_text(result)],
                command.confidence,
            )
        stops = (find_stop_word(text, stop_words, in_turn=False) for text in texts)
        rejections = (text for text in texts if segment.is_final and is_rejection(text, stop_words))
        said = next(filter(None, (*stops, *rejections)), "")
        return SpeechTranscript(said, confidence, FREE if mode == FREE else COMMAND, _OWN)

    def _search(self, segment: SpeechSegment, expects_answer: bool) -> BeamSearchResult:
        key = segment.start_ns, segment.stamp_ns, expects_answer
        pause_result, self._pause_result = self._pause_result, None
        if segment.is_final and pause_result is not None and pause_result[:3] == key:
            return pause_result.result
        ends_ns = segment.start_ns + len(segment.samples) * 1_000_000_000 // SAMPLE_RATE
        has_paused = ends_ns - segment.stamp_ns >= _PAUSE_NS
        may_end = segment.is_final or segment.is_mixed or has_paused
        result = self.command_mode.search(
            segment.samples, expects_answer=expects_answer, to_end=may_end
        )
        if may_end and not segment.is_final:
            self._pause_result = _PauseResult(*key, result)
        return result
