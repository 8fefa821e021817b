"""Microphone input through PortAudio (package sounddevice).

PortAudio does not report that a device was removed. On ALSA its thread ends and the callback is
no longer called; a sound server may continue with digital silence. A read timeout detects the
first case.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

import numpy as np

from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.errors import SourceError
from edge_inference.speech.audio.audio_input import AudioBlock, AudioInput

#: A device that delivers no samples for this long counts as removed.
_READ_TIMEOUT_S = 1.0
#: The queue holds at most about one second of blocks.
_QUEUE_SIZE = 32

# PortAudio has one state for the whole process.
_portaudio_lock = threading.Lock()
_open_microphones: set[Microphone] = set()


class Microphone(AudioInput):
    """One channel of an input device, at 16 kHz if the device supports it, else at its own rate.

    If the device has no mono format, the channel is the mean of two channels or the first of more.
    """

    is_live = True

    def __init__(self, name: str, block_s: float) -> None:
        """``name`` is PortAudio's name, a part of it or a number; empty for the default input."""
        self.origin = f"device:{name}" if name else "device"
        self._queue: queue.Queue[AudioBlock] = queue.Queue(_QUEUE_SIZE)
        self._has_lost = False
        sounddevice = _import_sounddevice()
        self._error: type[Exception] = sounddevice.PortAudioError
        device: Any = int(name) if name.isdecimal() and len(name) < 10 else name or None
        with _portaudio_lock:
            try:
                _rescan_devices(sounddevice)
                channels, self._rate = _choose_format(sounddevice, device)
                self._stream = sounddevice.InputStream(
                    device=device,
                    channels=channels,
                    samplerate=self._rate,
                    blocksize=round(block_s * self._rate),
                    dtype="float32",
                    callback=self._on_audio,
                )
            except (self._error, ValueError) as error:
                raise SourceError(
                    f"{self.origin} cannot be opened: {error}; check that it is plugged in and "
                    "not in use; 'python3 -m sounddevice' lists the devices"
                ) from error
            _open_microphones.add(self)

    def read(self) -> AudioBlock:
        """Wait for the next block. Raises SourceError if the device delivers no more samples.

        Recording starts with the first call.
        """
        try:
            if self._stream.stopped:
                self._stream.start()
            return self._queue.get(timeout=_READ_TIMEOUT_S)
        except queue.Empty:
            raise SourceError(
                f"{self.origin} delivers no more samples; check that it is plugged in"
            ) from None
        except self._error as error:
            raise SourceError(f"{self.origin} does not record: {error}") from error

    def close(self) -> None:
        """Stop the stream, also that of a removed device."""
        with _portaudio_lock:
            if self in _open_microphones:
                _open_microphones.remove(self)
                self._stream.close()

    def _on_audio(self, data: Any, frames: int, time_info: Any, status: Any) -> None:
        """Queue a recorded block; PortAudio calls this in its own thread."""
        del frames, time_info
        mono = data.mean(axis=1) if data.shape[1] == 2 else data[:, 0]
        samples = np.clip(np.nan_to_num(mono), -1.0, 1.0).astype(np.float32)
        samples.flags.writeable = False
        lost, self._has_lost = self._has_lost or bool(status.input_overflow), False
        try:
            self._queue.put_nowait(AudioBlock(samples, self._rate, lost))
        except queue.Full:
            self._has_lost = True


def _rescan_devices(sounddevice: Any) -> None:
    """Restart PortAudio, because it lists the devices only when it starts.

    A restart ends every stream, so it is skipped while another microphone of this process is open.
    """
    if _open_microphones:
        return
    if sounddevice._initialized:
        sounddevice._terminate()
    sounddevice._initialize()


def _choose_format(sounddevice: Any, device: Any) -> tuple[int, int]:
    """Return the first pair of channels and rate that the device accepts, best pair first."""
    described = sounddevice.query_devices(device, "input")
    default_rate, max_channels = (
        int(described["default_samplerate"]),
        int(described["max_input_channels"]),
    )
    for channels in dict.fromkeys((1, 2, max_channels)):
        for rate in (SAMPLE_RATE, default_rate):
            try:
                sounddevice.check_input_settings(
                    device=device, channels=channels, samplerate=rate, dtype="float32"
                )
            except sounddevice.PortAudioError:
                continue
            return channels, rate
    return 1, default_rate  # opening the device reports the error


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package without PortAudio
        raise SourceError(
            f"audio devices need the package sounddevice and PortAudio ({error}); install them "
            "with: pip install sounddevice, apt install libportaudio2"
        ) from error
    return sounddevice
