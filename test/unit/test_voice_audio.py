"""Speech and noise of the voice benchmark."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from benchmarks import voice_audio
from benchmarks.voice_audio import (
    PEOPLE_VARIABLE,
    add_noise,
    find_speech_bounds,
    list_missing_programs,
    load_golden,
    load_recordings,
    make_babble,
    make_music,
    make_pink_noise,
    make_white_noise,
    pad_with_silence,
)
from benchmarks.voice_sentences import Voice

SECOND = 16_000


def tone(before: int, length: int, after: int) -> np.ndarray:
    sound = 0.5 * np.sin(2 * np.pi * 400 * np.arange(length) / SECOND)
    return np.concatenate((np.zeros(before), sound, np.zeros(after))).astype(np.float32)


@pytest.mark.parametrize("sound", [np.zeros(0, np.float32), np.zeros(SECOND, np.float32)])
def test_silence_has_no_speech_bounds(sound: np.ndarray) -> None:
    with pytest.raises(ValueError, match="silence"):
        find_speech_bounds(sound)


def test_bounds_exclude_silence_and_quiet_frames() -> None:
    sound = tone(1600, 3200, 1600) + 0.0005
    assert find_speech_bounds(sound) == (1600, 4800)


def test_the_end_of_the_last_word_is_known() -> None:
    sound, end = pad_with_silence(tone(800, 3200, 5000), 0.5, 0.25)
    assert end == 8000 + 3200
    assert len(sound) == end + 4000
    assert not sound[end:].any()
    assert np.abs(sound[end - 160 : end]).max() > 0.4


@pytest.mark.parametrize("snr_db", [20, 10, 0])
def test_noise_has_the_requested_snr(snr_db: int) -> None:
    speech = 0.2 * tone(4000, 8000, 4000)  # quiet enough that the sum stays below full scale
    noise = make_white_noise(1000, 1)  # shorter than the speech, so it is repeated
    both = add_noise(speech, noise, snr_db)
    speech_power = np.square(speech[4000:12000]).mean()
    noise_power = np.square(both - speech).mean()
    assert 10 * np.log10(speech_power / noise_power) == pytest.approx(snr_db, abs=0.1)


def test_sum_beyond_full_scale_is_scaled_down() -> None:
    assert np.abs(add_noise(tone(0, 8000, 0), make_white_noise(8000, 1), -10)).max() <= 1.0


def test_noise_that_is_silence_is_refused() -> None:
    with pytest.raises(ValueError, match="noise is silence"):
        add_noise(tone(0, 800, 0), np.zeros(800, np.float32), 10)


def test_pink_noise_has_equal_power_per_octave() -> None:
    power = np.square(np.abs(np.fft.rfft(make_pink_noise(4 * SECOND, 1))))
    hertz = np.fft.rfftfreq(4 * SECOND, 1 / SECOND)
    octaves = [power[(hertz >= low) & (hertz < 2 * low)].sum() for low in (100, 400, 1600)]
    assert max(octaves) < 1.3 * min(octaves)


def test_speakers_of_babble_are_equally_loud() -> None:
    loud, quiet = tone(0, 8000, 0), 0.01 * make_white_noise(8000, 1)
    both = make_babble([[loud], [quiet]], 4 * SECOND, 1)
    assert both.std() == pytest.approx(0.05, rel=1e-3)
    spectrum = np.square(np.abs(np.fft.rfft(both)))
    near = slice(4 * 390, 4 * 411)
    assert 0.3 < spectrum[near].sum() / spectrum.sum() < 0.7


def test_music_has_the_requested_length_without_clipping() -> None:
    sound = make_music(5.0, 1)
    assert len(sound) == 5 * SECOND
    assert 0.4 < np.abs(sound).max() <= 0.5
    assert not np.array_equal(sound, make_music(5.0, 2))


def test_a_missing_synthesizer_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_audio.shutil, "which", lambda program: None)
    (problem,) = list_missing_programs([Voice("espeak-ng", "en-gb"), Voice("espeak-ng", "en-us")])
    assert "espeak-ng is not on PATH" in problem
    assert "apt install espeak-ng" in problem


def test_missing_recordings_are_named_with_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PEOPLE_VARIABLE, str(tmp_path))
    recordings, problem = load_recordings()
    assert recordings == []
    assert "pocketsphinx-testdata" in problem and str(tmp_path) in problem


def test_recordings_have_their_transcription(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cards"
    folder.mkdir()
    with wave.open(str(folder / "001.wav"), "wb") as stream:
        stream.setparams((1, 2, 8000, 0, "NONE", ""))
        stream.writeframes(np.full(800, 1000, "<i2").tobytes())
    (folder / "cards.transcription").write_text("<s> ten of clubs  </s> (001)\n")
    (tmp_path / "goforward.raw").write_bytes(bytes(3200))  # a command
    monkeypatch.setenv(PEOPLE_VARIABLE, str(tmp_path))
    (recording,), problem = load_recordings()
    assert (recording.name, recording.text, problem) == ("001", "ten of clubs", "")
    assert len(recording.sound) == pytest.approx(1600, abs=40)  # resampled to 16 kHz


def test_loud_speech_of_another_rate_stays_within_bounds(tmp_path: Path) -> None:
    square = np.where(np.arange(4000) // 20 % 2, 32767, -32768)
    with wave.open(str(tmp_path / "loud.wav"), "wb") as stream:
        stream.setparams((1, 2, 22050, 0, "NONE", ""))
        stream.writeframes(square.astype("<i2").tobytes())
    assert np.abs(voice_audio.read_audio(tmp_path / "loud.wav")).max() == 1.0


def test_golden_recording_is_shipped() -> None:
    recording = load_golden()
    assert recording.text == "go forward ten meters"
    start, end = find_speech_bounds(recording.sound)
    assert SECOND < end - start < 3 * SECOND
