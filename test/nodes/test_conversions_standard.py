"""Audio, speech and intents in messages of other packages; doubles of absent packages."""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
import types
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from std_msgs.msg import Header

import standard_messages as standard
from edge_inference.core.audio import AudioChunk
from edge_inference.core.voice import Intent, IntentArray, IntentSlot, Transcript
from edge_inference.errors import ConfigError, InputError
from edge_inference.nodes.conversions.audio_common import (
    AudioDataStampedAdapter,
    AudioFormat,
    AudioInfoAdapter,
    AudioStampedAdapter,
    audio_common_messages,
    has_own_info,
    to_info,
)
from edge_inference.nodes.conversions.hri import (
    HriIntentAdapter,
    LiveSpeechAdapter,
    hri_intent_adapter,
    live_speech_adapter,
)

STAMP = 1_700_000_000_000_000_123
ROS_DRIVERS = standard.make_package_double(standard.ROS_DRIVERS)
MGONZS13 = standard.make_package_double(standard.MGONZS13)
SPEECH = standard.make_message_double("LiveSpeech", standard.LIVE_SPEECH)
NEWER_SPEECH = standard.make_message_double("LiveSpeech", standard.NEWER_LIVE_SPEECH)
HRI_INTENT = standard.make_message_double(
    "Intent", standard.HRI_INTENT, standard.HRI_INTENT_CONSTANTS
)
CHUNK = AudioChunk(np.array([0.0, 0.5, -1.0, 0.25], np.float32), 16_000, STAMP, 7, "microphone")


def fields(message_type) -> dict[str, str]:
    return dict(message_type.get_fields_and_field_types())


# The fallbacks are the real ones -----------------------------------------------------------------


@pytest.mark.parametrize(
    "definitions", [standard.ROS_DRIVERS, standard.MGONZS13], ids=["ros-drivers", "mgonzs13"]
)
def test_the_real_audio_common_has_these_fields(definitions: dict) -> None:
    real = standard.find_installed_messages("audio_common_msgs")
    if real is None or not all(hasattr(real, name) for name in definitions):
        pytest.skip("this audio_common_msgs is not installed")
    for name, expected in definitions.items():
        assert fields(getattr(real, name)) == expected


def test_the_real_live_speech_has_these_fields() -> None:
    real = standard.find_installed_messages("hri_msgs")
    if real is None:
        pytest.skip("hri_msgs is not installed")
    assert fields(real.LiveSpeech) in (standard.LIVE_SPEECH, standard.NEWER_LIVE_SPEECH)


def test_the_real_intent_has_these_fields() -> None:
    real = standard.find_installed_messages("hri_actions_msgs")
    if real is None:
        pytest.skip("hri_actions_msgs is not installed")
    assert fields(real.Intent) == standard.HRI_INTENT
    for name, value in standard.HRI_INTENT_CONSTANTS.items():
        assert getattr(real.Intent, name) == value


# Which package it is -----------------------------------------------------------------------------


def given(monkeypatch: pytest.MonkeyPatch, name: str, messages) -> None:
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules[name], "msg", messages, raising=False)
    monkeypatch.setitem(sys.modules, f"{name}.msg", messages)


def test_the_two_packages_are_distinguished(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "audio_common_msgs", ROS_DRIVERS)
    assert has_own_info(audio_common_messages())
    given(monkeypatch, "audio_common_msgs", MGONZS13)
    assert not has_own_info(audio_common_messages())


def test_an_unknown_package_of_that_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "audio_common_msgs", types.SimpleNamespace(AudioData=object))
    with pytest.raises(ConfigError, match=r"expected AudioDataStamped .* got AudioData"):
        audio_common_messages()


@pytest.mark.parametrize(
    ("package", "find"),
    [
        ("audio_common_msgs", audio_common_messages),
        ("hri_msgs", live_speech_adapter),
        ("hri_actions_msgs", hri_intent_adapter),
    ],
)
def test_a_missing_package_is_an_error(monkeypatch: pytest.MonkeyPatch, package: str, find) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.msg", None)
    with pytest.raises(ConfigError, match=f"{package} is not installed; install it, or leave"):
        find()


# Audio of ros-drivers ----------------------------------------------------------------------------


def info(**changed) -> object:
    fields = {"channels": 1, "sample_rate": 16_000, "sample_format": "S16LE"}
    return ROS_DRIVERS.AudioInfo(**{**fields, "coding_format": "wave", **changed})


def stamped(data: bytes) -> object:
    header = Header(frame_id="microphone")
    header.stamp.sec, header.stamp.nanosec = 5, 6
    audio = ROS_DRIVERS.AudioData(data=array("B", data))
    return ROS_DRIVERS.AudioDataStamped(header=header, audio=audio)


