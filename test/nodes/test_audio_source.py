"""Audio is published in chunks in real time; a lost device is opened again; failures are errors."""

from __future__ import annotations

import threading
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Bus
from edge_inference.core.runtime.health import Health, HealthLevel
from edge_inference.errors import SourceError
from edge_inference.nodes.voice import audio_reader, audio_source
from edge_inference.speech.audio.audio_input import AudioBlock, AudioInput
from rig import DEADLINE_S, Outside, Rig, wait_for


def recording(file: Path, pieces: int = 3, rate: int = 16_000) -> str:
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes(np.full(pieces * rate * 32 // 1000, 8192, "<i2").tobytes())
    return str(file)


def test_a_file_is_played_in_real_time(rig: Rig, tmp_path: Path) -> None:
    came_ns: list[int] = []
    Bus.of(rig.context).tap("/ai/audio", lambda chunk: came_ns.append(time.monotonic_ns()))
    chunks = rig.tap("/ai/audio")
    source = recording(tmp_path / "a.wav")
    node = rig.load(
        "AudioSource", autostart=False, source=source, pause_s=0.064, frame_id="microphone"
    )
    rig.call(node.trigger_configure)
    before, started_ns = node.now_ns(), time.monotonic_ns()
    rig.call(node.trigger_activate)
    assert node.finished.wait(DEADLINE_S)
    assert [float(chunk.samples[0]) for chunk in chunks] == [0.25, 0.25, 0.25, 0.0, 0.0]
    assert [chunk.sequence for chunk in chunks] == [0, 1, 2, 3, 4]
    assert {(chunk.sample_rate, chunk.frame_id) for chunk in chunks} == {(16_000, "microphone")}
    # When a chunk arrives, its last sample is in the past and its first one after the start.
    assert before < chunks[0].stamp_ns
    assert chunks[0].end_ns <= node.now_ns()
    # No chunk arrives before its last sample is due; a busy machine may be late.
    heard_ns = 32_000_000 * np.arange(1, 6)
    assert (np.array(came_ns) - started_ns >= heard_ns).all()
    assert node.health.status(0).values["processed"] == "5"


def test_another_process_receives_it(rig: Rig, outside: Outside, tmp_path: Path) -> None:
    node = rig.load("AudioSource", source=recording(tmp_path / "a.wav", rate=8000), autostart=False)
    rig.call(node.trigger_configure)
    received = outside.listen("/ai/audio", "edge_inference/AudioChunk")
    rig.wait_for_subscribers(node, "/ai/audio")
    rig.call(node.trigger_activate)
    message = received.wait()[0]
    assert (message["sample_rate"], len(message["samples"])) == (8000, 256)
    assert message["header"]["stamp"]["sec"] > 1_600_000_000


def test_activating_again_starts_over(rig: Rig, tmp_path: Path) -> None:
    chunks = rig.tap("/ai/audio")
    node = rig.load("AudioSource", source=recording(tmp_path / "a.wav", 1), pause_s=0.0)
    assert node.finished.wait(DEADLINE_S)
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_activate)
    assert node.finished.wait(DEADLINE_S)
    assert [chunk.sequence for chunk in chunks] == [0, 0]


def test_a_loop_until_it_is_stopped(rig: Rig, tmp_path: Path) -> None:
    chunks = rig.tap("/ai/audio")
    node = rig.load("AudioSource", source=recording(tmp_path / "a.wav", 1), pause_s=0.0, loop=True)
    chunks.wait(3)
    rig.call(node.trigger_deactivate)
    assert node.finished.is_set()


def test_a_source_that_is_not_there(rig: Rig) -> None:
    component = rig.load_component("AudioSource", source="/no/such.wav")
    assert component.failure == "did not configure"
    message = component.node.health.status(0).message
    assert message.startswith("'/no/such.wav': no such file or folder; expected an audio file")


class FakeDevice(AudioInput):
    """Delivers one block and fails; opening fails once, then works."""

    is_live = True
    opened = 0

    def __init__(self, source: str, pause_s: float) -> None:
        type(self).opened += 1
        self.left = 1 if type(self).opened == 1 else 4
        if type(self).opened == 2:
            raise SourceError("device cannot be opened; is it plugged in?")

    def read(self) -> AudioBlock | None:
        self.left -= 1
        if self.left < 0:
            if type(self).opened > 2:
                return None
            raise SourceError("device gives no more sound; is it still plugged in?")
        return AudioBlock(np.zeros(512, np.float32), 16_000, follows_gap=self.left == 2)

    def close(self) -> None:
        pass


def test_a_device_that_is_unplugged_and_comes_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FakeDevice, "opened", 0)
    monkeypatch.setattr(audio_reader, "open_audio_input", FakeDevice)
    monkeypatch.setattr(audio_source, "_RETRY_S", 0.01)
    chunks = rig.tap("/ai/audio")
    node = rig.load("AudioSource")
    assert node.finished.wait(DEADLINE_S)
    # A sequence number is skipped for every failure and for every reported loss.
    assert [chunk.sequence for chunk in chunks] == [0, 3, 5, 6, 7]
    assert node.health.drop_counts() == {"source": 2, "overflow": 1}
    assert capfd.readouterr().err.count("plugged in?") == 1  # one reason, within 5 s


