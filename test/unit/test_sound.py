"""Sound files of every kind become pieces of one channel; broken ones are named."""

from __future__ import annotations

import queue
import sys
import types
import wave
from pathlib import Path

import numpy as np
import pytest

from edge_inference.errors import SourceError
from edge_inference.speech import microphone
from edge_inference.speech.sample_clock import SampleClock
from edge_inference.speech.sound import Piece, open_sound


def write(file: Path, data: bytes, rate: int = 16_000, channels: int = 1, width: int = 2) -> str:
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(channels)
        stream.setsampwidth(width)
        stream.setframerate(rate)
        stream.writeframes(data)
    return str(file)


def all_of(source: str, pause_s: float = 0.0) -> list[Piece]:
    sound = open_sound(source, pause_s)
    return list(iter(sound.read, None))


def samples_of(source: str) -> np.ndarray:
    return np.concatenate([piece.samples for piece in all_of(source)])


@pytest.mark.parametrize(
    ("width", "data", "expected"),
    [
        (1, bytes([0, 128, 192]), [-1.0, 0.0, 0.5]),
        (2, np.array([-32768, 0, 16384], "<i2").tobytes(), [-1.0, 0.0, 0.5]),
        (3, b"\x00\x00\x80" + b"\x00\x00\x00" + b"\x00\x00\x40", [-1.0, 0.0, 0.5]),
        (4, np.array([-(2**31), 0, 2**30], "<i4").tobytes(), [-1.0, 0.0, 0.5]),
    ],
)
def test_every_width(tmp_path: Path, width: int, data: bytes, expected: list[float]) -> None:
    assert samples_of(write(tmp_path / "a.wav", data, width=width)).tolist() == expected


