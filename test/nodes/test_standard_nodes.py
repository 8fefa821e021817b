"""The nodes that convert messages of other packages, with rclpy."""

from __future__ import annotations

import dataclasses
from array import array

import numpy as np
import pytest
from rclpy.qos import QoSProfile, qos_profile_sensor_data

import standard_messages as standard
from edge_inference.composition.bus import Publisher
from edge_inference.core.audio import AudioChunk
from edge_inference.core.voice import Intent, IntentArray, IntentSlot, Transcript
from edge_inference.errors import InputError
from edge_inference.nodes.component import LATCHED, RELIABLE
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.conversions.voice import IntentArrayAdapter, TranscriptAdapter
from edge_inference.nodes.voice import hri_intents
from rig import Collected, Rig, wait_for

AUDIO = standard.find_installed_messages("audio_common_msgs")
HALF = np.full(512, 0.5, np.float32)

ros_drivers = pytest.mark.skipif(
    not hasattr(AUDIO, "AudioDataStamped"), reason="audio_common_msgs of ros-drivers is absent"
)
mgonzs13 = pytest.mark.skipif(
    not hasattr(AUDIO, "AudioStamped"), reason="audio_common_msgs of mgonzs13 is absent"
)


def ours(rig: Rig, adapter, topic: str) -> Publisher:
    return rig.call(lambda: Publisher(rig.container.node, adapter, topic, RELIABLE))


def theirs(rig: Rig, message_type, topic: str, qos=RELIABLE):
    return rig.call(lambda: rig.container.node.create_publisher(message_type, topic, qos))


def listen(rig: Rig, message_type, topic: str, qos=RELIABLE) -> Collected:
    received = Collected()
    rig.call(
        lambda: rig.container.node.create_subscription(message_type, topic, received.take, qos)
    )
    return received


@pytest.mark.parametrize(
    ("plugin", "package"),
    [
        ("AudioCommonInput", "audio_common_msgs"),
        ("AudioCommonOutput", "audio_common_msgs"),
        ("LiveSpeech", "hri_msgs"),
        ("HriIntents", "hri_actions_msgs"),
    ],
)
def test_without_the_package_it_says_so(rig: Rig, plugin: str, package: str) -> None:
    if standard.find_installed_messages(package) is not None:
        pytest.skip(f"{package} is installed")
    node = rig.load(plugin)
    assert f"{package} is not installed" in node.health.status(0).message


@ros_drivers
@pytest.mark.parametrize("qos", [LATCHED, QoSProfile(depth=1)], ids=["latched", "repeated"])
def test_audio_from_ros_drivers(rig: Rig, qos: QoSProfile) -> None:
    received = rig.tap("/ai/audio")
    infos = theirs(rig, AUDIO.AudioInfo, "/mic/audio_info", qos)
    sound = theirs(rig, AUDIO.AudioDataStamped, "/mic/audio_stamped", qos_profile_sensor_data)
    info = AUDIO.AudioInfo(
        channels=2, sample_rate=44_100, sample_format="S16LE", coding_format="wave"
    )
    if qos is LATCHED:
        infos.publish(info)
    node = rig.load("AudioCommonInput", "-r", "audio_in:=/mic/audio_stamped")
    rig.wait_for_publishers(node, "/mic/audio_stamped")
    piece = AUDIO.AudioDataStamped()
    piece.header.stamp.sec, piece.header.frame_id = 5, "microphone"
    piece.audio.data = array("B", np.array([[16384, 0], [0, -16384]], "<i2").tobytes())
    if qos is not LATCHED:
        sound.publish(piece)
        wait_for(lambda: node.health.drop_counts().get("invalid"), "audio without a format")
        wait_for(lambda: infos.get_subscription_count() == 1, "the subscription to the info")
        infos.publish(info)
    wait_for(lambda: "audio" in node.health.notes(), "what the sound is")
    sound.publish(piece)
    (chunk,) = received.wait()
    assert chunk.samples.tolist() == [0.25, -0.25]
    assert (chunk.sample_rate, chunk.stamp_ns, chunk.frame_id) == (
        44_100,
        5_000_000_000,
        "microphone",
    )
    assert node.health.notes()["audio"] == "S16LE, 44100 Hz, 2 channels"


@ros_drivers
def test_compressed_audio_is_an_error(rig: Rig) -> None:
    infos = theirs(rig, AUDIO.AudioInfo, "/mic/audio_info", LATCHED)
    infos.publish(AUDIO.AudioInfo(channels=1, sample_rate=16_000, coding_format="mp3"))
    node = rig.load("AudioCommonInput", "-r", "audio_in:=/mic/audio_stamped")
    errors = wait_for(node.health.take_errors, "a refusal")
    assert "'mp3': expected uncompressed sound" in errors[0][1]


@ros_drivers
def test_audio_to_ros_drivers(rig: Rig) -> None:
    sound = listen(rig, AUDIO.AudioDataStamped, "/mic/audio_stamped")
    infos = listen(rig, AUDIO.AudioInfo, "/mic/audio_info", LATCHED)
    node = rig.load("AudioCommonOutput", "-r", "audio_out:=/mic/audio_stamped")
    rig.wait_for_subscribers(node, "/mic/audio_stamped")
    ours(rig, AudioChunkAdapter(), "/ai/audio").publish(
        AudioChunk(HALF, 16_000, 5, 0, "microphone")
    )
    (piece,) = sound.wait()
    assert np.frombuffer(bytes(piece.audio.data), "<i2").tolist() == [16384] * 512
    (info,) = infos.wait()
    assert (info.channels, info.sample_rate, info.sample_format) == (1, 16_000, "S16LE")
    assert (info.bitrate, info.coding_format) == (256_000, "wave")


