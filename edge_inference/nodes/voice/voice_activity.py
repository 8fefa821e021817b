"""Audio in, segments with speech out."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.timer import Timer

from edge_inference.backends.base import Backend
from edge_inference.composition.reception import Reception
from edge_inference.core.audio import AudioChunk, SpeechSegment
from edge_inference.core.settings import setting
from edge_inference.errors import InputError
from edge_inference.nodes.component import LATCHED
from edge_inference.nodes.conversions.audio import AudioChunkAdapter, SpeechSegmentAdapter
from edge_inference.nodes.conversions.string_and_bool import BoolAdapter
from edge_inference.nodes.stage import FrameDropped, Stage, StageSettings
from edge_inference.nodes.voice.listening_gate import ListeningGate, ListeningSettings
from edge_inference.nodes.voice.parameter_files import (
    ModelPathSettings,
    load_speech_model,
    open_backend,
)
from edge_inference.speech.audio.audio_advice import AudioAdvice
from edge_inference.speech.audio.sample_clock import SampleClock
from edge_inference.speech.recognition.activity import ActivityDetector, ActivitySettings

_CHUNKS = QoSProfile(depth=100)  # some seconds, because a lost chunk is a gap in an utterance
_TIMEOUT_PERIOD_S = 0.1
_TRUNCATED = (
    "a gap in the audio has cut an utterance short; it is no command, but a stop in it counts"
)
_NO_AUDIO = "the audio ended in the middle of an utterance; is its source still running?"


@dataclass(frozen=True)
class VoiceActivitySettings(ActivitySettings, ListeningSettings, ModelPathSettings, StageSettings):
    """Parameters of voice activity detection."""

    queue_depth: int = setting(100, "maximum number of waiting chunks", minimum=1, maximum=100)
    model: str = setting(
        "silero_vad",
        "model folder of the detector: a name on the model path, or a path to it",
        read_only=True,
    )


class VoiceActivity(Stage[AudioChunk]):
    """Detects speech in audio; publishes each utterance at its end, and parts of it before.

    Accepts any sample rate. Speech while the robot itself speaks has a topic of its own, because it
    may be the robot's: only a stop or a no counts in it.
    """

    default_name = "voice_activity"
    default_namespace = "ai"
    from_sensor = True
    own_executor = True
    settings_class = VoiceActivitySettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._backend: Backend | None = None
        # The worker feeds the detector; a timer ends an utterance when no audio arrives.
        self._detector_lock = threading.Lock()
        self._timeout_timer: Timer | None = None

    def open(self) -> None:
        """Open the model."""
        super().open()
        settings = self.parameters.current
        model = load_speech_model(settings.model, settings.model_path, "activity")
        self._backend = open_backend(model, "model")
        self._model_name = model.name
        self._detector = ActivityDetector(self._backend, settings)
        self._segments = self.make_publisher("speech", SpeechSegmentAdapter())
        self._mixed = self.make_publisher("mixed_speech", SpeechSegmentAdapter())
        self.health.note("model", model.name)
        self.health.expect("audio")

    def start(self) -> None:
        """Subscribe to audio, to the robot's reports that it speaks, and to requests to listen."""
        self._detector.reset()
        self._gate = ListeningGate()
        self._arrival, self._advice = SampleClock(), AudioAdvice()
        self._without_audio_s = 0.0
        super().start()
        self._timeout_timer = self.make_timer(_TIMEOUT_PERIOD_S, self._check_timeout)
        self._speaking = self.subscribe_to("/robot_speaking", BoolAdapter(), self._on_speaking)
        self.subscribe_to("listening", BoolAdapter(), self._on_listening, LATCHED)
        self._audio = self.subscribe_to(
            "audio", AudioChunkAdapter(), self._on_chunk, _CHUNKS, match_reliability=True
        )

    def stop(self) -> None:
        """Stop the detection."""
        if self._timeout_timer is not None:
            self.destroy_timer(self._timeout_timer)
            self._timeout_timer = None
        super().stop()

    def close(self) -> None:
        """Free the model."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def model_name(self) -> str:
        """Return the model in use."""
        return self._model_name

    def apply_settings(self, old: VoiceActivitySettings, new: VoiceActivitySettings) -> None:
        """Use other thresholds and times."""
        self._detector.settings = new

    def process(self, item: AudioChunk, settings: VoiceActivitySettings) -> list[SpeechSegment]:
        """Detect speech in one chunk."""
        with self._detector_lock:
            self._without_audio_s = 0.0
            return self._detect(item, settings)

    def _detect(self, item: AudioChunk, settings: VoiceActivitySettings) -> list[SpeechSegment]:
        if self._gate.update_mixed(self._detector.is_speech, settings):
            self._detector.reset()  # the next utterance begins without the robot's last word
        if not self._gate.is_open(settings):
            self._detector.reset()
            return []
        counts = self._detector.counts
        late, gaps, truncated = counts.late, counts.gaps, self._detector.truncated_segments
        segments = self._detector.feed(item)
        sources = self.count_publishers(self._audio.topic) if counts.gaps > gaps else 1
        self.health.note("gaps", str(counts.gaps))
        advice = self._advice.update(counts, time.monotonic(), sources)
        talk = self._gate.advice(settings, lambda: self.count_publishers(self._speaking.topic))
        self.health.set_warning(talk or advice)
        if self._detector.truncated_segments > truncated:
            self.report_error(InputError(_TRUNCATED), "truncated", lost=False)
        if counts.late > late:
            raise FrameDropped("late")
        return segments

    def emit(self, output: list[SpeechSegment]) -> None:
        """Publish segments with speech."""
        for segment in output:
            (self._mixed if self._gate.is_mixed else self._segments).publish(segment)

    def _on_chunk(self, chunk: AudioChunk, reception: Reception) -> None:
        if chunk.stamp_ns <= 0 and chunk.sample_rate > 0:
            length, rate = len(chunk.samples), chunk.sample_rate
            chunk = replace(chunk, stamp_ns=self._arrival.stamp_ns(length, rate, self.now_ns()))
            self.health.note("stamps", "of arrival: the source gives none")
        self.receive(chunk, reception)

    def _check_timeout(self) -> None:
        """End an utterance if no audio arrives any more, because the worker is not called then.

        The timer counts the time, so that a stall of this process does not count as silence.
        """
        if not self._detector_lock.acquire(blocking=False):
            return
        try:
            self._without_audio_s += _TIMEOUT_PERIOD_S
            segments = self._detector.end_on_timeout(self._without_audio_s)
        finally:
            self._detector_lock.release()
        if segments:
            self.report_error(InputError(_NO_AUDIO), "timeout", lost=False)
            self.emit(segments)

    def _on_speaking(self, is_speaking: bool, reception: Reception) -> None:
        del reception
        self._gate.set_speaking(is_speaking, self.parameters.current)

    def _on_listening(self, is_requested: bool, reception: Reception) -> None:
        del reception
        self._gate.set_requested(is_requested)
