"""Audio files and devices deliver blocks of one channel; broken files are reported."""

from __future__ import annotations

import queue
import sys
import types
import wave
from pathlib import Path

import numpy as np
import pytest

from edge_inference.errors import SourceError
from edge_inference.speech.audio import microphone
from edge_inference.speech.audio.audio_input import AudioBlock
from edge_inference.speech.audio.sources import open_audio_input


def write(file: Path, data: bytes, rate: int = 16_000, channels: int = 1, width: int = 2) -> str:
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(channels)
        stream.setsampwidth(width)
        stream.setframerate(rate)
        stream.writeframes(data)
    return str(file)


def all_of(source: str, pause_s: float = 0.0) -> list[AudioBlock]:
    sound = open_audio_input(source, pause_s)
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
def test_every_sample_width(tmp_path: Path, width: int, data: bytes, expected: list[float]) -> None:
    assert samples_of(write(tmp_path / "a.wav", data, width=width)).tolist() == expected


def test_stereo_is_averaged(tmp_path: Path) -> None:
    data = np.array([16384, 0, -16384, -16384], "<i2").tobytes()
    assert samples_of(write(tmp_path / "a.WAV", data, channels=2)).tolist() == [0.25, -0.5]


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_blocks_are_32_ms_at_the_rate_of_the_file(tmp_path: Path, rate: int) -> None:
    pieces = all_of(write(tmp_path / "a.wav", bytes(rate // 10 * 2), rate=rate))
    assert [len(piece.samples) for piece in pieces[:3]] == [round(0.032 * rate)] * 3
    assert sum(len(piece.samples) for piece in pieces) == rate // 10
    assert {piece.sample_rate for piece in pieces} == {rate}
    assert not pieces[0].samples.flags.writeable


def test_raw_is_16_khz_and_an_odd_byte_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "a.raw"
    file.write_bytes(np.array([16384, -16384], "<i2").tobytes() + b"\x01")
    assert samples_of(str(file)).tolist() == [0.5, -0.5]


def test_silence_follows_each_file_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.wav", "a.wav", ".hidden.wav", "notes.txt"):
        write(tmp_path / name, np.full(512, 8192, "<i2").tobytes())
    levels = [float(piece.samples[0]) for piece in all_of(str(tmp_path), pause_s=0.064)]
    assert levels == [0.25, 0.0, 0.0, 0.25, 0.0, 0.0]


def test_broken_file_is_reported_and_skipped(tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    (tmp_path / "a.wav").write_bytes(b"no sound")
    write(tmp_path / "b.wav", bytes(4))
    sound = open_audio_input(str(tmp_path))
    with pytest.raises(SourceError, match=r"a\.wav: not a readable audio file"):
        sound.read()
    assert len(sound.read().samples) == 2
    assert sound.origin == str(tmp_path / "b.wav")
    assert sound.read() is None


def test_silence_follows_the_valid_part_of_a_broken_file(tmp_path: Path) -> None:
    """Else the next file would continue the unfinished sentence."""
    write(tmp_path / "a.wav", np.full(1024, 8192, "<i2").tobytes())
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: 44 + 512 * 2 + 101])
    write(tmp_path / "b.wav", np.full(512, 16384, "<i2").tobytes())
    sound, levels = open_audio_input(str(tmp_path), pause_s=0.032), []
    with pytest.raises(SourceError, match=r"a\.wav: truncated: expected 0\.06 s .*, got 0\.04 s"):
        while True:
            levels.append(float(sound.read().samples[0]))
    levels += [float(piece.samples[0]) for piece in iter(sound.read, None)]
    assert levels == [0.25, 0.25, 0.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("at", "data", "words"),
    [
        (24, (3000).to_bytes(4, "little"), "expected 4000 to 192000 Hz, got 3000"),
        (24, bytes(4), "Hz, got 0"),
        (24, b"\xff\xff\xff\x7f", "Hz, got 2147483647"),
        (22, b"\xff\xff", "expected at most 64 channels, got 65535"),
    ],
)
def test_invalid_header_is_refused(tmp_path: Path, at: int, data: bytes, words: str) -> None:
    write(tmp_path / "a.wav", bytes(512))
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:at] + data + whole[at + len(data) :])
    with pytest.raises(SourceError, match=rf"a\.wav: .*{words}"):
        all_of(str(tmp_path / "a.wav"))


