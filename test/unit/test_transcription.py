from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_inference.core.audio import SpeechSegment
from edge_inference.errors import ConfigError
from edge_inference.speech.recognition import transcription
from edge_inference.speech.recognition.command_mode import CommandMode
from edge_inference.speech.recognition.phrase_graph import PhraseGraph
from edge_inference.speech.recognition.recognizer import Recognizer
from edge_inference.speech.recognition.transcription import (
    BOTH,
    COMMAND,
    FREE,
    SpeechTranscript,
    Transcriber,
)
from speech_doubles import recognizer_that, saying, small_tokenizer

TOKENIZER = small_tokenizer()
SECOND_NS = 1_000_000_000


def segment(silence_ms: int, *, is_final: bool, start_ns: int = 0) -> SpeechSegment:
    """Return one second of speech, followed by silence."""
    samples = np.zeros(16_000 + 16 * silence_ms, np.float32)
    return SpeechSegment(samples, start_ns, start_ns + SECOND_NS, is_final)


class CountingCommandMode:
    """A command mode that counts its searches."""

    def __init__(self, recognizer: Recognizer, phrases: list[str]) -> None:
        graph = PhraseGraph(phrases, recognizer.tokenizer)
        self._mode = CommandMode(recognizer, graph, answers=["c"], stop_words=["h"])
        self.searches = 0
        self.decide, self.free_text = self._mode.decide, self._mode.free_text

    def search(self, samples: np.ndarray, *, expects_answer: bool, to_end: bool):
        self.searches += 1
        return self._mode.search(samples, expects_answer=expects_answer, to_end=to_end)


def make_transcriber(phrases: str) -> tuple[Transcriber, CountingCommandMode]:
    recognizer = recognizer_that(saying(TOKENIZER.ids(phrases)))
    command_mode = CountingCommandMode(recognizer, ["a b", "c"])
    return Transcriber(recognizer, command_mode), command_mode


@pytest.mark.parametrize(
    ("mode", "phrases", "text", "result_mode"),
    [
        (COMMAND, "A b", "a b", COMMAND),
        (COMMAND, "D e", "", COMMAND),
        (FREE, "A b", "A b", FREE),
        (BOTH, "A b", "a b", COMMAND),
        (BOTH, "D e", "D e", FREE),
        (BOTH, "", "", FREE),
    ],
)
def test_the_modes(mode: str, phrases: str, text: str, result_mode: str) -> None:
    result = make_transcriber(phrases)[0].transcribe(segment(192, is_final=True), mode)
    assert (result.text, result.mode, bool(result.problem)) == (text, result_mode, not text)


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of command, free, both, got 'Command'"):
        make_transcriber("D e")[0].transcribe(segment(192, is_final=True), "Command")


def test_only_final_speech_is_transcribed_freely() -> None:
    result = make_transcriber("D e")[0].transcribe(segment(0, is_final=False), BOTH)
    assert (result.text, result.mode) == ("", COMMAND)


def test_pause_result_is_reused_at_the_end() -> None:
    transcriber, command_mode = make_transcriber("A b")
    partial = transcriber.transcribe(segment(64, is_final=False), COMMAND)
    assert transcriber.transcribe(segment(192, is_final=True), COMMAND) == partial
    assert command_mode.searches == 1
    transcriber.transcribe(segment(192, is_final=True), COMMAND)
    assert command_mode.searches == 2


@pytest.mark.parametrize("phrases", ["D e f g h", "A b, h", "H h"])
@pytest.mark.parametrize("paused", [False, True])
def test_stop_after_a_phrase_is_found_at_the_pause_or_at_the_end(
    phrases: str, paused: bool
) -> None:
    transcriber, command_mode = make_transcriber(phrases)
    if paused:
        transcriber.transcribe(segment(64, is_final=False), COMMAND)
    result = transcriber.transcribe(segment(192, is_final=True), COMMAND)
    assert (result.text, result.problem, command_mode.searches) == ("h", "", 1)


@pytest.mark.parametrize(
    ("before", "expects_answer"),
    [
        (segment(0, is_final=False), False),  # the last word might be cut off
        (segment(64, is_final=False, start_ns=5), False),
        (segment(64, is_final=False), True),
    ],
)
def test_pause_result_of_other_speech_is_not_reused(
    before: SpeechSegment, expects_answer: bool
) -> None:
    transcriber, command_mode = make_transcriber("C")
    transcriber.transcribe(before, COMMAND, expects_answer=expects_answer)
    result = transcriber.transcribe(segment(192, is_final=True), COMMAND)
    assert command_mode.searches == 2
    assert result == SpeechTranscript(
        "", result.confidence, COMMAND, "none of the grammar's phrases"
    )


@pytest.mark.parametrize(
    ("phrases", "is_final", "text"),
    [
        ("A b", True, ""),
        ("D e f g", True, ""),
        ("C", True, ""),  # the robot says yes or no in its own question
        ("", True, ""),
        ("H", True, "h"),
        ("D e h f", True, "h"),
        ("A b h", True, "h"),
        ("D e h f", False, "h"),  # the robot may continue for long
        ("A b", False, ""),
    ],
)
@pytest.mark.parametrize("mode", [COMMAND, FREE, BOTH])
def test_only_a_stop_counts_in_mixed_speech(
    mode: str, phrases: str, is_final: bool, text: str
) -> None:
    silence_ms = 192 if is_final else 0
    mixed = replace(segment(silence_ms, is_final=is_final), is_mixed=True)
    result = make_transcriber(phrases)[0].transcribe_mixed(mixed, mode, ["h"])
    assert (result.text, result.problem) == (text, "the robot itself spoke meanwhile")


@pytest.mark.parametrize("mode", [COMMAND, FREE])
@pytest.mark.parametrize(("is_final", "text"), [(True, "C c"), (False, "")])
def test_rejection_counts_in_final_mixed_speech(
    mode: str, is_final: bool, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcription, "is_rejection", lambda text, stop_words: text == "C c")
    mixed = replace(segment(192, is_final=is_final), is_mixed=True)
    assert make_transcriber("C c")[0].transcribe_mixed(mixed, mode, ["h"]).text == text


def test_no_before_other_words_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcription, "starts_with_no", lambda text: text == "D e")
    result = make_transcriber("D e")[0].transcribe(segment(192, is_final=True), COMMAND)
    assert (result.text, bool(result.problem)) == ("D e", True)


def test_rejection_outside_the_grammar_is_reported_when_final(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transcription, "is_rejection", lambda text: text == "D e")
    final = make_transcriber("D e")[0].transcribe(segment(192, is_final=True), COMMAND)
    assert final.text == "D e"
    assert final.problem  # it is no command
    assert make_transcriber("D e")[0].transcribe(segment(0, is_final=False), COMMAND).text == ""
    assert make_transcriber("D f")[0].transcribe(segment(192, is_final=True), COMMAND).text == ""