def test_own_audio_round_trip() -> None:
    adapter = AudioDataStampedAdapter(ROS_DRIVERS)
    infos = AudioInfoAdapter(ROS_DRIVERS)
    adapter.audio_format = infos.from_message(to_info(ROS_DRIVERS, 16_000))
    assert adapter.audio_format == AudioFormat(16_000, 1, "S16LE")
    back = adapter.from_message(adapter.to_message(CHUNK))
    assert back.samples.tolist() == CHUNK.samples.tolist()
    assert not back.samples.flags.writeable
    assert (back.sample_rate, back.stamp_ns, back.frame_id) == (16_000, STAMP, "microphone")


def test_stereo_at_another_rate() -> None:
    adapter = AudioDataStampedAdapter(ROS_DRIVERS)
    adapter.audio_format = AudioFormat.from_info(
        info(channels=2, sample_rate=44_100, sample_format="F32LE")
    )
    chunk = adapter.from_message(stamped(struct.pack("<4f", 0.5, 0.0, -0.5, -1.0)))
    assert chunk.samples.tolist() == [0.25, -0.75]
    assert (chunk.sample_rate, chunk.stamp_ns) == (44_100, 5_000_000_006)


def test_audio_without_a_format_is_refused() -> None:
    with pytest.raises(InputError, match="expected an AudioInfo before it, got none; publish one"):
        AudioDataStampedAdapter(ROS_DRIVERS).from_message(stamped(b""))


@pytest.mark.parametrize("coding", ["mp3", "MP3", "opus"])
def test_compressed_audio_is_refused(coding: str) -> None:
    with pytest.raises(InputError, match=f"'{coding}': expected uncompressed .* format:=wave"):
        AudioFormat.from_info(info(coding_format=coding))


@pytest.mark.parametrize("coding", ["wave", "WAVE", ""])
def test_uncompressed_audio_is_accepted(coding: str) -> None:
    assert AudioFormat.from_info(info(coding_format=coding)).sample_format == "S16LE"


def test_a_rate_of_0_is_refused() -> None:
    with pytest.raises(InputError, match="sample_rate: expected samples per second, got 0"):
        AudioFormat.from_info(info(sample_rate=0))


@pytest.mark.parametrize(
    ("data", "channels", "words"),
    [
        (bytes((16 << 20) + 1), 1, "at most 16777216 bytes of audio in one message, got 16777217"),
        (b"", 65, "channels: expected 1 to"),
    ],
)
def test_too_much_audio_is_refused(data: bytes, channels: int, words: str) -> None:
    adapter = AudioDataStampedAdapter(ROS_DRIVERS)
    adapter.audio_format = AudioFormat.from_info(info(channels=channels, sample_format="U8"))
    with pytest.raises(InputError, match=words):
        adapter.from_message(stamped(data))


# Audio of mgonzs13 -------------------------------------------------------------------------------


def both(number: int, rate: int = 48_000, channels: int = 1, **data) -> object:
    what = MGONZS13.AudioInfo(format=number, channels=channels, rate=rate, chunk=2)
    audio = MGONZS13.Audio(audio_data=MGONZS13.AudioData(**data), info=what)
    return MGONZS13.AudioStamped(header=Header(), audio=audio)


def test_own_audio_round_trip_of_mgonzs13() -> None:
    adapter = AudioStampedAdapter(MGONZS13)
    message = adapter.to_message(CHUNK)
    assert message.audio.info.chunk == 4
    back = adapter.from_message(message)
    assert back.samples.tolist() == CHUNK.samples.tolist()
    assert (back.sample_rate, back.stamp_ns, back.frame_id) == (16_000, STAMP, "microphone")


@pytest.mark.parametrize(
    "message",
    [
        both(1, float32_data=array("f", [0.5, -0.5])),
        both(2, int32_data=array("i", [2**30, -(2**30)])),
        both(8, int16_data=array("h", [2**14, -(2**14)])),
        both(16, int8_data=array("b", [64, -64])),
        both(32, uint8_data=array("B", [192, 64])),
    ],
    ids=["float32", "int32", "int16", "int8", "uint8"],
)
def test_every_format_of_portaudio(message) -> None:
    chunk = AudioStampedAdapter(MGONZS13).from_message(message)
    assert chunk.samples.tolist() == [0.5, -0.5] and chunk.sample_rate == 48_000


def test_invalid_audio_is_refused() -> None:
    adapter = AudioStampedAdapter(MGONZS13)
    with pytest.raises(InputError, match=r"format: expected 1, 2, 8, 16, 32 .*, got 4"):
        adapter.from_message(both(4))
    with pytest.raises(InputError, match="rate: expected samples per second, got 0"):
        adapter.from_message(both(8, rate=0, int16_data=array("h")))
    with pytest.raises(InputError, match=r"multiple of 4 bytes \(2 channels of S16LE\)"):
        adapter.from_message(both(8, channels=2, int16_data=array("h", [1])))
    with pytest.raises(
        InputError, match="at most 16777216 bytes of audio in one message, got 16777220"
    ):
        adapter.from_message(both(2, int32_data=array("i", bytes((16 << 20) + 4))))


