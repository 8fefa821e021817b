"""Sound in, what somebody said out."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.timer import Timer

from edge_inference.backends.base import Backend
from edge_inference.core.audio import AudioChunk, SpeechSegment
from edge_inference.errors import InputError
from edge_inference.nodes.component import LATCHED
from edge_inference.nodes.conversions.audio import AudioChunkAdapter, SpeechSegmentAdapter
from edge_inference.nodes.conversions.plain import BoolAdapter
from edge_inference.nodes.stage import FrameDropped, Stage
from edge_inference.nodes.voice.speech_models import find_speech, open_role
from edge_inference.nodes.voice.voice_activity_settings import VoiceActivitySettings
from edge_inference.speech.audio.audio_advice import AudioAdvice
from edge_inference.speech.audio.sample_clock import SampleClock
from edge_inference.speech.recognition.activity import ActivityDetector
from edge_inference.speech.recognition.robot_speech import RobotSpeech

#: A chunk lost is a gap in what is said: some seconds of them may wait.
_CHUNKS = QoSProfile(depth=100)
# Who asks says it again all the time; nobody is listened to for one who has died.
_ASKED_S = 2.0
_WATCH_S = 0.1
_CUT = "a gap in the sound has cut somebody short; what was said is no command, but stop is"
_LONG_TALK = (
    "the robot is said to have spoken for {:.0f} s without a break, so only stop is heard; "
    "/robot_speaking has {} publishers: is each of them meant to be there?"
)
_CEASED = "the sound ceased in the middle of what was said; is its source still running?"


class VoiceActivity(Stage[AudioChunk]):
    """Finds speech in sound, and hands it on when it has ended and now and then while it goes on.

    Any sample rate is taken. Speech that goes on while the robot itself speaks has a topic of its
    own, as it may be the robot's: of that only what stops counts.
    """

    default_name = "voice_activity"
    default_namespace = "ai"
    own_executor = True
    settings_class = VoiceActivitySettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._backend: Backend | None = None
        # The worker hears, a timer notices that there is nothing to hear.
        self._hearing = threading.Lock()
        self._watch: Timer | None = None

    def open(self) -> None:
        """Open the model."""
        super().open()
        settings = self.parameters.current
        model = find_speech(settings.model, settings.model_path, "activity")
        self._backend = open_role(model, "model")
        self._model_name = model.name
        self._detector = ActivityDetector(self._backend, settings)
        self._segments = self.make_publisher("speech", SpeechSegmentAdapter())
        self._mixed = self.make_publisher("mixed_speech", SpeechSegmentAdapter())
        self.health.note("model", model.name)
        self.health.expect("sound")

    def start(self) -> None:
        """Listen to sound, and to whether the robot speaks."""
        self._detector.reset()
        self._asked_until = 0.0
        self._talk, self._is_mixed = RobotSpeech(time.monotonic), False
        self._arrival, self._advice = SampleClock(), AudioAdvice()
        self._without_sound_s = 0.0
        super().start()
        self._watch = self.make_timer(_WATCH_S, self._end_what_ceased)
        self._speaking = self.subscribe_to("/robot_speaking", BoolAdapter(), self._on_speaking)
        self.subscribe_to("listening", BoolAdapter(), self._on_listening, LATCHED)
        self._audio = self.subscribe_to(
            "audio", AudioChunkAdapter(), self._hear, _CHUNKS, match_reliability=True
        )

    def stop(self) -> None:
        """Stop listening."""
        if self._watch is not None:
            self.destroy_timer(self._watch)
            self._watch = None
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
        """Go on with other thresholds and times."""
        self._detector.settings = new

    def process(self, item: AudioChunk, settings: VoiceActivitySettings) -> list[SpeechSegment]:
        """Listen to one chunk."""
        with self._hearing:
            self._without_sound_s = 0.0
            return self._listen(item, settings)

    def _listen(self, item: AudioChunk, settings: VoiceActivitySettings) -> list[SpeechSegment]:
        was_mixed, is_mixed = self._is_mixed, self._talk.is_mixed(self._detector.is_speech)
        self._is_mixed = is_mixed and not settings.listen_while_speaking
        if was_mixed and not self._is_mixed:
            self._detector.reset()  # what comes now begins without the robot's last word
        if time.monotonic() > self._asked_until and settings.listening != "always":
            self._detector.reset()
            return []
        counts = self._detector.counts
        late, gaps, cut = counts.late, counts.gaps, self._detector.truncated_segments
        segments = self._detector.feed(item)
        sources = self.count_publishers(self._audio.topic) if counts.gaps > gaps else 1
        self.health.note("gaps", str(counts.gaps))
        advice = self._advice.update(counts, time.monotonic(), sources)
        self.health.set_warning(self._long_talk(settings) or advice)
        if self._detector.truncated_segments > cut:
            self.report_error(InputError(_CUT), "cut", lost=False)
        if counts.late > late:
            raise FrameDropped("late")
        return segments

    def emit(self, output: list[SpeechSegment]) -> None:
        """Publish what was said."""
        for segment in output:
            (self._mixed if self._is_mixed else self._segments).publish(segment)

    def _hear(self, chunk: AudioChunk, by_reference: bool) -> None:
        if chunk.stamp_ns <= 0 and chunk.sample_rate > 0:
            length = len(chunk.samples)
            stamp_ns = self._arrival.stamp_ns(length, chunk.sample_rate, self.now_ns())
            chunk = replace(chunk, stamp_ns=stamp_ns)
            self.health.note("stamps", "of arrival: the source gives none")
        self.receive(chunk, by_reference)

    def _end_what_ceased(self) -> None:
        """End what was being said when no sound comes any more: nobody else would.

        Time is counted by the timer, so that a stall of this very process is no silence.
        """
        if not self._hearing.acquire(blocking=False):
            return
        try:
            self._without_sound_s += _WATCH_S
            segments = self._detector.end_on_timeout(self._without_sound_s)
        finally:
            self._hearing.release()
        if segments:
            self.report_error(InputError(_CEASED), "ceased", lost=False)
            self.emit(segments)

    def _on_speaking(self, speaking: bool, by_reference: bool) -> None:
        del by_reference
        settings = self.parameters.current
        self._talk.update(speaking, settings.max_talk_s, settings.echo_tail_s)

    def _long_talk(self, settings: VoiceActivitySettings) -> str:
        """Return what to say of a robot that hardly ever lets anybody else speak."""
        lasts_s = self._talk.duration_s
        if settings.listen_while_speaking or lasts_s <= settings.max_talk_s:
            return ""
        return _LONG_TALK.format(lasts_s, self.count_publishers(self._speaking.topic))

    def _on_listening(self, is_asked: bool, by_reference: bool) -> None:
        del by_reference
        self._asked_until = time.monotonic() + _ASKED_S if is_asked else 0.0
