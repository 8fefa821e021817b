"""Segments with speech in, transcripts out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

from rclpy.timer import Timer

from edge_inference.composition.allocator import release_free_memory
from edge_inference.composition.reception import Reception
from edge_inference.core.audio import SAMPLE_RATE, SpeechSegment
from edge_inference.core.directives.directive import OperatingPoint
from edge_inference.core.settings import setting
from edge_inference.core.voice import IntentArray, Transcript
from edge_inference.nodes.conversions.audio import SpeechSegmentAdapter
from edge_inference.nodes.conversions.voice import IntentArrayAdapter, TranscriptAdapter
from edge_inference.nodes.stage import FrameDropped, Stage, StageSettings
from edge_inference.nodes.throttle_client import (
    ServingState,
    ThrottleClient,
    ThrottleClientSettings,
)
from edge_inference.nodes.voice.parameter_files import load_grammar
from edge_inference.nodes.voice.recognizer_model import RecognizerModel, RecognizerModelSettings

WORKLOAD_PERIOD_S = 1.0
#: Commands are shorter. After longer speech free memory goes back to the system (70 MiB in 5 ms).
_LONG_SPEECH = 4 * SAMPLE_RATE


@dataclass(frozen=True)
class SpeechRecognitionSettings(RecognizerModelSettings, ThrottleClientSettings, StageSettings):
    """Parameters of speech recognition."""

    safety_critical: bool = setting(
        True, "false: the platform manager may reduce partial transcripts; final ones all come"
    )
    priority: int = setting(
        80, "the platform manager reduces nodes of lower priority first", minimum=0, maximum=100
    )
    queue_depth: int = setting(10, "maximum number of waiting segments", minimum=1, maximum=100)
    answer_timeout_s: float = setting(
        12.0, "command mode: time for yes or no to a question", unit="s", minimum=1.0, maximum=600.0
    )


class SpeechRecognition(Stage[SpeechSegment]):
    """Turns speech into text; publishes partial transcripts while an utterance is in progress.

    Of speech while the robot itself speaks, only a stop or a no is published.
    """

    default_name = "speech_recognition"
    default_namespace = "ai"
    settings_class = SpeechRecognitionSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._model: RecognizerModel | None = None
        self._newest: SpeechSegment | None = None
        self._question_ns = -math.inf
        self._throttle_client = ThrottleClient(self, lambda: None, self._serving)
        self._workload_timer: Timer | None = None

    def open(self) -> None:
        """Open the model and run it once: the first run is slow."""
        super().open()
        settings = self.parameters.current
        self._model = model = RecognizerModel(settings)
        self._model_name = model.name
        self._transcripts = self.make_publisher("transcript", TranscriptAdapter())
        self._throttle_client.open()
        self._workload_timer = self.make_timer(WORKLOAD_PERIOD_S, self._throttle_client.update)
        self.health.note("model", model.name)
        self.health.note("engine", model.describe_engine())
        self.health.note("mode", settings.mode)

    def start(self) -> None:
        """Subscribe to speech and intents; start to follow the platform manager."""
        self._question_ns = -math.inf
        super().start()
        self._throttle_client.start()
        self.subscribe_to("speech", SpeechSegmentAdapter(), self.receive)
        self.subscribe_to("mixed_speech", SpeechSegmentAdapter(), self._receive_mixed)
        self.subscribe_to("intent", IntentArrayAdapter(), self._on_intent)

    def close(self) -> None:
        """Free the model."""
        if self._workload_timer is not None:
            self.destroy_timer(self._workload_timer)
        self._workload_timer = None
        if self._model is not None:
            self._model.close()

    def model_name(self) -> str:
        """Return the model in use."""
        return self._model_name

    def accept(self, settings: SpeechRecognitionSettings) -> None:
        """Refuse a grammar that cannot be used; the old one stays."""
        if settings.grammar != self.parameters.current.grammar:
            load_grammar(settings.grammar).sentences()

    def apply_settings(
        self, old: SpeechRecognitionSettings, new: SpeechRecognitionSettings
    ) -> None:
        """Use another mode or grammar, or other limits."""
        assert self._model is not None, "the node is configured"
        if (new.grammar, new.stop_words) != (old.grammar, old.stop_words):
            self._model.load_phrases(new)  # first: if this fails, all old settings stay
        if new.mode != old.mode:
            self._question_ns = -math.inf
        self._model.set_settings(new)
        self.health.note("mode", new.mode)

    def admits(self, item: SpeechSegment) -> bool:
        """Accept every final segment, and partial ones at the rate that the manager allows."""
        is_admitted = self._throttle_client.admits(batch=1, skipped=0) or item.is_final
        if is_admitted:
            self._newest = item
        return is_admitted

    def process(self, item: SpeechSegment, settings: SpeechRecognitionSettings) -> Transcript:
        """Transcribe one segment."""
        assert self._model is not None, "the node is configured"
        newest = self._newest
        if not item.is_final and newest is not item and newest and newest.start_ns == item.start_ns:
            raise FrameDropped("superseded")  # the newest segment contains this one
        started_ns = time.monotonic_ns()
        # A question far in the future was asked before the clock ran back.
        expects_answer = abs(item.stamp_ns - self._question_ns) < settings.answer_timeout_s * 1e9
        transcriber = self._model.transcriber
        if item.is_mixed:
            result = transcriber.transcribe_mixed(item, settings.mode, settings.stop_words)
        else:
            result = transcriber.transcribe(item, settings.mode, expects_answer=expects_answer)
        if len(item.samples) > _LONG_SPEECH:
            release_free_memory()
        took_ms = ((ended_ns := time.monotonic_ns()) - started_ns) / 1e6
        self._throttle_client.meter.record_done(ended_ns, self._model_name, took_ms)
        if item.is_mixed and not result.text:
            raise FrameDropped("robot_speaking")
        return Transcript(
            text=result.text,
            confidence=result.confidence,
            mode=result.mode,
            stamp_ns=item.stamp_ns,
            is_final=item.is_final,
            locale=self._model.locale,
            problem=result.problem,
            frame_id=item.frame_id,
            start_ns=item.start_ns,
        )

    def emit(self, output: Transcript) -> None:
        """Publish the transcript; an empty one may be the only sign of truncated speech."""
        self._transcripts.publish(output)

    def _receive_mixed(self, segment: SpeechSegment, reception: Reception) -> None:
        self.receive(replace(segment, is_mixed=True), reception)

    def _on_intent(self, spoken: IntentArray, reception: Reception) -> None:
        """Expect a yes or no after intents for which the planner asks a question."""
        del reception
        if spoken.needs_confirmation:
            self._question_ns = spoken.stamp_ns

    def _serving(self) -> ServingState:
        limits, name = self._throttle_client.limits, self._model_name
        problem = ""
        if limits.precision_ceiling or limits.model not in ("", name):
            problem = "there is only one recognizer; only the rate of partial results can be lower"
        process_ms = self._throttle_client.meter.process_ms(name)
        operating_point = OperatingPoint(name, precision="", process_ms=process_ms)
        return ServingState((operating_point,), 0, problem)
