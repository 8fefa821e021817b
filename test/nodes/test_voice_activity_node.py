"""Audio becomes segments with speech; possible speech of the robot has its own topic."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.composition.bus import Publisher
from edge_inference.core.audio import AudioChunk
from edge_inference.errors import ModelError
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.conversions.string_and_bool import BoolAdapter
from edge_inference.nodes.voice import listening_gate, voice_activity
from edge_inference.nodes.voice.parameter_files import load_speech_model
from rig import Outside, Rig, later, wait_for

MS32 = 32_000_000


class LoudIsSpeech:
    """Stands in for the model: loud windows are speech."""

    inputs = ()

    def __init__(self) -> None:
        self.is_closed = False

    def infer(self, inputs):
        is_loud = float(np.abs(inputs["input"][0, -512:]).max()) > 0.4
        return {"output": np.array([[float(is_loud)]], np.float32), "stateN": inputs["state"]}

    def close(self) -> None:
        self.is_closed = True


class AudioPublisher:
    """Publishes chunks one after the other."""

    def __init__(self, rig: Rig) -> None:
        node = rig.container.node
        self.count = 0
        self._first_ns = node.get_clock().now().nanoseconds - 30_000_000_000
        self._chunks, self._speaking = rig.call(
            lambda: (
                Publisher(node, AudioChunkAdapter(), "/ai/audio", RELIABLE),
                Publisher(node, BoolAdapter(), "/robot_speaking", RELIABLE),
            )
        )

    def publish(self, *levels: float) -> None:
        for level in levels:
            stamp_ns = self._first_ns + self.count * MS32
            samples = np.full(512, level, np.float32)
            self._chunks.publish(AudioChunk(samples, 16_000, stamp_ns, self.count, "microphone"))
            self.count += 1

    def set_speaking(self, is_speaking: bool) -> None:
        self._speaking.publish(is_speaking)

    def end_ns(self, chunk: int) -> int:
        return self._first_ns + (chunk + 1) * MS32


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> LoudIsSpeech:
    model = LoudIsSpeech()
    described = type("Described", (), {"name": "loud"})()
    monkeypatch.setattr(voice_activity, "load_speech_model", lambda *given: described)
    monkeypatch.setattr(voice_activity, "open_backend", lambda *given: model)
    return model


WORD = (0.0, 0.0, 0.5, 0.5, 0.5, *[0.0] * 10)


def test_a_word_is_a_segment(rig: Rig, model: LoudIsSpeech) -> None:
    segments, timings = rig.tap("/ai/speech"), rig.tap("/ai/stage_timing")
    node = rig.load("VoiceActivity")
    audio = AudioPublisher(rig)
    audio.publish(*WORD)
    pause, segment = segments.wait(2)
    assert (pause.is_final, segment.is_final, segment.frame_id) == (False, True, "microphone")
    assert pause.stamp_ns == segment.stamp_ns
    assert segment.stamp_ns == pytest.approx(audio.end_ns(4), abs=1000)
    assert segment.start_ns == pytest.approx(audio.end_ns(-1), abs=1000)
    wait_for(lambda: len(timings) == len(WORD), "a timing for every chunk")
    assert {(timing.stage, timing.model) for timing in timings} == {("voice_activity", "loud")}
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_cleanup)
    assert model.is_closed


def test_partials_while_speech_goes_on(rig: Rig, model: LoudIsSpeech) -> None:
    segments = rig.tap("/ai/speech")
    rig.load("VoiceActivity", partial_period_ms=64.0)
    AudioPublisher(rig).publish(*[0.5] * 8)
    segments.wait(2)
    assert not any(segment.is_final for segment in segments)
    assert len(segments[1].samples) > len(segments[0].samples)


def test_speech_while_the_robot_speaks_has_its_own_topic(rig: Rig, model: LoudIsSpeech) -> None:
    segments, mixed = rig.tap("/ai/speech"), rig.tap("/ai/mixed_speech")
    rig.load("VoiceActivity", echo_tail_s=0.0)
    audio = AudioPublisher(rig)
    audio.set_speaking(True)
    audio.publish(*WORD)
    assert [segment.is_final for segment in mixed.wait(2)] == [False, True]
    assert segments == []
    audio.set_speaking(False)
    audio.publish(*WORD)
    segments.wait(2)
    assert len(mixed) == 2


def test_an_utterance_is_mixed_once_the_robot_speaks(rig: Rig, model: LoudIsSpeech) -> None:
    segments, mixed = rig.tap("/ai/speech"), rig.tap("/ai/mixed_speech")
    node = rig.load("VoiceActivity", echo_tail_s=0.0, partial_period_ms=64.0)
    audio = AudioPublisher(rig)
    audio.publish(*[0.5] * 3)
    segments.wait()
    wait_for(lambda: node.health.status(0).values["processed"] == "3", "the sound before")
    audio.set_speaking(True)
    audio.publish(*[0.5] * 3)
    mixed.wait()
    wait_for(lambda: node.health.status(0).values["processed"] == "6", "the sound meanwhile")
    audio.set_speaking(False)
    audio.publish(*WORD[2:])
    wait_for(lambda: mixed[-1].is_final, "the end")
    assert not any(segment.is_final for segment in segments)
    assert {segment.start_ns for segment in (*segments, *mixed)} == {segments[0].start_ns}


def test_an_utterance_begins_without_the_robots_last_word(rig: Rig, model: LoudIsSpeech) -> None:
    segments, mixed = rig.tap("/ai/speech"), rig.tap("/ai/mixed_speech")
    node = rig.load("VoiceActivity", echo_tail_s=0.0)
    audio = AudioPublisher(rig)
    audio.set_speaking(True)
    audio.publish(*WORD)
    mixed.wait(2)
    wait_for(lambda: node.health.status(0).values["processed"] == str(len(WORD)), "all of it")
    audio.set_speaking(False)
    first = audio.count
    audio.publish(0.5, 0.5, 0.5, *[0.0] * 10)
    assert segments.wait(2)[-1].start_ns == pytest.approx(audio.end_ns(first - 1), abs=1000)


def test_a_robot_that_never_stops_speaking_is_reported(
    rig: Rig, model: LoudIsSpeech, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node may publish it; a stop still counts."""
    pass_s = later(monkeypatch, listening_gate)
    mixed = rig.tap("/ai/mixed_speech")
    node = rig.load("VoiceActivity")
    outside.speak("/robot_speaking", "std_msgs/Bool")
    audio = AudioPublisher(rig)
    wait_for(lambda: node.count_publishers("/robot_speaking") == 2, "two publishers")
    audio.set_speaking(True)
    pass_s(14.0)
    audio.set_speaking(True)
    pass_s(2.0)
    audio.publish(*WORD)
    mixed.wait(2)
    words = "s without a break, so only a stop or a no counts; /robot_speaking has 2 publishers"
    wait_for(lambda: words in node.health.status(0).message, "advice")


