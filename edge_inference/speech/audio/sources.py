"""Opens audio inputs: files, folders of files and devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_inference.errors import SourceError
from edge_inference.speech.audio.audio_file import SUFFIXES, read_blocks
from edge_inference.speech.audio.audio_input import AudioBlock, AudioInput

#: Length of a block: the window of the voice activity detector at 16 kHz.
BLOCK_S = 0.032

_DEVICE = "device"
_EXPECTED = (
    f"an audio file ({', '.join(SUFFIXES)}), a folder of them, 'device' or "
    "'device:<name or number>'"
)


class AudioFileInput(AudioInput):
    """Audio files one after the other, each followed by silence.

    Without the silence voice activity detection does not find the end of speech.
    """

    def __init__(self, files: list[Path], pause_s: float) -> None:
        self._files = iter(files)
        self._pause_s = pause_s
        self._blocks: Iterator[AudioBlock] = iter(())
        self._rate: int | None = None

    def read(self) -> AudioBlock | None:
        """Return the next block. SourceError names a broken file; the next call continues."""
        while True:
            try:
                block = next(self._blocks, None)
            except SourceError:
                # The samples before the error may be speech, which needs silence to end.
                self._blocks = self._pause()
                raise
            if block is not None:
                return block
            file = next(self._files, None)
            if file is None:
                return None
            self.origin = str(file)
            self._blocks = self._read_file(file)

    def close(self) -> None:
        """Close the file that is being read."""
        self._blocks = iter(())

    def _read_file(self, file: Path) -> Iterator[AudioBlock]:
        self._rate = None
        for samples, sample_rate in read_blocks(file, BLOCK_S):
            self._rate = sample_rate
            yield AudioBlock(samples, sample_rate)
        yield from self._pause()

    def _pause(self) -> Iterator[AudioBlock]:
        """Yield silence, if the file had samples."""
        if self._rate is None:
            return
        silence = np.zeros(max(1, round(BLOCK_S * self._rate)), np.float32)
        silence.flags.writeable = False
        for _ in range(round(self._pause_s / BLOCK_S)):
            yield AudioBlock(silence, self._rate)


def is_device(source: str) -> bool:
    """Tell whether a source is a device, which can be removed and come back."""
    return source.partition(":")[0] == _DEVICE


def open_audio_input(source: str, pause_s: float = 0.0) -> AudioInput:
    """Open an audio file, a folder of them, or a device.

    ``device`` is the machine's default input, ``device:<name or number>`` another. ``pause_s`` of
    silence follows each file. Raises SourceError.
    """
    if is_device(source):
        from edge_inference.speech.audio.microphone import Microphone

        return Microphone(source.partition(":")[2], BLOCK_S)
    try:
        return AudioFileInput(_find_files(source), pause_s)
    except (
        OSError,
        RuntimeError,
    ) as error:  # RuntimeError: a loop of links, or ~ of an unknown user
        raise SourceError(f"{source!r}: cannot be read: {error}") from error


def _find_files(source: str) -> list[Path]:
    if not source:
        raise SourceError(f"no audio source is set; expected {_EXPECTED}")
    path = Path(source).expanduser()
    if path.is_dir():
        visible = (file for file in path.iterdir() if not file.name.startswith("."))
        files = sorted(file for file in visible if file.suffix.lower() in SUFFIXES)
        if not files:
            raise SourceError(
                f"{path}: no audio file in this folder; expected {', '.join(SUFFIXES)}"
            )
        return files
    if not path.is_file():
        problem = "neither a file nor a folder" if path.exists() else "no such file or folder"
        raise SourceError(f"{source!r}: {problem}; expected {_EXPECTED}")
    if path.suffix.lower() not in SUFFIXES:
        raise SourceError(f"{path}: expected an audio file ({', '.join(SUFFIXES)})")
    return [path]
