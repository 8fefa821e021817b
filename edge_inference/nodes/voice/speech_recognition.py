"""What somebody said in, words out."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
from rclpy.timer import Timer

from edge_inference.backends.base import Backend
from edge_inference.composition.allocator import release_free_memory
from edge_inference.core.audio import SAMPLE_RATE, SpeechSegment
from edge_inference.core.directives.directive import OperatingPoint
from edge_inference.core.voice import Intent, Transcript
from edge_inference.nodes.conversions.audio import SpeechSegmentAdapter
from edge_inference.nodes.conversions.voice import IntentAdapter, TranscriptAdapter
from edge_inference.nodes.stage import FrameDropped, Stage
from edge_inference.nodes.throttle_client import ServingState, ThrottleClient
from edge_inference.nodes.voice.speech_models import find_speech, open_role
from edge_inference.nodes.voice.speech_recognition_settings import SpeechRecognitionSettings
from edge_inference.nodes.voice.voice_files import find_grammar
from edge_inference.speech.recognition.command_phrases import make_command_mode
from edge_inference.speech.recognition.recogniser import Recogniser
from edge_inference.speech.recognition.tokenizer import load_tokenizer
from edge_inference.speech.recognition.transcription import Transcriber

WORKLOAD_PERIOD_S = 1.0
#: Commands are shorter, and what talk needs is soon more than all the rest (5 ms give back 70 MiB).
_LONG = 4 * SAMPLE_RATE


class SpeechRecognition(Stage[SpeechSegment]):
    """Turns speech into text; of speech that goes on, into what has been said so far.

    Of speech while the robot itself speaks only a stop or a no comes out.
    """

    default_name = "speech_recognition"
    default_namespace = "ai"
    settings_class = SpeechRecognitionSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._backends: list[Backend] = []
        self._newest: SpeechSegment | None = None
        self._asked_ns = -math.inf
        self._throttle_client = ThrottleClient(self, lambda: None, self._serving)
        self._workload_timer: Timer | None = None

    def open(self) -> None:
        """Open the models and run them once: the first run is slow."""
        super().open()
        settings = self.parameters.current
        model = find_speech(settings.model, settings.model_path, "recognition")
        tokenizer = load_tokenizer(model.path("tokenizer"))
        for role in model.graphs:
            self._backends.append(open_role(model, role))
        encoder, decoder, *with_past = self._backends
        self._recogniser = Recogniser(encoder, decoder, tokenizer, settings, *with_past)
        self._listen_for_phrases(settings)
        self._model_name, self._locale = model.name, model.locale
        self._recogniser.transcribe(np.zeros(SAMPLE_RATE, np.float32))
        self._transcripts = self.make_publisher("transcript", TranscriptAdapter())
        self._throttle_client.open()
        self._workload_timer = self.make_timer(WORKLOAD_PERIOD_S, self._throttle_client.update)
        self.health.note("model", model.name)
        self.health.note("engine", encoder.describe())
        self.health.note("mode", settings.mode)

    def start(self) -> None:
        """Listen to speech, and to the platform manager."""
        self._asked_ns = -math.inf
        super().start()
        self._throttle_client.start()
        self.subscribe_to("speech", SpeechSegmentAdapter(), self.receive)
        self.subscribe_to("mixed_speech", SpeechSegmentAdapter(), self._receive_mixed)
        self.subscribe_to("intent", IntentAdapter(), self._hear_of)

    def close(self) -> None:
        """Free the models."""
        if self._workload_timer is not None:
            self.destroy_timer(self._workload_timer)
            self._workload_timer = None
        for backend in self._backends:
            backend.close()
        self._backends.clear()

    def model_name(self) -> str:
        """Return the model in use."""
        return self._model_name

    def accept(self, settings: SpeechRecognitionSettings) -> None:
        """Refuse a grammar that cannot be listened for; the old one stays."""
        if settings.grammar != self.parameters.current.grammar:
            find_grammar(settings.grammar).sentences()

    def apply_settings(
        self, old: SpeechRecognitionSettings, new: SpeechRecognitionSettings
    ) -> None:
        """Go on with another mode, grammar or other limits."""
        if (new.grammar, new.stop_words) != (old.grammar, old.stop_words):
            self._listen_for_phrases(new)  # first: where that fails the old ones hold
        if new.mode != old.mode:
            self._asked_ns = -math.inf
        self._recogniser.settings = new
        self._hearing.command_mode.settings = new
        self.health.note("mode", new.mode)

    def admits(self, item: SpeechSegment) -> bool:
        """Take in what ends a sentence, and of partial ones as many as the manager allows."""
        is_admitted = self._throttle_client.admits(batch=1, skipped=0) or item.is_final
        if is_admitted:
            self._newest = item
        return is_admitted

    def process(self, item: SpeechSegment, settings: SpeechRecognitionSettings) -> Transcript:
        """Recognise one segment."""
        newest = self._newest
        if not item.is_final and newest is not item and newest and newest.start_ns == item.start_ns:
            raise FrameDropped("superseded")  # what came since says it too, and more
        started_ns = time.monotonic_ns()
        # Far ahead lies a question from before the clock ran back.
        is_asked = abs(item.stamp_ns - self._asked_ns) < settings.answer_s * 1e9
        if item.is_mixed:
            heard = self._hearing.transcribe_mixed(item, settings.mode, settings.stop_words)
        else:
            heard = self._hearing.transcribe(item, settings.mode, expects_answer=is_asked)
        if len(item.samples) > _LONG:
            release_free_memory()
        ended_ns = time.monotonic_ns()
        self._throttle_client.meter.record_done(
            ended_ns, self._model_name, (ended_ns - started_ns) / 1e6
        )
        if item.is_mixed and not heard.text:
            raise FrameDropped("robot_speaking")
        return Transcript(
            text=heard.text,
            confidence=heard.confidence,
            mode=heard.mode,
            stamp_ns=item.stamp_ns,
            is_final=item.is_final,
            locale=self._locale,
            problem=heard.problem,
            frame_id=item.frame_id,
            start_ns=item.start_ns,
        )

    def emit(self, output: Transcript) -> None:
        """Publish the words, and that there is speech: what a gap cuts off has no other trace."""
        self._transcripts.publish(output)

    def _receive_mixed(self, segment: SpeechSegment, by_reference: bool) -> None:
        self.receive(replace(segment, is_mixed=True), by_reference)

    def _listen_for_phrases(self, settings: SpeechRecognitionSettings) -> None:
        grammar = find_grammar(settings.grammar)
        phrases = make_command_mode(grammar, self._recogniser, settings, settings.stop_words)
        self._hearing = Transcriber(self._recogniser, phrases)

    def _hear_of(self, intent: Intent, by_reference: bool) -> None:
        """Expect an answer where the planner is about to ask."""
        del by_reference
        if intent.needs_confirmation:
            self._asked_ns = intent.stamp_ns

    def _serving(self) -> ServingState:
        asked, name = self._throttle_client.limits, self._model_name
        problem = ""
        if asked.precision_ceiling or asked.model not in ("", name):
            problem = "there is only one recogniser: of partial results alone there can be fewer"
        own = OperatingPoint(
            name, precision="", process_ms=self._throttle_client.meter.process_ms(name)
        )
        return ServingState((own,), 0, problem)
