"""The algorithms of the voice pipeline, created as in the nodes, for faster than real time."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from benchmarks.voice_audio import Audio
from edge_inference.backends.base import Backend
from edge_inference.core.audio import SAMPLE_RATE, AudioChunk, SpeechSegment
from edge_inference.core.voice import IntentArray, Transcript
from edge_inference.nodes.voice.intent_parser import IntentParserSettings
from edge_inference.nodes.voice.parameter_files import load_grammar, load_speech_model, open_backend
from edge_inference.nodes.voice.speech_recognition import SpeechRecognitionSettings
from edge_inference.nodes.voice.voice_activity import VoiceActivitySettings
from edge_inference.speech.language.grammar import GrammarSentence
from edge_inference.speech.language.stop_phrases import is_stop
from edge_inference.speech.language.understanding import Understanding
from edge_inference.speech.recognition.activity import ActivityDetector
from edge_inference.speech.recognition.command_phrases import make_command_mode
from edge_inference.speech.recognition.recognizer import Recognizer
from edge_inference.speech.recognition.tokenizer import load_tokenizer

_CHUNK = 512


class OfflineResult(NamedTuple):
    """The result for one audio signal.

    ``meanings``, ``intents`` (by name) and ``texts`` are those of the commands; ``refused`` are the
    reasons why texts were no command; ``stops_early``: partial speech was taken for stop.
    """

    meanings: list[Hashable]
    intents: list[str]
    texts: list[str]
    refused: list[str]
    stops_early: bool = False


class OfflinePipeline:
    """Voice activity, recognizer, command mode and understanding with the nodes' own settings."""

    def __init__(self) -> None:
        settings = SpeechRecognitionSettings()
        self.grammar = load_grammar("")
        activity = load_speech_model("silero_vad", "", "activity")
        model = load_speech_model(settings.model, "", "recognition")
        self._activity_model = open_backend(activity, "model")
        encoder, decoder = open_backend(model, "encoder"), open_backend(model, "decoder")
        self._backends: list[Backend] = [self._activity_model, encoder, decoder]
        tokenizer = load_tokenizer(model.path("tokenizer"))
        self.recognizer = Recognizer(encoder, decoder, tokenizer, settings)
        self.command = make_command_mode(self.grammar, self.recognizer, settings)
        self._understanding = Understanding(self.grammar, IntentParserSettings())
        #: Wall time and CPU time of the recognition of each final utterance; they differ on a busy
        #: machine.
        self.elapsed_ns: list[int] = []
        self.cpu_ns: list[int] = []

    def close(self) -> None:
        """Free the models."""
        for backend in self._backends:
            backend.close()

    def detector(self) -> ActivityDetector:
        """Return a detector for a new stream."""
        return ActivityDetector(self._activity_model, VoiceActivitySettings())

    def segments(self, sound: Audio, *, partial: bool = False) -> Iterator[SpeechSegment]:
        """Yield the speech segments of an audio signal, with ``partial`` also partial segments."""
        detector = self.detector()
        for place in range(0, len(sound), _CHUNK):
            piece = sound[place : place + _CHUNK]
            stamp_ns = round(place * 1e9 / SAMPLE_RATE)
            for segment in detector.feed(AudioChunk(piece, SAMPLE_RATE, stamp_ns, place // _CHUNK)):
                if segment.is_final or partial:
                    yield segment
        yield from detector.flush()

    def transcribe(
        self, sound: Audio, *, partial: bool = False, expects_answer: bool = False
    ) -> OfflineResult:
        """Return the commands in an audio signal.

        With ``partial``, every partial segment is searched for a stop; the node skips some if it is
        late. ``expects_answer``: a question is open.
        """
        result = OfflineResult([], [], [], [])
        stops_early = False
        for segment in self.segments(sound, partial=partial):
            started, worked = time.perf_counter_ns(), time.thread_time_ns()
            command = self.command.recognize(
                segment.samples, is_final=segment.is_final, expects_answer=expects_answer
            )
            if not segment.is_final:
                stops_early |= is_stop(command.text)
                continue
            self.elapsed_ns.append(time.perf_counter_ns() - started)
            self.cpu_ns.append(time.thread_time_ns() - worked)
            spoken = self._parse(command.text, command.confidence)
            if spoken.intents:
                result.meanings.append(meaning_of(spoken))
                result.intents.extend(spoken.names)
                result.texts.append(command.text)
            else:
                result.refused.append(command.problem or spoken.problem)
        return result._replace(stops_early=stops_early)

    def transcribe_freely(self, sound: Audio) -> str:
        """Return the transcript of free mode."""
        return " ".join(
            self.recognizer.transcribe(each.samples).text for each in self.segments(sound)
        )

    def _parse(self, text: str, confidence: float) -> IntentArray:
        return self._understanding.parse(Transcript(text, confidence, "command", stamp_ns=0))


def meaning_of(said: GrammarSentence | IntentArray) -> Hashable:
    """Return intents and slots, to compare the expected meaning with the result."""
    intents = (
        [(said.intent, said.slots)]
        if isinstance(said, GrammarSentence)
        else [(intent.name, intent.slots) for intent in said.intents]
    )
    return tuple(
        (name, frozenset((slot.name, slot.value, slot.unit) for slot in slots.values()))
        for name, slots in intents
    )
