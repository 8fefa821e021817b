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
    audio_input = open_audio_input(source, pause_s)
    return list(iter(audio_input.read, None))


def samples_of(source: str) -> np.ndarray:
    return np.concatenate([block.samples for block in all_of(source)])


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
    blocks = all_of(write(tmp_path / "a.wav", bytes(rate // 10 * 2), rate=rate))
    assert [len(block.samples) for block in blocks[:3]] == [round(0.032 * rate)] * 3
    assert sum(len(block.samples) for block in blocks) == rate // 10
    assert {block.sample_rate for block in blocks} == {rate}
    assert not blocks[0].samples.flags.writeable


def test_raw_is_16_khz_and_an_odd_byte_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "a.raw"
    file.write_bytes(np.array([16384, -16384], "<i2").tobytes() + b"\x01")
    assert samples_of(str(file)).tolist() == [0.5, -0.5]


def test_silence_follows_each_file_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.wav", "a.wav", ".hidden.wav", "notes.txt"):
        write(tmp_path / name, np.full(512, 8192, "<i2").tobytes())
    levels = [float(block.samples[0]) for block in all_of(str(tmp_path), pause_s=0.064)]
    assert levels == [0.25, 0.0, 0.0, 0.25, 0.0, 0.0]


def test_broken_file_is_reported_and_skipped(tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    (tmp_path / "a.wav").write_bytes(b"no sound")
    write(tmp_path / "b.wav", bytes(4))
    audio_input = open_audio_input(str(tmp_path))
    with pytest.raises(SourceError, match=r"a\.wav: not a readable audio file"):
        audio_input.read()
    assert len(audio_input.read().samples) == 2
    assert audio_input.origin == str(tmp_path / "b.wav")
    assert audio_input.read() is None


def test_silence_follows_the_valid_part_of_a_broken_file(tmp_path: Path) -> None:
    """Else the next file would continue the unfinished sentence."""
    write(tmp_path / "a.wav", np.full(1024, 8192, "<i2").tobytes())
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: 44 + 512 * 2 + 101])
    write(tmp_path / "b.wav", np.full(512, 16384, "<i2").tobytes())
    audio_input, levels = open_audio_input(str(tmp_path), pause_s=0.032), []
    with pytest.raises(SourceError, match=r"a\.wav: truncated: expected 0\.06 s .*, got 0\.04 s"):
        while True:
            levels.append(float(audio_input.read().samples[0]))
    levels += [float(block.samples[0]) for block in iter(audio_input.read, None)]
    assert levels == [0.25, 0.25, 0.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("at", "data", "message"),
    [
        (24, (3000).to_bytes(4, "little"), "expected 4000 to 192000 Hz, got 3000"),
        (24, bytes(4), "Hz, got 0"),
        (24, b"\xff\xff\xff\x7f", "Hz, got 2147483647"),
        (22, b"\xff\xff", "expected at most 64 channels, got 65535"),
    ],
)
def test_invalid_header_is_refused(tmp_path: Path, at: int, data: bytes, message: str) -> None:
    write(tmp_path / "a.wav", bytes(512))
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:at] + data + whole[at + len(data) :])
    with pytest.raises(SourceError, match=rf"a\.wav: .*{message}"):
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
    audio_input = open_audio_input(str(tmp_path / "n.wav"))
    assert audio_input.read().samples.tolist() == [0.5, 0.0, 0.0, 0.25]
    with pytest.raises(SourceError, match="expected finite samples, got NaN or infinity 2 times"):
        audio_input.read()


