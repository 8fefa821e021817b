"""A microphone through PortAudio (package sounddevice), on ALSA and elsewhere.

PortAudio does not say that a device is gone. On ALSA its thread ends and nothing is called any
more; a sound server may go on with digital silence. So what counts is whether samples come.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

import numpy as np

from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.errors import SourceError
from edge_inference.speech.audio.audio_input import AudioBlock, AudioInput

#: A device that gives nothing for so long is gone.
_SILENT_S = 1.0
#: About a second of pieces wait for a reader at the most.
_WAITING = 32

# PortAudio is one for the whole process.
_port = threading.Lock()
_opened: set[Microphone] = set()


class Microphone(AudioInput):
    """One channel of an input device, at 16 kHz where the device can, else at its own rate.

    Of a device that cannot give a single channel it is the mean of two, or the first of more.
    """

    is_live = True

    def __init__(self, name: str, piece_s: float) -> None:
        """``name`` is PortAudio's, a part of it or a number; empty for the default input."""
        self.origin = f"device:{name}" if name else "device"
        self._waiting: queue.Queue[AudioBlock] = queue.Queue(_WAITING)
        self._lost = False
        sounddevice = _import_sounddevice()
        self._error: type[Exception] = sounddevice.PortAudioError
        device: Any = int(name) if name.isdecimal() and len(name) < 10 else name or None
        with _port:
            try:
                _look_for_devices(sounddevice)
                channels, self._rate = _format_of(sounddevice, device)
                self._stream = sounddevice.InputStream(
                    device=device,
                    channels=channels,
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
            _opened.add(self)

    def read(self) -> AudioBlock:
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
        with _port:
            if self in _opened:
                _opened.remove(self)
                self._stream.close()

    def _take(self, data: Any, frames: int, moment: Any, status: Any) -> None:
        """Take what PortAudio has recorded; runs in its thread."""
        del frames, moment
        mono = data.mean(axis=1) if data.shape[1] == 2 else data[:, 0]
        samples = np.clip(np.nan_to_num(mono), -1.0, 1.0).astype(np.float32)
        samples.flags.writeable = False
        lost, self._lost = self._lost or bool(status.input_overflow), False
        try:
            self._waiting.put_nowait(AudioBlock(samples, self._rate, lost))
        except queue.Full:
            self._lost = True


def _look_for_devices(sounddevice: Any) -> None:
    """Have PortAudio list the devices anew: it does so only as it starts.

    That ends every stream, so it is left out while another microphone of this process is open.
    """
    if _opened:
        return
    if sounddevice._initialized:
        sounddevice._terminate()
    sounddevice._initialize()


def _format_of(sounddevice: Any, device: Any) -> tuple[int, int]:
    """Return channels and rate, the first that the device takes of what suits us best."""
    described = sounddevice.query_devices(device, "input")
    own_rate, most = int(described["default_samplerate"]), int(described["max_input_channels"])
    for channels in dict.fromkeys((1, 2, most)):
        for rate in (SAMPLE_RATE, own_rate):
            try:
                sounddevice.check_input_settings(
                    device=device, channels=channels, samplerate=rate, dtype="float32"
                )
            except sounddevice.PortAudioError:
                continue
            return channels, rate
    return 1, own_rate  # opening it says what is wrong


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package without PortAudio
        raise SourceError(
            f"a device needs the package sounddevice and PortAudio ({error}); install them with: "
            "pip install sounddevice, apt install libportaudio2"
        ) from error
    return sounddevice
