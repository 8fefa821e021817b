"""Speech for the benchmark of the voice pipeline: synthesised, or people's; and noise to it.

All sound is float32 [n] within -1..1 at 16 kHz.
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

Sound = NDArray[np.float32]

PEOPLE_VARIABLE = "EDGE_INFERENCE_VOICE_RECORDINGS"
_PEOPLE_FOLDER = Path("/usr/share/pocketsphinx/test/data")
_PEOPLE_PACKAGE = "pocketsphinx-testdata"
_TIMEOUT_S = 30.0
_PIECE_S = 60.0
_FRAME = 160
#: A frame that is quieter than the loudest by so much has no speech in it.
_QUIET_DB = 40.0


def program_of(voice: Voice) -> str | None:
    """Return the path of a voice's synthesiser, None where it is not installed."""
    return shutil.which(voice.program)


def missing(voices: Sequence[Voice]) -> list[str]:
    """Say which synthesisers are missing, and which Debian packages bring them."""
    programs = sorted({voice.program for voice in voices if program_of(voice) is None})
    return [
        f"{program} is not on PATH: its voices are left out; apt install {program} brings it"
        for program in programs
    ]


def speak(text: str, voice: Voice) -> Sound:
    """Return a text as a voice says it. Raises RuntimeError where the synthesiser fails."""
    key = hashlib.sha256(f"{voice}\n{text}".encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"edge_inference_voices_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    file = folder / f"{key}.wav"
    if not file.exists():
        unfinished = file.with_suffix(f".{os.getpid()}.wav")
        _synthesise(text, voice, unfinished)
        unfinished.replace(file)
    return read(file)


def read(file: Path) -> Sound:
    """Return the sound of a file."""
    pieces = list(read_blocks(file, _PIECE_S))
    resampler = Resampler(pieces[0][1])
    parts = [*(resampler.feed(piece) for piece, _ in pieces), resampler.flush()]
    # Between the samples of loud speech lie louder ones.
    return np.clip(np.concatenate(parts), -1.0, 1.0)


@dataclass(frozen=True)
class Recording:
    """What a person says; ``text`` is what it was, where somebody wrote it down."""

    name: str
    sound: Sound
    text: str | None


def golden() -> Recording:
    """Return the recording that is shipped: a person says "go forward ten meters"."""
    folder = share_folder() / "models" / "moonshine_tiny" / "golden"
    return Recording("golden", read(folder / "go_forward_ten_meters.wav"), "go forward ten meters")


def people() -> tuple[list[Recording], str]:
    """Return people's recordings without a command in them, and why there are none."""
    folder = Path(os.environ.get(PEOPLE_VARIABLE) or _PEOPLE_FOLDER)
    files = [
        file
        for pattern in ("*.raw", "*/*.raw", "*.wav", "*/*.wav")
        for file in sorted(folder.glob(pattern))
        if file.stem != "goforward"
    ]
    if not files:
        return [], (
            f"{folder} has no recordings: people are left out; apt install {_PEOPLE_PACKAGE} "
            f"brings them, or name another folder in {PEOPLE_VARIABLE}"
        )
    texts = _transcriptions(folder)
    return [Recording(file.stem, read(file), texts.get(file.stem)) for file in files], ""


def bounds_of(sound: Sound) -> tuple[int, int]:
    """Return where speech starts and where it ends, to 10 ms: frames within 40 dB of the loudest.

    Raises ValueError for silence.
    """
    frames = len(sound) // _FRAME
    power = np.square(sound[: frames * _FRAME].reshape(frames, _FRAME), dtype=np.float64).mean(1)
    if not frames or not power.max() > 0:
        raise ValueError("silence has no speech in it")
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_QUIET_DB / 10))
    return int(loud[0]) * _FRAME, (int(loud[-1]) + 1) * _FRAME


def between_silence(sound: Sound, before_s: float, after_s: float) -> tuple[Sound, int]:
    """Return speech with digital silence around it, and the sample at which its last word ends."""
    start, end = bounds_of(sound)
    before = round(before_s * SAMPLE_RATE)
    parts = (np.zeros(before), sound[start:end], np.zeros(round(after_s * SAMPLE_RATE)))
    return np.concatenate(parts).astype(np.float32), before + end - start


def mixed(sound: Sound, noise: Sound, snr_db: float) -> Sound:
    """Return a sound with noise as much quieter as ``snr_db`` says.

    The sound's power is that between the start and the end of its speech. ``noise`` is repeated
    where it is shorter. What is too loud then is made quieter as a whole.
    """
    start, end = bounds_of(sound)
    noise = np.resize(noise, len(sound))
    speech_power = float(np.square(sound[start:end], dtype=np.float64).mean())
    noise_power = float(np.square(noise, dtype=np.float64).mean())
    if not noise_power > 0:
        raise ValueError("the noise is silence")
    factor = np.sqrt(speech_power / noise_power / 10 ** (snr_db / 10))
    both = sound + factor * noise
    return np.asarray(both / max(1.0, float(np.abs(both).max())), np.float32)


def white(samples: int, seed: int) -> Sound:
    """Return white noise with an effective value of 0.05."""
    return np.random.default_rng(seed).normal(0, 0.05, samples).astype(np.float32)


def pink(samples: int, seed: int) -> Sound:
    """Return noise whose power falls with the frequency, with an effective value of 0.05."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(0, 1, samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 20.0)
    noise = np.fft.irfft(spectrum / np.sqrt(frequency), samples)
    return np.asarray(0.05 * noise / noise.std(), np.float32)


def babble(speakers: Sequence[Sequence[Sound]], samples: int, seed: int) -> Sound:
    """Return several speakers at once, each saying one thing after the other, all equally loud.

    The effective value is 0.05.
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


def music(seconds: float, seed: int) -> Sound:
    """Return something like music: chords, arpeggios, a bass and drums at 110 a minute."""
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
    """Return a tone with overtones that dies away, as a string does."""
    t = np.arange(samples) / SAMPLE_RATE
    waves = sum(np.sin(2 * np.pi * hertz * n * t) / n**1.5 for n in range(1, 7))
    return np.asarray(waves * _decay(samples, fade_s))


def _decay(samples: int, fade_s: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-np.arange(samples) / SAMPLE_RATE / fade_s))


def _add(sound: NDArray[np.float64], at: int, piece: NDArray[np.float64]) -> None:
    piece = piece[: max(0, len(sound) - at)]
    sound[at : at + len(piece)] += piece


def _pause(rng: np.random.Generator) -> Sound:
    return np.zeros(int(rng.uniform(0.05, 0.4) * SAMPLE_RATE), np.float32)


def _synthesise(text: str, voice: Voice, file: Path) -> None:
    program = program_of(voice)
    if program is None:
        raise RuntimeError("; ".join(missing([voice])))
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
    """Return what the recordings' texts say they are, as CMU Sphinx writes it."""
    texts = {}
    for file in sorted(folder.glob("*/*transcription")):
        for line in file.read_text(encoding="utf-8").splitlines():
            text, _, name = line.rpartition("(")
            if name.endswith(")"):
                texts[name[:-1]] = text.replace("<s>", "").replace("</s>", "").strip()
    return texts