# Speech ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message_type", "field", "value"),
    [(SPEECH, "language", "en-GB"), (NEWER_SPEECH, "locale", "en_GB")],
    ids=["language", "locale"],
)
def test_speech_at_its_end(message_type, field: str, value: str) -> None:
    adapter = LiveSpeechAdapter(message_type)
    transcript = Transcript(
        "turn left", 0.75, "command", STAMP, locale="en-GB", frame_id="microphone"
    )
    message = adapter.to_message(transcript)
    assert (message.final, message.incremental) == ("turn left", "")
    assert message.confidence == 0.75 and getattr(message, field) == value
    back = adapter.from_message(message)
    assert (back.text, back.is_final, back.stamp_ns) == ("turn left", True, STAMP)
    assert (back.locale, back.frame_id, back.mode) == ("en-GB", "microphone", "free")


def test_speech_that_goes_on() -> None:
    message = LiveSpeechAdapter(SPEECH).to_message(Transcript("turn", 0.5, "free", STAMP, False))
    assert (message.final, message.incremental, message.confidence) == ("", "turn", 0)
    assert not LiveSpeechAdapter(SPEECH).from_message(message).is_final


def test_an_invalid_confidence_is_refused() -> None:
    with pytest.raises(InputError, match="confidence: expected a number from 0 to 1, got 2"):
        LiveSpeechAdapter(SPEECH).from_message(SPEECH(header=Header(), confidence=2.0))


# Intents -----------------------------------------------------------------------------------------


def meant(name: str, *slots: IntentSlot) -> IntentArray:
    intent = Intent(name, {slot.name: slot for slot in slots})
    return IntentArray((intent,), 0.5, "said", "grammar", STAMP)


@pytest.mark.parametrize(
    ("intent", "name", "data"),
    [
        (meant("go_to", IntentSlot("place", "kitchen")), "__intent_move_to__", {"goal": "kitchen"}),
        (meant("pick", IntentSlot("thing", "cup")), "__intent_grab_object__", {"object": "cup"}),
        (
            meant("place", IntentSlot("thing", "cup"), IntentSlot("place", "desk")),
            "__intent_place_object__",
            {"object": "cup", "recipient": "desk"},
        ),
        (meant("stop"), "__intent_stop_activity__", {}),
        (
            meant("move", IntentSlot("direction", "forward"), IntentSlot("distance", 2.0, "m")),
            "move",
            {"other_data": {"direction": "forward", "distance": {"value": 2.0, "unit": "m"}}},
        ),
    ],
    ids=lambda value: value.names[0] if isinstance(value, IntentArray) else "",
)
def test_an_intent(intent: IntentArray, name: str, data: dict) -> None:
    adapter = HriIntentAdapter(HRI_INTENT)
    message = adapter.to_message(intent)
    assert (message.intent, json.loads(message.data)) == (name, data)
    assert message.source == "__unknown_agent__" and message.modality == "__modality_speech__"
    assert message.priority == (255 if intent.names == ("stop",) else 128)
    assert message.confidence == 0.5
    back = adapter.from_message(message)
    assert back.intents == intent.intents


@pytest.mark.parametrize("intents", [(), (Intent("stop"), Intent("look"))])
def test_a_message_has_one_intent(intents: tuple[Intent, ...]) -> None:
    item = dataclasses.replace(meant("stop"), intents=intents)
    with pytest.raises(InputError, match=f"expected one intent, got {len(intents)}"):
        HriIntentAdapter(HRI_INTENT).to_message(item)


def test_a_package_with_an_unknown_constant_has_no_message(
    install_wave: Callable[..., Any],
) -> None:
    install_wave(row=", standard_intent=StandardIntent('WAVE_TAIL')")
    adapter = HriIntentAdapter(HRI_INTENT)
    with pytest.raises(InputError, match="action wave: hri_actions_msgs/Intent has no WAVE_TAIL"):
        adapter.to_message(meant("wave"))
    stop = meant("stop")
    assert adapter.from_message(adapter.to_message(stop)).names == ("stop",)


ODD_DATA = ["{", "[]", '{"other_data": 3}', '{"goal": null}', '{"goal": {"value": "x"}}']
ODD_NUMBERS = [f'{{"goal": {{"value": {value}}}}}' for value in ("1e999", "NaN", "9" * 400)]


@pytest.mark.parametrize("data", [*ODD_DATA, *ODD_NUMBERS, "[" * 8000, '{"a":' * 1500])
def test_invalid_data_is_refused(data: str) -> None:
    message = HRI_INTENT(intent="move", data=data)
    with pytest.raises(InputError, match="Intent: data: "):
        HriIntentAdapter(HRI_INTENT).from_message(message)
