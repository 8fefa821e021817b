"""The cost of external audio is bounded: rates, lengths, channels and files."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest

from edge_inference.core.audio import AudioChunk
from edge_inference.errors import InputError, SourceError
from edge_inference.speech.audio import resample
from edge_inference.speech.audio.chunks import Rechunker
from edge_inference.speech.audio.pcm import from_pcm
from edge_inference.speech.audio.resample import Resampler
from edge_inference.speech.audio.sources import open_audio_input

# These have almost no common factor with 16 kHz.
ODD = (4_001, 5_513, 15_999, 16_001, 47_999, 96_002, 191_998, 191_999)
# Rates of telephones, CDs, films at television speed, and Macs.
USUAL = (4_000, 5_512, 8_000, 11_025, 22_050, 22_254, 44_056, 47_952, 48_048, 88_200, 192_000)


def chunk(number: int, rate: int, length_s: float = 0.01) -> AudioChunk:
    samples = np.zeros(round(rate * length_s), np.float32)
    return AudioChunk(samples, rate, round((1 + number * length_s) * 1e9), number)


def errors_of(rechunker: Rechunker, chunks: list[AudioChunk]) -> list[str]:
    """Return the error of each refused chunk."""
    found = []
    for each in chunks:
        try:
            list(rechunker.feed(each))
        except InputError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("rate", ODD)
def test_a_rate_that_needs_a_huge_filter_is_refused(
    rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resample, "_weights", lambda *_: pytest.fail("the filter was made"))
    for asked in (lambda: Resampler(rate), lambda: list(Rechunker().feed(chunk(0, rate)))):
        with pytest.raises(InputError, match=f"a common rate such as .* got {rate}"):
            asked()


@pytest.mark.parametrize("rate", USUAL)
def test_common_rates_are_accepted(rate: int) -> None:
    assert errors_of(Rechunker(), [chunk(number, rate) for number in range(5)]) == []


def test_filter_is_computed_once_per_rate() -> None:
    resample._weights.cache_clear()
    for _ in range(5):
        for rate in USUAL:
            Resampler(rate)
    assert resample._weights.cache_info().misses == len(USUAL)


def test_rate_that_changes_too_often_is_refused() -> None:
    chunks = [chunk(number, USUAL[number % len(USUAL)]) for number in range(200)]
    refused = errors_of(Rechunker(), chunks)
    assert 150 < len(refused) < 199
    assert "the rate changes too often; stop all audio sources on this topic but one" in refused[0]


def test_stream_with_a_stable_new_rate_is_accepted_again() -> None:
    rechunker = Rechunker()
    errors_of(rechunker, [chunk(number, (8_000, 48_000)[number % 2]) for number in range(100)])
    steady = [chunk(number, 44_100) for number in range(100, 150)]
    refused = errors_of(rechunker, steady)
    assert 0 < len(refused) <= 16
    assert errors_of(rechunker, steady[len(refused) :]) == []


def test_short_recordings_of_several_rates_are_accepted() -> None:
    """Each recording has a third of a second, in blocks of the size of a file's blocks."""
    numbers = iter(range(1_000))
    rates = [rate for _ in range(4) for rate in (16_000, 48_000, 44_100)]
    chunks = [chunk(next(numbers), rate, 0.032) for rate in rates for _ in range(16)]
    assert errors_of(Rechunker(), chunks) == []


@pytest.mark.parametrize("channels", [0, -1, 65, 2**31])
@pytest.mark.parametrize("length", [0, 128])
def test_too_many_channels_are_refused(channels: int, length: int) -> None:
    with pytest.raises(InputError, match=f"channels: expected 1 to 64, got {channels}"):
        from_pcm(bytes(length), "U8", channels)


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(InputError, match="bytes of audio in one message, got"):
        from_pcm(bytes((16 << 20) + 2), "S16LE", 1)


def audio_input(file: Path, rate: int = 16_000, channels: int = 1) -> None:
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(channels)
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes(bytes(2 * channels * 160))


def _pipe(file: Path) -> None:
    os.mkfifo(file)


def _device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def _circle(file: Path) -> None:
    file.symlink_to(file)


def _parts(file: Path) -> None:
    file.write_bytes(b"RIFF\xff\xff\xff\xffWAVE")
    os.truncate(file, 1 << 30)


def _hours(file: Path) -> None:
    file.touch()
    os.truncate(file, 1 << 30)


@pytest.mark.parametrize("suffix", ["wav", "raw", "flac"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_pipe, "expected a file, got a pipe"),
        (_device, "expected a file, got a device"),
        (_circle, "Too many levels of symbolic links"),
        (Path.mkdir, "expected a file, got a folder"),
    ],
)
def test_folder_with_invalid_files_is_played_to_the_end(
    tmp_path: Path, suffix: str, make, message: str
) -> None:
    if suffix == "flac":
        pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    make(tmp_path / f"a.{suffix}")
    audio_input(tmp_path / "b.wav")
    opened = open_audio_input(str(tmp_path))
    with pytest.raises(SourceError, match=rf"a\.{suffix}: .*{message}"):
        opened.read()
    assert opened.read() is not None
    assert opened.read() is None


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("odd.wav", lambda file: audio_input(file, 47_999), "a common rate such as"),
        ("wide.wav", lambda file: audio_input(file, 48_000, 65), "at most 64 channels, got 65"),
        ("parts.wav", _parts, "at most 1000 chunks before the samples"),
        ("hours.raw", _hours, "got 1073741824"),
    ],
)
def test_too_expensive_file_is_refused(tmp_path: Path, name: str, make, message: str) -> None:
    make(tmp_path / name)
    with pytest.raises(SourceError, match=rf"{name}: .*{message}"):
        open_audio_input(str(tmp_path / name)).read()
