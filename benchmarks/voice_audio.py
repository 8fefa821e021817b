"""Audio for the voice benchmark: synthesised speech, recordings of people, and noise.

All audio is float32 [n] within -1..1 at 16 kHz.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.voice_sentences import Voice
from edge_inference.composition.pipeline import share_folder
from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.speech.audio.audio_file import read_blocks
from edge_inference.speech.audio.resample import Resampler

Audio = NDArray[np.float32]

PEOPLE_VARIABLE = "EDGE_INFERENCE_VOICE_RECORDINGS"
_PEOPLE_FOLDER = Path("/usr/share/pocketsphinx/test/data")
_PEOPLE_PACKAGE = "pocketsphinx-testdata"
_TIMEOUT_S = 30.0
_PIECE_S = 60.0
_FRAME = 160
#: A frame that is quieter than the loudest by more than this has no speech.
_QUIET_DB = 40.0


def find_program(voice: Voice) -> str | None:
    """Return the path of a voice's synthesiser, None if it is not installed."""
    return shutil.which(voice.program)


def list_missing_programs(voices: Sequence[Voice]) -> list[str]:
    """Return a message for each missing synthesiser, with its Debian package."""
    programs = sorted({voice.program for voice in voices if find_program(voice) is None})
    return [
        f"{program} is not on PATH: its voices are omitted; install it with: apt install {program}"
        for program in programs
    ]


def synthesize(text: str, voice: Voice) -> Audio:
    """Return the speech of a text. Raises RuntimeError if the synthesiser fails."""
    key = hashlib.sha256(f"{voice}\n{text}".encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"edge_inference_voices_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    file = folder / f"{key}.wav"
    if not file.exists():
        unfinished = file.with_suffix(f".{os.getpid()}.wav")
        _synthesize(text, voice, unfinished)
        unfinished.replace(file)
    return read_audio(file)


def read_audio(file: Path) -> Audio:
    """Return the audio of a file."""
    pieces = list(read_blocks(file, _PIECE_S))
    resampler = Resampler(pieces[0][1])
    parts = [*(resampler.feed(piece) for piece, _ in pieces), resampler.flush()]
    # Resampling of loud speech can exceed full scale.
    return np.clip(np.concatenate(parts), -1.0, 1.0)


@dataclass(frozen=True)
class Recording:
    """A recording of a person; ``text`` is its transcription, if there is one."""

    name: str
    sound: Audio
    text: str | None


def load_golden() -> Recording:
    """Return the shipped recording: a person says "go forward ten meters"."""
    folder = share_folder() / "models" / "moonshine_tiny" / "golden"
    return Recording(
        "golden", read_audio(folder / "go_forward_ten_meters.wav"), "go forward ten meters"
    )


def load_recordings() -> tuple[list[Recording], str]:
    """Return recordings of people without a command, and the reason if there are none."""
    folder = Path(os.environ.get(PEOPLE_VARIABLE) or _PEOPLE_FOLDER)
    files = [
        file
        for pattern in ("*.raw", "*/*.raw", "*.wav", "*/*.wav")
        for file in sorted(folder.glob(pattern))
        if file.stem != "goforward"
    ]
    if not files:
        return [], (
            f"{folder} has no recordings of people, which are omitted; install {_PEOPLE_PACKAGE} "
            f"with apt, or set {PEOPLE_VARIABLE} to another folder"
        )
    texts = _transcriptions(folder)
    return [Recording(file.stem, read_audio(file), texts.get(file.stem)) for file in files], ""


def find_speech_bounds(sound: Audio) -> tuple[int, int]:
    """Return start and end of speech, to 10 ms: frames within 40 dB of the loudest.

    Raises ValueError for silence.
    """
    frames = len(sound) // _FRAME
    power = np.square(sound[: frames * _FRAME].reshape(frames, _FRAME), dtype=np.float64).mean(1)
    if not frames or not power.max() > 0:
        raise ValueError("the audio is silence; expected speech")
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_QUIET_DB / 10))
    return int(loud[0]) * _FRAME, (int(loud[-1]) + 1) * _FRAME


def pad_with_silence(sound: Audio, before_s: float, after_s: float) -> tuple[Audio, int]:
    """Return speech between digital silence, and the sample at which its last word ends."""
    start, end = find_speech_bounds(sound)
    before = round(before_s * SAMPLE_RATE)
    parts = (np.zeros(before), sound[start:end], np.zeros(round(after_s * SAMPLE_RATE)))
    return np.concatenate(parts).astype(np.float32), before + end - start


def add_noise(sound: Audio, noise: Audio, snr_db: float) -> Audio:
    """Return audio with noise at a signal-to-noise ratio.

    The signal's power is that between start and end of speech. Shorter ``noise`` is repeated. If
    the sum exceeds full scale, all of it is scaled down.
    """
    start, end = find_speech_bounds(sound)
    noise = np.resize(noise, len(sound))
    speech_power = float(np.square(sound[start:end], dtype=np.float64).mean())
    noise_power = float(np.square(noise, dtype=np.float64).mean())
    if not noise_power > 0:
        raise ValueError("the noise is silence")
    factor = np.sqrt(speech_power / noise_power / 10 ** (snr_db / 10))
    both = sound + factor * noise
    return np.asarray(both / max(1.0, float(np.abs(both).max())), np.float32)


