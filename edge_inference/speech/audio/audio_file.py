"""Sound files: WAV by Python itself, others through the package soundfile (libsndfile)."""

from __future__ import annotations

import os
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.audio import MAX_CHANNELS, SAMPLE_RATE
from edge_inference.core.bounded_file import open_plain
from edge_inference.errors import InputError, SourceError
from edge_inference.speech.audio.resample import check_rate

#: ``.raw`` is 16 kHz, one channel, 16 bits signed, little-endian: there is no header to ask.
SUFFIXES = (".wav", ".flac", ".ogg", ".aiff", ".raw")

# From here on a length in a WAV header stands for an unknown one.
_UNKNOWN_BYTES = 0x7FFF_0000
_LONGEST_S = 6 * 3600.0
_LARGEST_FILE = 1 << 32
_MOST_CHUNKS = 1000

Samples = tuple[NDArray[np.float32], int]


def read_blocks(file: Path, length_s: float) -> Iterator[Samples]:
    """Yield pieces of one channel (the mean of all), each with its sample rate.

    The last one may be shorter. Raises SourceError, also behind the last piece of a file that was
    cut off.
    """
    is_empty, odd, heard_s = True, 0, 0.0
    try:
        for samples, rate in _reader(file)(file, length_s):
            odd += int(np.count_nonzero(~np.isfinite(samples)))
            heard_s += len(samples) / rate
            if heard_s > _LONGEST_S:
                raise SourceError(
                    f"{file}: longer than {_LONGEST_S / 3600:g} hours; cut it into several"
                )
            if len(samples):
                is_empty = False
                yield _within_bounds(samples), rate
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror or error}") from error
    if is_empty:
        raise SourceError(f"{file}: there is no sound in it; record it again")
    if odd:
        raise SourceError(
            f"{file}: expected numbers for samples, got {odd} times NaN or infinity, heard as "
            "silence; write it again"
        )


def _reader(file: Path) -> Callable[[Path, float], Iterator[Samples]]:
    if file.suffix.lower() == ".raw":
        return _raw
    return _wave if file.suffix.lower() == ".wav" and _is_plain_wave(file) else _with_soundfile


def _raw(file: Path, length_s: float) -> Iterator[Samples]:
    size = max(1, round(length_s * SAMPLE_RATE)) * 2
    with open_plain(file, round(_LONGEST_S * SAMPLE_RATE) * 2) as stream:
        while data := stream.read(size):
            yield _one_channel(_from_pcm(data[: len(data) // 2 * 2], 2), 1), SAMPLE_RATE


def _is_plain_wave(file: Path) -> bool:
    """Tell whether Python's own reader knows this kind: whole numbers, no compression."""
    try:
        with open_plain(file, _LARGEST_FILE) as stream:
            _check_chunks(stream, file)
            with wave.open(stream):
                return True
    except (wave.Error, EOFError):
        return False


def _check_chunks(stream: IO[bytes], file: Path) -> None:
    """Raise SourceError for so many chunks before the sound that nobody has written them."""
    stream.seek(12)
    for _ in range(_MOST_CHUNKS):
        head = stream.read(8)
        if len(head) < 8 or head.startswith(b"data"):
            stream.seek(0)
            return
        length = int.from_bytes(head[4:], "little")
        stream.seek(length + length % 2, os.SEEK_CUR)
    raise SourceError(f"{file}: more than {_MOST_CHUNKS} parts before its sound; write it again")


def _wave(file: Path, length_s: float) -> Iterator[Samples]:
    with open_plain(file, _LARGEST_FILE) as data_file, wave.open(data_file) as stream:
        rate, channels, width = (
            stream.getframerate(),
            stream.getnchannels(),
            stream.getsampwidth(),
        )
        if width not in (1, 2, 3, 4):
            raise SourceError(f"{file}: expected 8 to 32 bits, got {width * 8}")
        _check_format(rate, channels, file)
        length, count = max(1, round(length_s * rate)), 0
        while data := stream.readframes(length):
            whole = len(data) // (channels * width) * channels * width
            count += whole // (channels * width)
            yield _one_channel(_from_pcm(data[:whole], width), channels), rate
        promised = stream.getnframes()
        # Who writes to a pipe does not know the length, and gives the highest.
        if count < promised < _UNKNOWN_BYTES // (channels * width):
            raise SourceError(
                f"{file}: cut off: {count / rate:.2f} s of sound, {promised / rate:.2f} s by its "
                "header; copy it again"
            )


def _with_soundfile(file: Path, length_s: float) -> Iterator[Samples]:
    soundfile = _import_soundfile(file)
    open_plain(file, _LARGEST_FILE).close()
    try:
        with soundfile.SoundFile(str(file)) as stream:
            rate = int(stream.samplerate)
            _check_format(rate, int(stream.channels), file)
            length = max(1, round(length_s * rate))
            while len(block := stream.read(length, dtype="float32", always_2d=True)):
                yield _one_channel(block.reshape(-1), block.shape[1]), rate
    except soundfile.LibsndfileError as error:
        raise SourceError(f"{file}: not a sound that can be read: {error}") from error


def _check_format(rate: int, channels: int, file: Path) -> None:
    try:
        check_rate(rate)
    except InputError as error:
        raise SourceError(f"{file}: {error}; convert it, or mend its header") from error
    if channels > MAX_CHANNELS:
        raise SourceError(f"{file}: expected at most {MAX_CHANNELS} channels, got {channels}")


def _import_soundfile(file: Path) -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise _needs(file, error, "pip install soundfile") from error
    except OSError as error:  # its wheel for any machine brings no libsndfile
        raise _needs(file, error, "apt install libsndfile1") from error
    return soundfile


def _needs(file: Path, error: Exception, cure: str) -> SourceError:
    return SourceError(
        f"{file}: only WAV with whole numbers and .raw can be read without the package soundfile "
        f"and its library libsndfile ({error}); install what is missing with: {cure}"
    )


def _from_pcm(data: bytes, width: int) -> NDArray[np.float32]:
    if width == 1:  # the only unsigned one
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) / 128.0
    if width == 3:  # three bytes become the upper three of four
        whole = np.zeros((len(data) // 3, 4), np.uint8)
        whole[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = whole.tobytes(), 4
    values = np.frombuffer(data, np.dtype(f"<i{width}"))
    return (values / float(2 ** (8 * width - 1))).astype(np.float32)


def _one_channel(values: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = values.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return samples


def _within_bounds(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    samples = np.where(np.isfinite(samples), samples, np.float32(0.0))
    np.clip(samples, -1.0, 1.0, out=samples)
    samples.flags.writeable = False
    return samples
