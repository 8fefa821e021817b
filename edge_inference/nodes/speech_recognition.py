"""What somebody said in, words out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.timer import Timer

from edge_inference.backends.base import Backend
from edge_inference.core.audio import SAMPLE_RATE, SpeechSegment
from edge_inference.core.directive import Option
from edge_inference.core.settings import setting
from edge_inference.core.voice import Transcript
from edge_inference.nodes.conversions.audio import SpeechSegmentAdapter
from edge_inference.nodes.conversions.voice import TranscriptAdapter
from edge_inference.nodes.managed import Managed, ManagedSettings, Serving
from edge_inference.nodes.speech_models import find_speech, open_role
from edge_inference.nodes.stage import Dropped, Stage, StageSettings
from edge_inference.nodes.voice_files import find_grammar
from edge_inference.speech.command_mode import CommandSettings
from edge_inference.speech.command_phrases import listen_for
from edge_inference.speech.recogniser import Recogniser, RecogniserSettings
from edge_inference.speech.tokenizer import load_tokenizer

WORKLOAD_PERIOD_S = 1.0


@dataclass(frozen=True)
class SpeechRecognitionSettings(
    CommandSettings, RecogniserSettings, ManagedSettings, StageSettings
):
    """Parameters of speech recognition."""

    safety_critical: bool = setting(
        True, "false: the platform manager may ask for fewer partial results; final ones all come"
    )
    priority: int = setting(
        80, "among several nodes the higher one is reduced last", minimum=0, maximum=100
    )

    queue_depth: int = setting(
        10, "segments that wait for this stage at the most", minimum=1, maximum=100
    )
    model: str = setting(
        "moonshine_tiny",
        "model folder of the recogniser: a name on the model path, or a path to it",
        read_only=True,
    )
    model_path: str = setting(
        "",
        "folders to look in before $EDGE_INFERENCE_MODELS and the shipped ones, colon-separated",
        read_only=True,
    )
    mode: str = setting(
        "command",
        "command hears only phrases of the grammar; free writes down whatever is said",
        choices=("command", "free"),
    )
    grammar: str = setting("", "grammar file of command mode; empty for the shipped one")


class SpeechRecognition(Stage[SpeechSegment]):
    """Turns speech into text; of speech that goes on, into what has been said so far."""

    default_name = "speech_recognition"
    default_namespace = "ai"
    settings_class = SpeechRecognitionSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._backends: list[Backend] = []
        self._newest: SpeechSegment | None = None
        self._managed = Managed(self, lambda: None, self._serving)
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
        self._command = listen_for(find_grammar(settings.grammar), self._recogniser, settings)
        self._model_name, self._locale = model.name, model.locale
        self._recogniser.free(np.zeros(SAMPLE_RATE, np.float32))
        self._transcripts = self.publish_on("transcript", TranscriptAdapter())
        self._managed.open()
        self._workload_timer = self.make_timer(WORKLOAD_PERIOD_S, self._managed.tell)
        self.health.note("model", model.name)
        self.health.note("engine", encoder.describe())
        self.health.note("mode", settings.mode)

    def start(self) -> None:
        """Listen to speech, and to the platform manager."""
        super().start()
        self._managed.start()
        self.subscribe_to("speech", SpeechSegmentAdapter(), self.receive)

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

    def adopt(self, old: SpeechRecognitionSettings, new: SpeechRecognitionSettings) -> None:
        """Go on with another mode, grammar or other limits."""
        self._recogniser.settings = new
        if new.grammar != old.grammar:
            self._command = listen_for(find_grammar(new.grammar), self._recogniser, new)
        self._command.settings = new
        self.health.note("mode", new.mode)

    def admits(self, item: SpeechSegment) -> bool:
        """Take in what ends a sentence, and of partial ones as many as the manager allows."""
        is_admitted = self._managed.admits(batch=1, skipped=0) or item.is_final
        if is_admitted:
            self._newest = item
        return is_admitted

    def process(self, item: SpeechSegment, settings: SpeechRecognitionSettings) -> Transcript:
        """Recognise one segment."""
        if not item.is_final and item is not self._newest:
            raise Dropped("superseded")  # what came since says it too, and more
        started_ns = time.monotonic_ns()
        if settings.mode == "command":
            heard = self._command.recognise(item.samples)
            text, confidence, problem = heard.text, heard.confidence, heard.problem
        else:
            text, confidence, _ = self._recogniser.free(item.samples)
            problem = "" if text else "no words in what was said"
        ended_ns = time.monotonic_ns()
        self._managed.meter.done(ended_ns, self._model_name, (ended_ns - started_ns) / 1e6)
        return Transcript(
            text=text,
            confidence=confidence,
            mode=settings.mode,
            stamp_ns=item.stamp_ns,
            is_final=item.is_final,
            locale=self._locale,
            problem=problem,
            frame_id=item.frame_id,
        )

    def emit(self, output: Transcript) -> None:
        """Publish the words; of speech that goes on only where there are any."""
        if output.text or output.is_final:
            self._transcripts.publish(output)

    def _serving(self) -> Serving:
        asked, name = self._managed.limits, self._model_name
        problem = ""
        if asked.precision_ceiling or asked.model not in ("", name):
            problem = "there is only one recogniser: of partial results alone there can be fewer"
        own = Option(name, precision="", process_ms=self._managed.meter.process_ms(name))
        return Serving((own,), 0, problem)