def test_listen_while_speaking_accepts_all_speech(rig: Rig, model: LoudIsSpeech) -> None:
    segments, mixed = rig.tap("/ai/speech"), rig.tap("/ai/mixed_speech")
    rig.load("VoiceActivity", listen_while_speaking=True)
    audio = AudioPublisher(rig)
    audio.set_speaking(True)
    audio.publish(*WORD)
    segments.wait(2)
    audio.set_speaking(False)
    audio.publish(*WORD)
    segments.wait(4)
    assert mixed == []


def test_clipping_is_reported(rig: Rig, model: LoudIsSpeech) -> None:
    node = rig.load("VoiceActivity")
    AudioPublisher(rig).publish(1.0)
    wait_for(lambda: "clipped" in node.health.status(0).message, "advice")


def test_integers_from_outside_are_refused_and_the_rest_goes_on(
    rig: Rig, outside: Outside, model: LoudIsSpeech
) -> None:
    node = rig.load("VoiceActivity")
    send = outside.speak_to_one_that_follows("/ai/audio", "edge_inference/AudioChunk")
    rig.wait_for_publishers(node, "/ai/audio")
    send(sample_rate=16_000, samples=[12000.0] * 512)
    wait_for(lambda: "divide 16-bit samples" in node.health.status(0).message, "a sentence")
    send(sample_rate=16_000, samples=[0.0] * 512)
    wait_for(lambda: node.health.status(0).values["processed"] == "1", "the next chunk")


