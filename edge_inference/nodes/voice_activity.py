"""Sound in, what somebody said out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSProfile

from edge_inference.backends.base import Backend
from edge_inference.core.audio import AudioChunk, SpeechSegment
from edge_inference.core.settings import setting
from edge_inference.nodes.component import LATCHED
from edge_inference.nodes.conversions.audio import AudioChunkAdapter, SpeechSegmentAdapter
from edge_inference.nodes.conversions.plain import BoolAdapter
from edge_inference.nodes.speech_models import find_speech, open_role
from edge_inference.nodes.stage import Dropped, Stage, StageSettings
from edge_inference.speech.activity import ActivityDetector, ActivitySettings

#: A chunk lost is a gap in what is said: some seconds of them may wait.
_CHUNKS = QoSProfile(depth=100)
# Who asks says it again all the time; nobody is listened to for one who has died.
_ASKED_S = 2.0


@dataclass(frozen=True)
class VoiceActivitySettings(ActivitySettings, StageSettings):
    """Parameters of voice activity detection."""

    queue_depth: int = setting(
        100, "chunks that wait for this stage at the most", minimum=1, maximum=100
    )
    model: str = setting(
        "silero_vad",
        "model folder of the detector: a name on the model path, or a path to it",
        read_only=True,
    )
    model_path: str = setting(
        "",
        "folders to look in before $EDGE_INFERENCE_MODELS and the shipped ones, colon-separated",
        read_only=True,
    )
    listening: str = setting(
        "always",
        "on_demand hears only while somebody asks for it by the action listen",
        choices=("always", "on_demand"),
    )
    listen_while_speaking: bool = setting(
        False, "true also listens while /robot_speaking says that the robot itself speaks"
    )
    deaf_after_s: float = setting(
        0.3,
        "deaf for so long after the robot has spoken, while the room still sounds",
        unit="s",
        minimum=0.0,
        maximum=10.0,
    )
    longest_talk_s: float = setting(
        15.0,
        "a robot that has not said for so long that it still speaks is taken to have ended",
        unit="s",
        minimum=1.0,
        maximum=600.0,
    )


class VoiceActivity(Stage[AudioChunk]):
    """Finds speech in sound, and hands it on when it has ended and now and then while it goes on.

    Any sample rate is taken. While the robot itself speaks it hears nothing.
    """

    default_name = "voice_activity"
    default_namespace = "ai"
    settings_class = VoiceActivitySettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._backend: Backend | None = None

    def open(self) -> None:
        """Open the model."""
        super().open()
        settings = self.parameters.current
        model = find_speech(settings.model, settings.model_path, "activity")
        self._backend = open_role(model, "model")
        self._model_name = model.name
        self._detector = ActivityDetector(self._backend, settings)
        self._segments = self.publish_on("speech", SpeechSegmentAdapter())
        self.health.note("model", model.name)
        self.health.awaits("sound")

    def start(self) -> None:
        """Listen to sound, and to whether the robot speaks."""
        self._detector.reset()
        self._deaf_until = self._asked_until = 0.0
        super().start()
        self.subscribe_to("/robot_speaking", BoolAdapter(), self._on_speaking)
        self.subscribe_to("listening", BoolAdapter(), self._on_listening, LATCHED)
        self.subscribe_to(
            "audio", AudioChunkAdapter(), self.receive, _CHUNKS, reliability_follows=True
        )

    def close(self) -> None:
        """Free the model."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def model_name(self) -> str:
        """Return the model in use."""
        return self._model_name

    def adopt(self, old: VoiceActivitySettings, new: VoiceActivitySettings) -> None:
        """Go on with other thresholds and times."""
        self._detector.settings = new

    def process(self, item: AudioChunk, settings: VoiceActivitySettings) -> list[SpeechSegment]:
        """Listen to one chunk."""
        if time.monotonic() < self._deaf_until and not settings.listen_while_speaking:
            self._detector.reset()
            raise Dropped("robot_speaking")
        if time.monotonic() > self._asked_until and settings.listening == "on_demand":
            self._detector.reset()
            return []
        counts = self._detector.counts
        late, clipped = counts.late, counts.clipped
        segments = self._detector.feed(item)
        self.health.note("gaps", str(counts.gaps))
        self.health.advise(
            "the sound is clipped: lower the gain" if counts.clipped > clipped else ""
        )
        if counts.late > late:
            raise Dropped("late")
        return segments

    def emit(self, output: list[SpeechSegment]) -> None:
        """Publish what was said."""
        for segment in output:
            self._segments.publish(segment)

    def _on_speaking(self, speaking: bool, by_reference: bool) -> None:
        del by_reference
        settings = self.parameters.current
        wait_s = settings.longest_talk_s if speaking else settings.deaf_after_s
        self._deaf_until = time.monotonic() + wait_s

    def _on_listening(self, is_asked: bool, by_reference: bool) -> None:
        del by_reference
        self._asked_until = time.monotonic() + _ASKED_S if is_asked else 0.0