@mgonzs13
def test_audio_of_mgonzs13_round_trip(rig: Rig) -> None:
    out = rig.load("AudioCommonOutput", "-r", "audio_out:=/mic/audio")
    node = rig.load("AudioCommonInput", "-r", "audio_in:=/mic/audio", "-r", "audio:=back")
    received = rig.tap("/ai/back")
    rig.wait_for_publishers(node, "/mic/audio")
    rig.wait_for_subscribers(out, "/mic/audio")
    ours(rig, AudioChunkAdapter(), "/ai/audio").publish(
        AudioChunk(HALF, 16_000, 5, 0, "microphone")
    )
    (chunk,) = received.wait()
    assert chunk.samples.tolist() == HALF.tolist()
    assert (chunk.sample_rate, chunk.stamp_ns, chunk.frame_id) == (16_000, 5, "microphone")


@mgonzs13
def test_float_stereo_of_mgonzs13(rig: Rig) -> None:
    sound = theirs(rig, AUDIO.AudioStamped, "/mic/audio", qos_profile_sensor_data)
    node = rig.load("AudioCommonInput", "-r", "audio_in:=/mic/audio")
    received = rig.tap("/ai/audio")
    rig.wait_for_publishers(node, "/mic/audio")
    piece = AUDIO.AudioStamped()
    piece.audio.info = AUDIO.AudioInfo(format=1, channels=2, rate=48_000, chunk=1)
    piece.audio.audio_data.float32_data = [0.5, 0.25]
    wait_for(lambda: sound.get_subscription_count() == 1, "the subscription")
    sound.publish(piece)
    (chunk,) = received.wait()
    assert chunk.samples.tolist() == [0.375] and chunk.sample_rate == 48_000


def test_transcripts_as_live_speech(rig: Rig) -> None:
    messages = pytest.importorskip("hri_msgs.msg", reason="hri_msgs is absent")
    topic = "/humans/voices/anonymous_speaker/speech"
    received = listen(rig, messages.LiveSpeech, topic)
    node = rig.load("LiveSpeech", "-r", f"live_speech:={topic}")
    rig.wait_for_subscribers(node, topic)
    words = ours(rig, TranscriptAdapter(), "/ai/transcript")
    words.publish(Transcript("turn", 0.5, "command", 5, is_final=False))
    words.publish(Transcript("", 0.1, "command", 6, problem="nothing of the grammar"))
    words.publish(Transcript("turn left", 0.75, "command", 7))
    partial, final = received.wait(2)
    assert (partial.incremental, partial.final) == ("turn", "")
    assert (final.incremental, final.final, final.confidence) == ("", "turn left", 0.75)
    assert final.header.stamp.nanosec == 7


def test_intents_with_a_problem_or_question_are_left_out(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hri_intents, "hri_intent_adapter", IntentArrayAdapter)  # it may be absent
    passed = rig.tap("/ai/hri_intents")
    rig.load("HriIntents")
    intents = ours(rig, IntentArrayAdapter(), "/ai/intent")
    meant = IntentArray((Intent("look"), Intent("stop")), 0.9, "", "grammar", 5)
    for changes in ({"problem": "that was cut off"}, {"needs_confirmation": True}):
        uncertain = dataclasses.replace(meant, **changes)
        intents.publish(uncertain)
        assert passed == [dataclasses.replace(uncertain, intents=meant.intents[1:])]
        passed.clear()
    intents.publish(meant)
    # One message for each intent, in their order.
    assert passed == [dataclasses.replace(meant, intents=(each,)) for each in meant.intents]


def test_an_intent_without_a_message_does_not_hold_up_a_stop(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hri_intents, "hri_intent_adapter", IntentArrayAdapter)
    node = rig.load("HriIntents")
    passed: list[str] = []

    def publish(item: IntentArray) -> None:
        if item.is_only("wave"):
            raise InputError("action wave: no constant")
        passed.extend(item.names)

    monkeypatch.setattr(node._intents, "publish", publish)
    intents = ours(rig, IntentArrayAdapter(), "/ai/intent")
    intents.publish(IntentArray((Intent("wave"), Intent("stop")), 0.9, "", "grammar", 5))
    assert passed == ["stop"]
    assert "no constant" in node.health.status(0).message


def test_intents_as_ros4hri_intents(rig: Rig) -> None:
    messages = pytest.importorskip("hri_actions_msgs.msg", reason="hri_actions_msgs is absent")
    received = listen(rig, messages.Intent, "/intents")
    node = rig.load("HriIntents", "-r", "hri_intents:=/intents")
    rig.wait_for_subscribers(node, "/intents")
    intents = ours(rig, IntentArrayAdapter(), "/ai/intent")
    go = (Intent("go_to", {"place": IntentSlot("place", "kitchen")}),)
    intents.publish(IntentArray(go, 0.7, "", "embedding", 4, needs_confirmation=True))
    intents.publish(IntentArray((), 0.1, "what", "grammar", 5, problem="not in the grammar"))
    intents.publish(IntentArray(go, 0.5, "go to the kitchen", "grammar", 6))
    (intent,) = received.wait()
    assert (intent.intent, intent.data) == (messages.Intent.MOVE_TO, '{"goal": "kitchen"}')
    assert (intent.priority, intent.confidence) == (128, 0.5)
