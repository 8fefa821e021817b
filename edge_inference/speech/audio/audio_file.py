"""Audio files: WAV by the standard library, others by the package soundfile (libsndfile)."""

from __future__ import annotations

import os
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.audio import MAX_CHANNELS, SAMPLE_RATE
from edge_inference.core.bounded_file import open_regular_file
from edge_inference.errors import InputError, SourceError
from edge_inference.speech.audio.resample import check_rate

#: ``.raw`` has no header: it must be 16 kHz, one channel, 16 bits signed, little-endian.
SUFFIXES = (".wav", ".flac", ".ogg", ".aiff", ".raw")

# A length in a WAV header from here on means an unknown length.
_UNKNOWN_BYTES = 0x7FFF_0000
_MAX_DURATION_S = 6 * 3600.0
_MAX_FILE_BYTES = 1 << 32
_MAX_HEADER_CHUNKS = 1000

Samples = tuple[NDArray[np.float32], int]


def read_blocks(file: Path, length_s: float) -> Iterator[Samples]:
    """Yield blocks of one channel (the mean of all channels), each with its sample rate.

    The last block may be shorter. Raises SourceError, for a truncated file after its last block.
    """
    is_empty, invalid, read_s = True, 0, 0.0
    try:
        for samples, rate in _choose_reader(file)(file, length_s):
            invalid += int(np.count_nonzero(~np.isfinite(samples)))
            read_s += len(samples) / rate
            if read_s > _MAX_DURATION_S:
                raise SourceError(
                    f"{file}: longer than {_MAX_DURATION_S / 3600:g} hours; split the file"
                )
            if len(samples):
                is_empty = False
                yield _clip(samples), rate
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror or error}") from error
    if is_empty:
        raise SourceError(f"{file}: the file has no samples; record it again")
    if invalid:
        raise SourceError(
            f"{file}: expected finite samples, got NaN or infinity {invalid} times, replaced by "
            "silence; write the file again"
        )


def _choose_reader(file: Path) -> Callable[[Path, float], Iterator[Samples]]:
    if file.suffix.lower() == ".raw":
        return _read_raw
    return (
        _read_wave
        if file.suffix.lower() == ".wav" and _is_plain_wave(file)
        else _read_with_soundfile
    )


def _read_raw(file: Path, length_s: float) -> Iterator[Samples]:
    size = max(1, round(length_s * SAMPLE_RATE)) * 2
    with open_regular_file(file, round(_MAX_DURATION_S * SAMPLE_RATE) * 2) as stream:
        while data := stream.read(size):
            yield _to_mono(_from_pcm(data[: len(data) // 2 * 2], 2), 1), SAMPLE_RATE


def _is_plain_wave(file: Path) -> bool:
    """Tell whether the module wave reads this file: integer samples without compression."""
    try:
        with open_regular_file(file, _MAX_FILE_BYTES) as stream:
            _check_chunks(stream, file)
            with wave.open(stream):
                return True
    except (wave.Error, EOFError):
        return False


def _check_chunks(stream: IO[bytes], file: Path) -> None:
    """Raise SourceError for too many chunks before the samples; reading them would take long."""
    stream.seek(12)
    for _ in range(_MAX_HEADER_CHUNKS):
        head = stream.read(8)
        if len(head) < 8 or head.startswith(b"data"):
            stream.seek(0)
            return
        length = int.from_bytes(head[4:], "little")
        stream.seek(length + length % 2, os.SEEK_CUR)
    raise SourceError(
        f"{file}: expected at most {_MAX_HEADER_CHUNKS} chunks before the samples; write the file "
        "again"
    )


def _read_wave(file: Path, length_s: float) -> Iterator[Samples]:
    with open_regular_file(file, _MAX_FILE_BYTES) as data_file, wave.open(data_file) as stream:
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
            complete = len(data) // (channels * width) * channels * width
            count += complete // (channels * width)
            yield _to_mono(_from_pcm(data[:complete], width), channels), rate
        declared = stream.getnframes()
        # A writer to a pipe does not know the length and writes the highest value.
        if count < declared < _UNKNOWN_BYTES // (channels * width):
            raise SourceError(
                f"{file}: truncated: expected {declared / rate:.2f} s of audio by its header, got "
                f"{count / rate:.2f} s; copy the file again"
            )


def _read_with_soundfile(file: Path, length_s: float) -> Iterator[Samples]:
    soundfile = _import_soundfile(file)
    open_regular_file(file, _MAX_FILE_BYTES).close()
    try:
        with soundfile.SoundFile(str(file)) as stream:
            rate = int(stream.samplerate)
            _check_format(rate, int(stream.channels), file)
            length = max(1, round(length_s * rate))
            while len(block := stream.read(length, dtype="float32", always_2d=True)):
                yield _to_mono(block.reshape(-1), block.shape[1]), rate
    except soundfile.LibsndfileError as error:
        raise SourceError(f"{file}: not a readable audio file: {error}") from error


def _check_format(rate: int, channels: int, file: Path) -> None:
    try:
        check_rate(rate)
    except InputError as error:
        raise SourceError(f"{file}: {error}; convert it, or correct its header") from error
    if channels > MAX_CHANNELS:
        raise SourceError(f"{file}: expected at most {MAX_CHANNELS} channels, got {channels}")


def _import_soundfile(file: Path) -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise _missing_package(file, error, "pip install soundfile") from error
    except OSError as error:  # the platform-independent wheel has no libsndfile
        raise _missing_package(file, error, "apt install libsndfile1") from error
    return soundfile


def _missing_package(file: Path, error: Exception, hint: str) -> SourceError:
    return SourceError(
        f"{file}: files other than integer WAV and .raw need the package soundfile and the library "
        f"libsndfile ({error}); install it with: {hint}"
    )


def _from_pcm(data: bytes, width: int) -> NDArray[np.float32]:
    if width == 1:  # the only unsigned format
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) / 128.0
    if width == 3:  # three bytes become the upper three of four
        widened = np.zeros((len(data) // 3, 4), np.uint8)
        widened[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = widened.tobytes(), 4
    values = np.frombuffer(data, np.dtype(f"<i{width}"))
    return (values / float(2 ** (8 * width - 1))).astype(np.float32)


def _to_mono(values: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = values.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return samples


def _clip(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    samples = np.where(np.isfinite(samples), samples, np.float32(0.0))
    np.clip(samples, -1.0, 1.0, out=samples)
    samples.flags.writeable = False
    return samples