def make_white_noise(samples: int, seed: int) -> Audio:
    """Return white noise with an RMS of 0.05."""
    return np.random.default_rng(seed).normal(0, 0.05, samples).astype(np.float32)


def make_pink_noise(samples: int, seed: int) -> Audio:
    """Return pink noise (power falls with frequency) with an RMS of 0.05."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(0, 1, samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 20.0)
    noise = np.fft.irfft(spectrum / np.sqrt(frequency), samples)
    return np.asarray(0.05 * noise / noise.std(), np.float32)


def make_babble(speakers: Sequence[Sequence[Audio]], samples: int, seed: int) -> Audio:
    """Return several equally loud speakers at once, each with one sentence after the other.

    The RMS is 0.05.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(samples)
    for said in speakers:
        order = rng.permutation(len(said))
        parts = [part for number in order for part in (said[number], _pause(rng))]
        one = np.concatenate(parts)
        one = np.resize(np.roll(one, int(rng.integers(len(one)))), samples)
        total += one / max(float(one.std()), 1e-6)
    return np.asarray(0.05 * total / total.std(), np.float32)


def make_music(seconds: float, seed: int) -> Audio:
    """Return synthetic music: chords, arpeggios, a bass and drums at 110 beats per minute."""
    rng = np.random.default_rng(seed)
    beat = round(SAMPLE_RATE * 60 / 110)
    beats = int(seconds * SAMPLE_RATE) // beat + 1
    sound = np.zeros((beats + 4) * beat)
    chord = [0, 4, 7]
    for number in range(beats):
        at = number * beat
        if number % 4 == 0:
            root = int(rng.choice([0, 5, 7, 9]))
            chord = [root, root + int(rng.choice([3, 4])), root + 7]
            for semitone in chord:
                _add(sound, at, 0.06 * _tone(220 * 2 ** (semitone / 12), 4 * beat, 2.0))
            _add(sound, at, 0.12 * _tone(110 * 2 ** (root / 12), 2 * beat, 1.0))
        for half in (0, 1):
            semitone = int(rng.choice(chord)) + 12
            _add(sound, at + half * beat // 2, 0.08 * _tone(220 * 2 ** (semitone / 12), beat, 0.3))
            hiss = rng.normal(0, 0.08, beat // 2) * _decay(beat // 2, 0.02)
            _add(sound, at + half * beat // 2, hiss)
        length = beat // 2
        drum = _tone(60, length, 0.08) if number % 2 == 0 else rng.normal(0, 0.5, length)
        _add(sound, at, 0.3 * drum * _decay(length, 0.08))
    whole = sound[: int(seconds * SAMPLE_RATE)]
    return np.asarray(0.5 * whole / np.abs(whole).max(), np.float32)


def _tone(hertz: float, samples: int, fade_s: float) -> NDArray[np.float64]:
    """Return a decaying tone with overtones, similar to a string."""
    t = np.arange(samples) / SAMPLE_RATE
    waves = sum(np.sin(2 * np.pi * hertz * n * t) / n**1.5 for n in range(1, 7))
    return np.asarray(waves * _decay(samples, fade_s))


def _decay(samples: int, fade_s: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-np.arange(samples) / SAMPLE_RATE / fade_s))


def _add(sound: NDArray[np.float64], at: int, piece: NDArray[np.float64]) -> None:
    piece = piece[: max(0, len(sound) - at)]
    sound[at : at + len(piece)] += piece


def _pause(rng: np.random.Generator) -> Audio:
    return np.zeros(int(rng.uniform(0.05, 0.4) * SAMPLE_RATE), np.float32)


def _synthesize(text: str, voice: Voice, file: Path) -> None:
    program = find_program(voice)
    if program is None:
        raise RuntimeError("; ".join(list_missing_programs([voice])))
    arguments = {
        "flite": ["-voice", voice.name, "-t", text, "-o", str(file)],
        "espeak-ng": ["-v", voice.name, "-w", str(file), text],
    }[voice.program]
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode or not file.exists():
        raise RuntimeError(f"{voice} said nothing: {done.stderr.strip() or done.returncode}")
    with wave.open(str(file), "rb") as stream:
        if not stream.getnframes():
            raise RuntimeError(f"{voice} made an empty file of {text!r}")


def _transcriptions(folder: Path) -> dict[str, str]:
    """Return the transcriptions of recordings in the format of CMU Sphinx, by name."""
    texts = {}
    for file in sorted(folder.glob("*/*transcription")):
        for line in file.read_text(encoding="utf-8").splitlines():
            text, _, name = line.rpartition("(")
            if name.endswith(")"):
                texts[name[:-1]] = text.replace("<s>", "").replace("</s>", "").strip()
    return texts
