"""What was said, by phrases of the grammar, by free writing, or by both in turn."""

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
from edge_inference.speech.recognition.recogniser import Recogniser

COMMAND, FREE, BOTH = MODES = ("command", "free", "both")
_OWN = "the robot itself spoke meanwhile"
#: Shorter silence behind the last word might cut it off.
_PAUSE_NS = 60_000_000


class SpeechTranscript(NamedTuple):
    """A text and how sure it is (0 to 1); ``mode`` is that in which it was heard.

    An empty text has a ``problem``.
    """

    text: str
    confidence: float
    mode: str
    problem: str


class _Ahead(NamedTuple):
    """What a pause was recognised as, for the case that it is the end."""

    start_ns: int
    stamp_ns: int
    expects_answer: bool
    found: BeamSearchResult


class Transcriber:
    """Hears segments with one recogniser.

    Voice activity waits for the hangover before it says that speech is over. What was said is
    recognised at the pause already, so that nothing is left to do then. For one thread at a time.
    """

    def __init__(self, recogniser: Recogniser, command_mode: CommandMode) -> None:
        self.command_mode = command_mode
        self._recogniser = recogniser
        self._ahead: _Ahead | None = None

    def transcribe(
        self, segment: SpeechSegment, mode: str, *, expects_answer: bool = False
    ) -> SpeechTranscript:
        """Return what was said in a segment.

        In mode ``both`` what is none of the phrases is written down, once it is over. ``expects_answer``
        tells that an answer is waited for. Raises what :meth:`Recogniser.encode` raises, and
        ConfigError for an unknown mode.
        """
        if mode not in MODES:
            raise ConfigError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
        if mode != FREE:
            found = self._found(segment, expects_answer)
            command = self.command_mode.decide(found, is_final=segment.is_final)
            if mode == COMMAND or command.text or not segment.is_final:
                # What turns the next sentence around, or says no to what goes on, is no phrase, and
                # must be known of.
                turns = any(
                    tell(command.free_text)
                    for tell in (has_negation_or_condition, is_rejection, starts_with_no)
                )
                text = command.text or (command.free_text if turns else "")
                return SpeechTranscript(text, command.confidence, COMMAND, command.problem)
        text, confidence, _ = self._recogniser.transcribe(segment.samples)
        return SpeechTranscript(text, confidence, FREE, "" if text else "no words in what was said")

    def transcribe_mixed(
        self, segment: SpeechSegment, mode: str, stop_words: Collection[str] = STOP_WORDS
    ) -> SpeechTranscript:
        """Return what counts of speech that may be the robot's own: a stop or a no, if anything.

        A stop counts wherever it stands in what is written down, also of speech that goes on: who
        speaks over the robot is not waited for. There is always a problem, so that it is no command
        and no answer: a robot that says "stopping" and hears itself would say so for ever.
        """
        if mode == FREE:
            text, confidence, _ = self._recogniser.transcribe(segment.samples)
            texts = [text]
        else:
            found = self._found(segment, expects_answer=False)
            command = self.command_mode.decide(found, is_final=segment.is_final)
            texts, confidence = (
                [command.text, self.command_mode.free_text(found)],
                command.confidence,
            )
        stops = (find_stop_word(text, stop_words, in_turn=False) for text in texts)
        noes = (text for text in texts if segment.is_final and is_rejection(text, stop_words))
        said = next(filter(None, (*stops, *noes)), "")
        return SpeechTranscript(said, confidence, FREE if mode == FREE else COMMAND, _OWN)

    def _found(self, segment: SpeechSegment, expects_answer: bool) -> BeamSearchResult:
        key = segment.start_ns, segment.stamp_ns, expects_answer
        ahead, self._ahead = self._ahead, None
        if segment.is_final and ahead is not None and ahead[:3] == key:
            return ahead.found
        ends_ns = segment.start_ns + len(segment.samples) * 1_000_000_000 // SAMPLE_RATE
        has_paused = ends_ns - segment.stamp_ns >= _PAUSE_NS
        may_end = segment.is_final or segment.is_mixed or has_paused
        found = self.command_mode.search(
            segment.samples, expects_answer=expects_answer, to_end=may_end
        )
        if may_end and not segment.is_final:
            self._ahead = _Ahead(*key, found)
        return found