@pytest.mark.parametrize("name", ["a.wav", "a.raw"])
def test_file_without_samples_is_reported(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.wav", b"")
    (tmp_path / "a.raw").write_bytes(b"")
    with pytest.raises(SourceError, match="the file has no samples"):
        all_of(str(tmp_path / name), pause_s=1.0)


def test_stream_without_a_known_length_is_complete(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", np.full(512, 8192, "<i2").tobytes())
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    assert len(samples_of(str(tmp_path / "a.wav"))) == 512


def test_surround_channels_are_averaged(tmp_path: Path) -> None:
    data = np.array([6000, 0, 0, 0, 0, 0] * 4, "<i2").tobytes()
    samples = samples_of(write(tmp_path / "a.wav", data, channels=6, rate=48_000))
    assert samples == pytest.approx(np.full(4, 1000 / 32768))


def test_flac_and_float_wav(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    values = np.array([0.5, -0.25, 1.5], np.float32)
    soundfile.write(tmp_path / "f.wav", values, 22_050, subtype="FLOAT")
    soundfile.write(tmp_path / "g.flac", values[:2], 22_050)
    assert samples_of(str(tmp_path / "f.wav")).tolist() == [0.5, -0.25, 1.0]
    assert samples_of(str(tmp_path / "g.flac")) == pytest.approx([0.5, -0.25])


def test_nan_in_a_file_becomes_silence_and_is_reported(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    values = np.array([0.5, np.nan, np.inf, 0.25], np.float32)
    soundfile.write(tmp_path / "n.wav", values, 22_050, subtype="FLOAT")
    sound = open_audio_input(str(tmp_path / "n.wav"))
    assert sound.read().samples.tolist() == [0.5, 0.0, 0.0, 0.25]
    with pytest.raises(SourceError, match="expected finite samples, got NaN or infinity 2 times"):
        sound.read()


@pytest.mark.parametrize(
    ("package", "cure"),
    [("raise ImportError", "pip install soundfile"), ("raise OSError", "apt install libsndfile1")],
)
def test_missing_soundfile_is_reported_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, cure: str
) -> None:
    (tmp_path / "soundfile.py").write_text(package)
    monkeypatch.delitem(sys.modules, "soundfile", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    with pytest.raises(SourceError, match=cure):
        all_of(str(tmp_path / "a.flac"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.wav", "no such file or folder"),
        ("a\0.wav", "no such file or folder|cannot be read"),
        ("empty", "no audio file in this folder"),
        ("notes.txt", "expected an audio file"),
    ],
)
def test_invalid_source_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("la la")
    with pytest.raises(SourceError, match=words):
        open_audio_input(str(tmp_path / name))


def test_empty_source_is_refused() -> None:
    with pytest.raises(SourceError, match="no audio source is set; expected an audio file"):
        open_audio_input("")


# Devices ----------------------------------------------------------------------------------------


class FakeStream:
    """A stream like PortAudio's: started explicitly, and silent once its device is removed."""

    def __init__(self, port: FakePortAudio, **given) -> None:
        self.port, self.given = port, given
        self.stopped, self.is_open = True, True

    def start(self) -> None:
        if self.given["device"] not in self.port.plugged:
            raise self.port.PortAudioError("Error starting stream: Device unavailable")
        self.stopped = False
        self.say(0.5)

    def close(self) -> None:
        assert self.is_open, "closed already, by hand or by _terminate: the real one crashes"
        self.is_open, self.stopped = False, True

    def say(self, *levels: float, overflow: bool = False) -> None:
        """Record one block, each channel at its level; nothing if the device is removed."""
        if self.given["device"] not in self.port.plugged:
            return
        status = types.SimpleNamespace(input_overflow=overflow)
        levels = (levels * self.given["channels"])[: self.given["channels"]]
        self.given["callback"](np.tile(np.float32(levels), (512, 1)), 512, None, status)


class FakePortAudio(types.ModuleType):
    """The used part of the package sounddevice; it lists devices only when it starts."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.plugged = {None, 3, "usb"}
        self.takes = {(1, 16_000)}
        self.most_channels = 2
        self.streams: list[FakeStream] = []
        self._initialized = 0
        self._initialize()

    def _initialize(self) -> None:
        self._initialized += 1
        self.listed = set(self.plugged)

    def _terminate(self) -> None:
        assert self._initialized
        self._initialized -= 1
        for stream in self.streams:
            stream.is_open = False

    def check_input_settings(self, device, channels, samplerate, dtype) -> None:
        if (channels, samplerate) not in self.takes:
            raise self.PortAudioError("Invalid sample rate")

    def query_devices(self, device, kind) -> dict:
        if device not in self.listed:
            raise ValueError("No input device matching")
        return {"default_samplerate": 48_000.0, "max_input_channels": self.most_channels}

    def InputStream(self, **given):
        assert self._initialized
        self.streams.append(FakeStream(self, **given))
        return self.streams[-1]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    port = FakePortAudio()
    monkeypatch.setitem(sys.modules, "sounddevice", port)
    monkeypatch.setattr(microphone, "_READ_TIMEOUT_S", 0.01)
    monkeypatch.setattr(microphone, "_open_microphones", set())
    return port


def test_device_records_from_the_first_read(port: FakePortAudio) -> None:
    sound = open_audio_input("device")
    (stream,) = port.streams
    assert sound.is_live and stream.stopped
    piece = sound.read()
    assert piece.samples.tolist() == [0.5] * 512
    assert (piece.sample_rate, piece.follows_gap) == (16_000, False)
    assert (stream.given["device"], stream.given["blocksize"]) == (None, 512)
    stream.say(3.0, overflow=True)
    loud = sound.read()
    assert loud.samples.max() == 1.0 and loud.follows_gap
    sound.close()
    sound.close()
    assert not stream.is_open


@pytest.mark.parametrize(
    ("takes", "most", "rate", "level"),
    [
        ({(1, 48_000)}, 2, 48_000, 0.4),
        ({(2, 16_000)}, 2, 16_000, 0.3),
        ({(2, 48_000), (2, 16_000)}, 2, 16_000, 0.3),
        ({(6, 16_000)}, 6, 16_000, 0.4),
    ],
)
def test_device_format_is_the_best_supported_one(
    port: FakePortAudio, takes: set, most: int, rate: int, level: float
) -> None:
    port.takes, port.most_channels = takes, most
    sound = open_audio_input("device:3")
    sound.read()
    assert port.streams[0].given["device"] == 3
    port.streams[0].say(0.4, 0.2)
    piece = sound.read()
    assert piece.sample_rate == rate and piece.samples.dtype == np.float32
    assert piece.samples == pytest.approx(np.full(512, level))


def test_slow_reader_sees_a_gap(port: FakePortAudio) -> None:
    sound = open_audio_input("device:usb")
    sound._queue = queue.Queue(2)
    sound.read()
    for _ in range(3):
        port.streams[0].say(0.1)
    assert [sound.read().follows_gap, sound.read().follows_gap] == [False, False]
    port.streams[0].say(0.1)
    assert sound.read().follows_gap


def test_missing_device_is_refused(port: FakePortAudio) -> None:
    with pytest.raises(SourceError, match="device:none cannot be opened: No input device"):
        open_audio_input("device:none")


def test_unplugged_device_is_reported_and_found_again(port: FakePortAudio) -> None:
    sound = open_audio_input("device:usb")
    sound.read()
    port.plugged.remove("usb")
    port.streams[0].say(0.5)
    with pytest.raises(
        SourceError, match="device:usb delivers no more samples; check that it is plugged"
    ):
        sound.read()
    sound.close()
    with pytest.raises(SourceError, match="device:usb cannot be opened"):
        open_audio_input("device:usb")
    port.plugged.add("usb")
    assert open_audio_input("device:usb").read().samples[0] == 0.5


def test_device_removed_before_recording_is_reported(port: FakePortAudio) -> None:
    sound = open_audio_input("device:usb")
    port.plugged.remove("usb")
    with pytest.raises(SourceError, match=r"device:usb does not record: .*Device unavailable"):
        sound.read()


def test_reopened_microphone_does_not_end_another(port: FakePortAudio) -> None:
    other, sound = open_audio_input("device"), open_audio_input("device:usb")
    other.read()
    sound.close()
    sound = open_audio_input("device:usb")
    port.streams[0].say(0.2)
    assert other.read().samples[0] == np.float32(0.2)
    other.close()
    sound.close()


def test_nan_from_a_device_becomes_silence(port: FakePortAudio) -> None:
    sound = open_audio_input("device")
    sound.read()
    port.streams[0].say(float("nan"))
    assert sound.read().samples.tolist() == [0.0] * 512


def test_missing_portaudio_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SourceError, match="pip install sounddevice"):
        open_audio_input("device")