def test_a_best_effort_publisher_is_received(
    rig: Rig, outside: Outside, model: LoudIsSpeech
) -> None:
    node = rig.load("VoiceActivity")
    outside.advertise(topic="/ai/audio", type="edge_inference/AudioChunk", reliable=False)
    wait_for(lambda: outside.subscribers(topic="/ai/audio"), "a listener")
    rig.wait_for_publishers(node, "/ai/audio")

    def was_heard() -> bool:
        outside.publish(topic="/ai/audio", fields={"sample_rate": 16_000, "samples": [0.0] * 512})
        return node.health.status(0).values["processed"] != "0"

    wait_for(was_heard, "a chunk")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nanodet", "unknown speech model 'nanodet'"),
        ("moonshine_tiny", "expected one for activity, got recognition"),
    ],
)
def test_a_model_of_another_task(name: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_speech_model(name, "", "activity")
    assert words in str(caught.value) or "is not installed" in str(caught.value)


def test_an_utterance_ends_when_the_audio_ends(rig: Rig, model: LoudIsSpeech) -> None:
    segments = rig.tap("/ai/speech")
    node = rig.load("VoiceActivity", input_timeout_s=0.5)
    audio = AudioPublisher(rig)
    audio.publish(*WORD[:5])
    (segment,) = segments.wait()
    assert segment.is_final and segment.frame_id == "microphone"
    assert segment.stamp_ns == pytest.approx(audio.end_ns(4), abs=1000)
    assert "is its source still running?" in node.health.status(0).values["last error"]
    audio.count += 100
    audio.publish(*WORD)
    segments.wait(2)


def test_audio_without_stamps_gets_the_time_of_arrival(
    rig: Rig, outside: Outside, model: LoudIsSpeech
) -> None:
    segments = rig.tap("/ai/speech")
    node = rig.load("VoiceActivity", input_timeout_s=0.5)
    send = outside.speak_to_one_that_follows("/ai/audio", "edge_inference/AudioChunk")
    rig.wait_for_publishers(node, "/ai/audio")
    before_ns = node.now_ns()
    for level in WORD[:5]:
        send(sample_rate=16_000, samples=[level] * 512)
    (segment,) = segments.wait()
    assert before_ns - 10**9 < segment.stamp_ns < node.now_ns()
    assert node.health.drop_counts() == {}
    assert node.health.notes()["stamps"] == "of arrival: the source gives none"


@pytest.mark.parametrize(
    ("rate", "count", "words"),
    [
        (0, 512, "sample_rate: expected samples per second, got 0"),
        (3000, 512, "expected 4000 to 192000"),
        (4000, 160_000, "expected at most 30 s, got 40.0 s"),
    ],
)
def test_invalid_chunks_are_refused(
    rig: Rig, outside: Outside, model: LoudIsSpeech, rate: int, count: int, words: str
) -> None:
    node = rig.load("VoiceActivity")
    send = outside.speak_to_one_that_follows("/ai/audio", "edge_inference/AudioChunk")
    rig.wait_for_publishers(node, "/ai/audio")
    send(sample_rate=rate, samples=[0.0] * count)
    wait_for(lambda: words in node.health.status(0).message, "a sentence")


def test_two_sources_on_one_topic_are_reported(
    rig: Rig, outside: Outside, model: LoudIsSpeech
) -> None:
    node = rig.load("VoiceActivity")
    first, second = AudioPublisher(rig), AudioPublisher(rig)
    second.count = 7
    wait_for(lambda: node.count_publishers("/ai/audio") == 2, "two publishers")
    for _ in range(5):
        first.publish(0.1)
        second.publish(0.1)
    wait_for(lambda: "2 sources publish audio" in node.health.status(0).message, "advice")


def test_a_flood_of_chunks_leaves_the_newest(rig: Rig, model: LoudIsSpeech) -> None:
    node = rig.load("VoiceActivity")
    segments = rig.tap("/ai/speech")
    audio = AudioPublisher(rig)
    audio.publish(*[0.0] * 3000, *WORD)
    segments.wait()
    values = node.health.status(0).values
    assert int(values["processed"]) + sum(node.health.drop_counts().values()) <= 3000 + len(WORD)


def test_a_truncated_utterance_is_reported_and_not_final(rig: Rig, model: LoudIsSpeech) -> None:
    segments = rig.tap("/ai/speech")
    node = rig.load("VoiceActivity", partial_period_ms=0.0)
    audio = AudioPublisher(rig)
    audio.publish(*WORD[:5])
    audio.count += 20
    audio.publish(0.0)
    (segment,) = segments.wait()
    assert not segment.is_final
    wait_for(lambda: "has cut an utterance short" in node.health.status(0).message, "a sentence")