def test_stereo_becomes_its_mean(tmp_path: Path) -> None:
    data = np.array([16384, 0, -16384, -16384], "<i2").tobytes()
    assert samples_of(write(tmp_path / "a.WAV", data, channels=2)).tolist() == [0.25, -0.5]


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_pieces_are_32_ms_at_the_files_own_rate(tmp_path: Path, rate: int) -> None:
    pieces = all_of(write(tmp_path / "a.wav", bytes(rate // 10 * 2), rate=rate))
    assert [len(piece.samples) for piece in pieces[:3]] == [round(0.032 * rate)] * 3
    assert sum(len(piece.samples) for piece in pieces) == rate // 10
    assert {piece.sample_rate for piece in pieces} == {rate}
    assert not pieces[0].samples.flags.writeable


def test_raw_is_16_khz_and_an_odd_byte_is_left(tmp_path: Path) -> None:
    file = tmp_path / "a.raw"
    file.write_bytes(np.array([16384, -16384], "<i2").tobytes() + b"\x01")
    assert samples_of(str(file)).tolist() == [0.5, -0.5]


def test_a_pause_follows_each_file_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.wav", "a.wav", ".hidden.wav", "notes.txt"):
        write(tmp_path / name, np.full(512, 8192, "<i2").tobytes())
    levels = [float(piece.samples[0]) for piece in all_of(str(tmp_path), pause_s=0.064)]
    assert levels == [0.25, 0.0, 0.0, 0.25, 0.0, 0.0]


def test_a_broken_file_is_named_and_the_next_one_comes(tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    (tmp_path / "a.wav").write_bytes(b"no sound")
    write(tmp_path / "b.wav", bytes(4))
    sound = open_sound(str(tmp_path))
    with pytest.raises(SourceError, match=r"a\.wav: not a sound that can be read"):
        sound.read()
    assert len(sound.read().samples) == 2
    assert sound.origin == str(tmp_path / "b.wav")
    assert sound.read() is None


def test_flac_and_float_wav(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    values = np.array([0.5, -0.25, 1.5], np.float32)
    soundfile.write(tmp_path / "f.wav", values, 22_050, subtype="FLOAT")
    soundfile.write(tmp_path / "g.flac", values[:2], 22_050)
    assert samples_of(str(tmp_path / "f.wav")).tolist() == [0.5, -0.25, 1.0]
    assert samples_of(str(tmp_path / "g.flac")) == pytest.approx([0.5, -0.25])
    soundfile.write(tmp_path / "n.wav", np.array([np.nan], np.float32), 22_050, subtype="FLOAT")
    with pytest.raises(SourceError, match="expected numbers for samples"):
        all_of(str(tmp_path / "n.wav"))


def test_without_soundfile_the_way_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    with pytest.raises(SourceError, match="pip install soundfile"):
        all_of(str(tmp_path / "a.flac"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.wav", "no such file or folder"),
        ("empty", "no sound in this folder"),
        ("notes.txt", "expected a sound file"),
    ],
)
def test_what_is_no_source(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("la la")
    with pytest.raises(SourceError, match=words):
        open_sound(str(tmp_path / name))


# Devices ----------------------------------------------------------------------------------------


class FakePortAudio(types.ModuleType):
    """As much of the package sounddevice as is used."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.started = self.looked = 0
        self.names = {None, 3, "usb"}
        self.takes_16_khz = True

    def _terminate(self) -> None:
        self.looked += 1

    def _initialize(self) -> None:
        pass

    def check_input_settings(self, device, channels, samplerate) -> None:
        if not self.takes_16_khz:
            raise self.PortAudioError("Invalid sample rate")

    def query_devices(self, device, kind) -> dict:
        return {"default_samplerate": 48_000.0}

    def InputStream(self, **given):
        if given["device"] not in self.names:
            raise ValueError("No input device matching")
        self.given = given
        return self

    @property
    def stopped(self) -> bool:
        return not self.started

    def start(self) -> None:
        self.started += 1
        self.say(0.5)

    def close(self) -> None:
        self.started = 0

    def say(self, level: float, overflow: bool = False) -> None:
        status = types.SimpleNamespace(input_overflow=overflow)
        self.given["callback"](np.full((512, 1), level, np.float32), 512, None, status)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    port = FakePortAudio()
    monkeypatch.setitem(sys.modules, "sounddevice", port)
    monkeypatch.setattr(microphone, "_SILENT_S", 0.01)
    return port


def test_a_device_records_from_the_first_read_on(port: FakePortAudio) -> None:
    sound = open_sound("device")
    assert sound.is_live and not port.started and port.looked
    piece = sound.read()
    assert piece.samples.tolist() == [0.5] * 512
    assert (piece.sample_rate, piece.lost) == (16_000, False)
    assert (port.given["device"], port.given["blocksize"]) == (None, 512)
    port.say(3.0, overflow=True)
    loud = sound.read()
    assert loud.samples.max() == 1.0 and loud.lost
    with pytest.raises(SourceError, match="still plugged in"):
        sound.read()
    sound.close()
    assert port.stopped


def test_a_device_by_number_at_its_own_rate(port: FakePortAudio) -> None:
    port.takes_16_khz = False
    sound = open_sound("device:3")
    assert (port.given["device"], port.given["samplerate"]) == (3, 48_000)
    assert sound.read().sample_rate == 48_000


def test_a_reader_that_is_too_slow_learns_of_what_was_lost(port: FakePortAudio) -> None:
    sound = open_sound("device:usb")
    sound._waiting = queue.Queue(2)
    sound.read()
    for _ in range(3):
        port.say(0.1)
    assert [sound.read().lost, sound.read().lost] == [False, False]
    port.say(0.1)
    assert sound.read().lost


def test_a_device_that_is_not_there(port: FakePortAudio) -> None:
    with pytest.raises(SourceError, match="device:none cannot be opened: No input device"):
        open_sound("device:none")


def test_no_portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SourceError, match="pip install sounddevice"):
        open_sound("device")


# Stamps -----------------------------------------------------------------------------------------


def test_stamps_are_even_although_pieces_come_unevenly() -> None:
    clock, rng = SampleClock(), np.random.default_rng(1)
    came = [32_000_000 * (i + 1) + int(rng.integers(0, 10_000_000)) for i in range(200)]
    stamps = [clock.stamp_ns(512, 16_000, now) for now in came]
    steps = np.diff(stamps)
    assert abs(steps - 32_000_000).max() < 200_000
    assert abs(stamps[-1] - 32_000_000 * 199) < 12_000_000


def test_stamps_follow_a_device_whose_clock_drifts() -> None:
    clock = SampleClock()
    true_ns = [round(32_000_000 * 1.0005 * (i + 1)) for i in range(5000)]
    stamps = [clock.stamp_ns(512, 16_000, now) for now in true_ns]
    assert abs(stamps[-1] - (true_ns[-1] - 32_000_000)) < 3_000_000


@pytest.mark.parametrize("jump_ns", [5_000_000_000, -5_000_000_000])
def test_stamps_start_anew_after_a_jump(jump_ns: int) -> None:
    clock = SampleClock()
    clock.stamp_ns(512, 16_000, 10_000_000_000)
    now_ns = 10_032_000_000 + jump_ns
    assert clock.stamp_ns(512, 16_000, now_ns) == now_ns - 32_000_000