@pytest.mark.parametrize(
    ("package", "hint"),
    [("raise ImportError", "pip install soundfile"), ("raise OSError", "apt install libsndfile1")],
)
def test_missing_soundfile_is_reported_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, hint: str
) -> None:
    (tmp_path / "soundfile.py").write_text(package)
    monkeypatch.delitem(sys.modules, "soundfile", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    with pytest.raises(SourceError, match=hint):
        all_of(str(tmp_path / "a.flac"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.wav", "no such file or folder"),
        ("a\0.wav", "no such file or folder|cannot be read"),
        ("empty", "no audio file in this folder"),
        ("notes.txt", "expected an audio file"),
    ],
)
def test_invalid_source_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("la la")
    with pytest.raises(SourceError, match=message):
        open_audio_input(str(tmp_path / name))


def test_empty_source_is_refused() -> None:
    with pytest.raises(SourceError, match="no audio source is set; expected an audio file"):
        open_audio_input("")


# Devices ----------------------------------------------------------------------------------------


class FakeStream:
    """A stream like PortAudio's: started explicitly, and silent once its device is removed."""

    def __init__(self, portaudio: FakePortAudio, **given) -> None:
        self.portaudio, self.given = portaudio, given
        self.stopped, self.is_open = True, True

    def start(self) -> None:
        if self.given["device"] not in self.portaudio.plugged:
            raise self.portaudio.PortAudioError("Error starting stream: Device unavailable")
        self.stopped = False
        self.record(0.5)

    def close(self) -> None:
        assert self.is_open, "closed already, by hand or by _terminate: the real one crashes"
        self.is_open, self.stopped = False, True

    def record(self, *levels: float, overflow: bool = False) -> None:
        """Record one block, each channel at its level; nothing if the device is removed."""
        if self.given["device"] not in self.portaudio.plugged:
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
def portaudio(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    portaudio = FakePortAudio()
    monkeypatch.setitem(sys.modules, "sounddevice", portaudio)
    monkeypatch.setattr(microphone, "_READ_TIMEOUT_S", 0.01)
    monkeypatch.setattr(microphone, "_open_microphones", set())
    return portaudio


def test_device_records_from_the_first_read(portaudio: FakePortAudio) -> None:
    audio_input = open_audio_input("device")
    (stream,) = portaudio.streams
    assert audio_input.is_live and stream.stopped
    block = audio_input.read()
    assert block.samples.tolist() == [0.5] * 512
    assert (block.sample_rate, block.follows_gap) == (16_000, False)
    assert (stream.given["device"], stream.given["blocksize"]) == (None, 512)
    stream.record(3.0, overflow=True)
    loud = audio_input.read()
    assert loud.samples.max() == 1.0 and loud.follows_gap
    audio_input.close()
    audio_input.close()
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
    portaudio: FakePortAudio, takes: set, most: int, rate: int, level: float
) -> None:
    portaudio.takes, portaudio.most_channels = takes, most
    audio_input = open_audio_input("device:3")
    audio_input.read()
    assert portaudio.streams[0].given["device"] == 3
    portaudio.streams[0].record(0.4, 0.2)
    block = audio_input.read()
    assert block.sample_rate == rate and block.samples.dtype == np.float32
    assert block.samples == pytest.approx(np.full(512, level))


def test_slow_reader_sees_a_gap(portaudio: FakePortAudio) -> None:
    audio_input = open_audio_input("device:usb")
    audio_input._queue = queue.Queue(2)
    audio_input.read()
    for _ in range(3):
        portaudio.streams[0].record(0.1)
    assert [audio_input.read().follows_gap, audio_input.read().follows_gap] == [False, False]
    portaudio.streams[0].record(0.1)
    assert audio_input.read().follows_gap


def test_missing_device_is_refused(portaudio: FakePortAudio) -> None:
    with pytest.raises(SourceError, match="device:none cannot be opened: No input device"):
        open_audio_input("device:none")


def test_unplugged_device_is_reported_and_found_again(portaudio: FakePortAudio) -> None:
    audio_input = open_audio_input("device:usb")
    audio_input.read()
    portaudio.plugged.remove("usb")
    portaudio.streams[0].record(0.5)
    with pytest.raises(
        SourceError, match="device:usb delivers no more samples; check that it is plugged"
    ):
        audio_input.read()
    audio_input.close()
    with pytest.raises(SourceError, match="device:usb cannot be opened"):
        open_audio_input("device:usb")
    portaudio.plugged.add("usb")
    assert open_audio_input("device:usb").read().samples[0] == 0.5


def test_device_removed_before_recording_is_reported(portaudio: FakePortAudio) -> None:
    audio_input = open_audio_input("device:usb")
    portaudio.plugged.remove("usb")
    with pytest.raises(SourceError, match=r"device:usb does not record: .*Device unavailable"):
        audio_input.read()


def test_reopened_microphone_does_not_end_another(portaudio: FakePortAudio) -> None:
    other, audio_input = open_audio_input("device"), open_audio_input("device:usb")
    other.read()
    audio_input.close()
    audio_input = open_audio_input("device:usb")
    portaudio.streams[0].record(0.2)
    assert other.read().samples[0] == np.float32(0.2)
    other.close()
    audio_input.close()


def test_nan_from_a_device_becomes_silence(portaudio: FakePortAudio) -> None:
    audio_input = open_audio_input("device")
    audio_input.read()
    portaudio.streams[0].record(float("nan"))
    assert audio_input.read().samples.tolist() == [0.0] * 512


def test_missing_portaudio_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SourceError, match="pip install sounddevice"):
        open_audio_input("device")
