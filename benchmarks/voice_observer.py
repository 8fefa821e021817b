"""A microphone and an observer of the voice pipeline, in a process of their own.

Audio is published on ``/ai/audio`` as by a device: without an end, each chunk at the time of its
last sample, stamped with the time of its first sample. Audio can also be played faster than real
time; its stamps then start in the past.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from rclpy.qos import QoSProfile

from benchmarks.spinning_node import SpinningNode
from benchmarks.voice_audio import Audio
from edge_inference import msg
from edge_inference.core.audio import SAMPLE_RATE, AudioChunk
from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.conversions.headers import stamp_ns
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.nodes.conversions.voice import (
    ActionPlanAdapter,
    IntentArrayAdapter,
    TranscriptAdapter,
)

CHUNK = 512
CHUNK_NS = CHUNK * 1_000_000_000 // SAMPLE_RATE
STAGES = ("voice_activity", "speech_recognition", "intent_parser", "planner", "command")

_QOS = QoSProfile(depth=1000)
_WAIT_S = 60.0
_LOOK_S = 0.01
#: Wait this long after the end of the audio for a transcript, and after it for motion.
_ANSWER_S, _MOTION_S = 3.0, 0.2
#: A command soon behind a negation ("don't move") is held back.
_HELD_BACK_S = 2.0
#: Slightly below the default speed of the shipped limits.
_STEADY_MPS = 0.24
#: The diagnostic message of a stage that is not active.
_NOT_RUNNING = "not active"
#: Most unprocessed chunks in fast playback; half of the pipeline's queue.
_AHEAD = 50


class Event(NamedTuple):
    """A message of the pipeline with its arrival time.

    ``content`` is a Transcript, IntentArray, ActionPlan or StageTiming; a velocity is (m/s, rad/s).
    """

    arrival_ns: int
    topic: str
    content: Any


class Playback(NamedTuple):
    """The playback of an audio signal: the time of its first sample, and the messages since."""

    start_ns: int
    events: list[Event]

    def moment_ns(self, sample: int) -> int:
        """Return the time of a sample."""
        return self.start_ns + round(sample * 1e9 / SAMPLE_RATE)


class PipelineObserver(SpinningNode):
    """Speaks to the pipeline and observes its messages."""

    def __init__(self) -> None:
        super().__init__()
        self._events: list[Event] = []
        self._active: set[str] = set()
        self._lock = threading.Lock()
        self._sequence = 0
        self._heard = 0
        self._unheard = threading.Condition(self._lock)
        self._adapter = AudioChunkAdapter()
        create = self.node.create_publisher
        self._sound = create(msg.AudioChunk, "/ai/audio", QoSProfile(depth=100))
        self._plans = create(msg.ActionPlan, "/ai/action_plan", _QOS)
        self._texts = create(msg.Transcript, "/ai/transcript", _QOS)
        listen = self.node.create_subscription
        listen(DiagnosticArray, "/diagnostics", self._note_state, 100)
        listen(Twist, "/cmd_vel", self._on_velocity, _QOS)
        listen(msg.StageTiming, "/ai/stage_timing", self._on_timing, _QOS)
        for topic, message, adapter in (
            ("/ai/transcript", msg.Transcript, TranscriptAdapter()),
            ("/ai/intent", msg.IntentArray, IntentArrayAdapter()),
            ("/ai/action_plan", msg.ActionPlan, ActionPlanAdapter()),
        ):
            listen(message, topic, self._noter(topic, adapter.from_message), _QOS)

    def wait_until_active(self) -> None:
        """Wait until every stage is active and subscribes to the microphone."""
        wanted = {f"/ai/{stage}" for stage in STAGES}
        self._wait(lambda: self._active >= wanted, f"not all of {sorted(wanted)} became active")
        self._wait(lambda: self._sound.get_subscription_count() > 0, "no subscriber on /ai/audio")

    # In real time -------------------------------------------------------------------------------

    def switch_on(self) -> None:
        """Start the microphone; it plays silence until the next ``say``."""
        self._pending: Audio = np.zeros(0, np.float32)
        self._started_ns: int | None = None
        self._said = threading.Event()
        self._stopping = threading.Event()
        self._microphone = threading.Thread(target=self._run, daemon=True)
        self._microphone.start()

    def switch_off(self) -> None:
        """Stop the microphone."""
        self._stopping.set()
        self._microphone.join()

    def say(self, sound: Audio) -> Playback:
        """Play audio in real time; return the messages up to its transcript."""
        self._take_events()
        with self._lock:
            self._said.clear()
            self._started_ns = None
            self._pending = sound
        if not self._said.wait(_WAIT_S + len(sound) / SAMPLE_RATE):
            raise RuntimeError("the microphone has stopped; see its error above")
        started_ns = self._started_ns
        assert started_ns is not None

        def is_answered() -> bool:
            return any(
                e.topic == "/ai/transcript"
                and e.content.is_final
                and e.content.stamp_ns > started_ns
                for e in self._seen()
            )

        self._is_so_within(_ANSWER_S, is_answered)
        time.sleep(_MOTION_S)
        return Playback(started_ns, self._take_events())

    def drive(self) -> None:
        """Make the robot drive ahead for 10 m; return at constant velocity."""
        self._take_events()
        time.sleep(_HELD_BACK_S)
        step = ActionStep(action="move", distance_m=10.0)
        plan = ActionPlan("move", (step,), stamp_ns=self._now_ns())
        self._plans.publish(ActionPlanAdapter().to_message(plan))
        self._wait(
            lambda: any(
                e.topic == "/cmd_vel" and e.content[0] >= _STEADY_MPS for e in self._seen()
            ),
            "the robot does not move ahead",
        )

    def halt(self) -> None:
        """Stop the robot; return at standstill."""
        self._take_events()
        transcript = Transcript("stop", 1.0, "command", stamp_ns=self._now_ns())
        self._texts.publish(TranscriptAdapter().to_message(transcript))
        self._wait(
            lambda: any(e.topic == "/cmd_vel" and not any(e.content) for e in self._seen()),
            "the robot does not stop",
        )

    # Faster -------------------------------------------------------------------------------------

    def listen_to_speech(self) -> None:
        """Also record speech segments as (stamp, is_final)."""
        self.node.create_subscription(
            msg.SpeechSegment,
            "/ai/speech",
            self._noter("/ai/speech", lambda m: (stamp_ns(m.header), m.is_final)),
            _QOS,
        )

    def set_clock_back(self, seconds: float) -> None:
        """Set the start of the stamps of fast playback into the past."""
        self._stamp_ns = self._now_ns() - round(seconds * 1e9)

    def play_faster(self, sound: Audio, speed: float) -> list[Event]:
        """Play audio at most ``speed`` times as fast as real time, in whole chunks.

        The playback waits for the pipeline.
        """
        self._take_events()
        period = CHUNK / SAMPLE_RATE / speed
        due = time.monotonic()
        for place in range(0, len(sound) - CHUNK + 1, CHUNK):
            due = max(due + period, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            self._publish(sound[place : place + CHUNK], self._stamp_ns)
            self._stamp_ns += CHUNK_NS
            with self._unheard:
                if not self._unheard.wait_for(
                    lambda: self._sequence - self._heard < _AHEAD, timeout=_WAIT_S
                ):
                    raise RuntimeError("voice activity has stopped; see its error above")
        return self._take_events()

    # In our threads -----------------------------------------------------------------------------

    def _run(self) -> None:
        origin_ns, origin = self._now_ns(), time.monotonic()
        played = 0
        rest: Audio | None = None
        while not self._stopping.is_set():
            with self._lock:
                if len(self._pending):
                    rest, self._pending = self._pending, np.zeros(0, np.float32)
                    self._started_ns = origin_ns + played * CHUNK_NS
            piece = np.zeros(CHUNK, np.float32)
            if rest is not None:
                piece[: len(rest[:CHUNK])] = rest[:CHUNK]
                rest = rest[CHUNK:]
            due = origin + (played + 1) * CHUNK / SAMPLE_RATE
            self._stopping.wait(max(0.0, due - time.monotonic()))
            self._publish(piece, origin_ns + played * CHUNK_NS)
            played += 1
            if rest is not None and not len(rest):
                rest = None
                self._said.set()

    def _publish(self, samples: Audio, moment_ns: int) -> None:
        chunk = AudioChunk(samples, SAMPLE_RATE, moment_ns, self._sequence, "microphone")
        message = self._adapter.to_message(chunk)
        self._sequence += 1
        self._sound.publish(message)

    def _note_state(self, message: Any) -> None:
        self._active |= {s.name for s in message.status if s.message != _NOT_RUNNING}

    def _on_velocity(self, message: Any) -> None:
        self._add("/cmd_vel", (float(message.linear.x), float(message.angular.z)))

    def _on_timing(self, message: Any) -> None:
        timing = StageTimingAdapter().from_message(message)
        self._add("/ai/stage_timing", timing)
        if timing.stage == STAGES[0]:
            with self._unheard:
                self._heard += 1
                self._unheard.notify_all()

    def _noter(self, topic: str, convert: Callable[[Any], Any]) -> Callable[[Any], None]:
        return lambda message: self._add(topic, convert(message))

    def _add(self, topic: str, content: Any) -> None:
        event = Event(self._now_ns(), topic, content)
        with self._lock:
            self._events.append(event)

    def _seen(self) -> list[Event]:
        with self._lock:
            return list(self._events)

    def _take_events(self) -> list[Event]:
        with self._lock:
            events, self._events = self._events, []
        return events

    def _now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def _wait(self, is_so: Callable[[], bool], otherwise: str) -> None:
        if not self._is_so_within(_WAIT_S, is_so):
            raise RuntimeError(f"{otherwise} in {_WAIT_S:g} s")

    def _is_so_within(self, seconds: float, is_so: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S)
        return True