def test_a_reader_that_fails_is_an_error(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(FakeDevice):
        def read(self):
            raise ZeroDivisionError("a driver's bug")

    monkeypatch.setattr(audio_reader, "open_audio_input", Odd)
    monkeypatch.setattr(Odd, "opened", 5)
    node = rig.load("AudioSource")
    assert node.finished.wait(DEADLINE_S)
    wait_for(lambda: node.health.status(0).message == "ZeroDivisionError: a driver's bug", "it")


def set_source(rig: Rig, node, source: str):
    return rig.call(lambda: node.set_parameters([Parameter("source", value=source)]))[0]


def test_a_change_of_the_source_acts_at_once(rig: Rig, tmp_path: Path) -> None:
    chunks = rig.tap("/ai/audio")
    node = rig.load("AudioSource", source=recording(tmp_path / "a.wav", 1), pause_s=0.0, loop=True)
    chunks.wait(2)
    assert set_source(rig, node, recording(tmp_path / "b.wav", 1, rate=8000)).successful
    wait_for(lambda: chunks[-1].sample_rate == 8000, "the other file")
    assert node.health.notes()["source"].endswith("b.wav")
    first = next(number for number, chunk in enumerate(chunks) if chunk.sample_rate == 8000)
    assert chunks[first].sequence == chunks[first - 1].sequence + 2  # a gap


def test_a_change_of_the_source_after_its_end_starts_again(rig: Rig, tmp_path: Path) -> None:
    chunks = rig.tap("/ai/audio")
    node = rig.load("AudioSource", source=recording(tmp_path / "a.wav", 1), pause_s=0.0)
    assert node.finished.wait(DEADLINE_S)
    assert set_source(rig, node, recording(tmp_path / "b.wav", 1, rate=8000)).successful
    wait_for(lambda: node.finished.is_set(), "the end")
    assert [chunk.sample_rate for chunk in chunks.wait(2)] == [16_000, 8000]


def test_a_source_that_is_not_there_is_refused_and_the_old_one_stays(
    rig: Rig, tmp_path: Path
) -> None:
    chunks = rig.tap("/ai/audio")
    node = rig.load("AudioSource", source=recording(tmp_path / "a.wav", 1), pause_s=0.0, loop=True)
    answer = set_source(rig, node, "/no/such.wav")
    assert not answer.successful
    assert answer.reason.startswith("'/no/such.wav': no such file or folder; expected an audio")
    count = len(chunks)
    chunks.wait(count + 2)


def test_a_lost_device_is_an_error_until_it_is_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plugged = threading.Event()

    class Device(FakeDevice):
        def __init__(self, source: str, pause_s: float) -> None:
            type(self).opened += 1
            if type(self).opened > 1 and not plugged.is_set():
                raise SourceError("device cannot be opened; is it plugged in?")

        def read(self) -> AudioBlock | None:
            if type(self).opened == 1:
                raise SourceError("device gives no more sound; is it still plugged in?")
            return AudioBlock(np.ones(512, np.float32), 16_000)

    monkeypatch.setattr(audio_reader, "open_audio_input", Device)
    monkeypatch.setattr(audio_source, "_RETRY_S", 0.01)
    chunks = rig.tap("/ai/audio")
    node = rig.load("AudioSource")
    wait_for(lambda: Device.opened > 3, "some tries")
    status = node.health.status(time.monotonic_ns() + 10**11)
    assert (status.level, status.message) == (
        HealthLevel.ERROR,
        "device cannot be opened; is it plugged in?; it is tried again every second",
    )
    plugged.set()
    chunks.wait()
    assert node.health.status(time.monotonic_ns() + 10**11).level is HealthLevel.OK
    log = capfd.readouterr().err
    assert (log.count("plugged in?"), log.count("is back")) == (1, 1)


def test_a_mute_device_is_reported(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Muted(FakeDevice):
        def __init__(self, source: str, pause_s: float) -> None:
            self.left = 12

        def read(self) -> AudioBlock | None:
            self.left -= 1
            if self.left < 0:
                return None
            return AudioBlock(np.full(8000, float(self.left == 0), np.float32), 16_000)

    monkeypatch.setattr(audio_reader, "open_audio_input", Muted)
    advised: list[str] = []
    monkeypatch.setattr(Health, "set_warning", lambda self, message: advised.append(message))
    node = rig.load("AudioSource")
    assert node.finished.wait(DEADLINE_S)
    assert ["muted" in message for message in advised] == [True, False]
    assert capfd.readouterr().err.count("is it muted") == 1
