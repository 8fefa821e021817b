"""A microphone through PortAudio (package sounddevice), on ALSA and elsewhere."""

from __future__ import annotations

import queue
from typing import Any

import numpy as np

from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.errors import SourceError
from edge_inference.speech.sound import Piece, Sound

#: A device that gives nothing for so long is gone: not every driver says so.
_SILENT_S = 1.0
#: About a second of pieces wait for a reader at the most.
_WAITING = 32


class Microphone(Sound):
    """One channel of an input device, at 16 kHz where the device can, else at its own rate."""

    is_live = True

    def __init__(self, name: str, piece_s: float) -> None:
        """``name`` is PortAudio's, a part of it or a number; empty for the default input."""
        self.origin = f"device:{name}" if name else "device"
        self._waiting: queue.Queue[Piece] = queue.Queue(_WAITING)
        self._lost = False
        sounddevice = _import_sounddevice()
        # PortAudio lists the devices once; one that was plugged in since shows only after this.
        sounddevice._terminate()
        sounddevice._initialize()
        self._error: type[Exception] = sounddevice.PortAudioError
        device: Any = int(name) if name.isdigit() else name or None
        try:
            self._rate = _rate_of(sounddevice, device)
            self._stream = sounddevice.InputStream(
                device=device,
                channels=1,
                samplerate=self._rate,
                blocksize=round(piece_s * self._rate),
                dtype="float32",
                callback=self._take,
            )
        except (self._error, ValueError) as error:
            raise SourceError(
                f"{self.origin} cannot be opened: {error}; is it plugged in, and free? "
                "'python3 -m sounddevice' lists what there is"
            ) from error

    def read(self) -> Piece:
        """Wait for the next piece; SourceError for a device that gives no more.

        Recording begins with the first call: what was said before nobody waited for.
        """
        try:
            if self._stream.stopped:
                self._stream.start()
            return self._waiting.get(timeout=_SILENT_S)
        except queue.Empty:
            raise SourceError(
                f"{self.origin} gives no more sound; is it still plugged in?"
            ) from None
        except self._error as error:
            raise SourceError(f"{self.origin} does not record: {error}") from error

    def close(self) -> None:
        """Stop the stream; that of a device which is gone too."""
        self._stream.close()

    def _take(self, data: Any, frames: int, moment: Any, status: Any) -> None:
        """Take what PortAudio has recorded; runs in its thread."""
        del frames, moment
        samples = np.clip(data[:, 0], -1.0, 1.0)
        samples.flags.writeable = False
        lost, self._lost = self._lost or bool(status.input_overflow), False
        try:
            self._waiting.put_nowait(Piece(samples, self._rate, lost))
        except queue.Full:
            self._lost = True


def _rate_of(sounddevice: Any, device: Any) -> int:
    try:
        sounddevice.check_input_settings(device=device, channels=1, samplerate=SAMPLE_RATE)
    except sounddevice.PortAudioError:
        return int(sounddevice.query_devices(device, "input")["default_samplerate"])
    return SAMPLE_RATE


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package without PortAudio
        raise SourceError(
            f"a device needs the package sounddevice and PortAudio ({error}); install them with: "
            "pip install sounddevice, apt install libportaudio2"
        ) from error
    return sounddevice
