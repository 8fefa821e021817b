"""Reading of the audio source's sound: opening, real-time pacing and monitoring of a device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edge_inference.core.runtime.health import Health
from edge_inference.core.runtime.worker import Worker
from edge_inference.errors import SourceError
from edge_inference.speech.audio.audio_input import AudioBlock, AudioInput
from edge_inference.speech.audio.sources import open_audio_input

# A microphone in a quiet room still has noise: digital silence for so long is a fault.
_MUTE_S = 5.0
_MUTE = "the device gives nothing but zeros: is it muted, or unplugged behind a sound server?"


class AudioReader:
    """Opens and reads the sound that ``source`` names; ``source`` returns a name and a pause."""

    def __init__(self, source: Callable[[], tuple[str, float]], health: Health) -> None:
        self._source = source
        self._health = health
        self._sound: AudioInput | None = None
        self._opened: tuple[str, float] | None = None

    @property
    def is_file(self) -> bool:
        """Tell whether an open sound comes from a file and not from a device."""
        return self._sound is not None and not self._sound.is_live

    @property
    def is_outdated(self) -> bool:
        """Tell whether ``source`` has changed since the sound was opened."""
        return self._opened != self._source()

    def open(self) -> AudioInput:
        """Open the sound again from its beginning."""
        self.close()
        self._opened = self._source()
        self._sound = open_audio_input(*self._opened)
        self._health.note("source", self._opened[0])
        return self._sound

    def close_if_outdated(self) -> bool:
        """Close the sound if ``source`` has changed; return whether it has."""
        is_outdated = self.is_outdated
        if is_outdated:
            self.close()
        return is_outdated

    def read(self) -> tuple[AudioInput, AudioBlock | None]:
        """Read the next piece, None at the end; open the sound first if it is closed."""
        sound = self._sound or self.open()
        return sound, sound.read()

    def close(self) -> None:
        """Close the sound."""
        sound, self._sound = self._sound, None
        if sound is not None:
            sound.close()


class RealTimePacer:
    """Delays the pieces of a file until a microphone would have recorded them."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    def wait(self, piece: AudioBlock, worker: Worker) -> None:
        """Wait until the moment of the piece's last sample."""
        length_s = len(piece.samples) / piece.sample_rate
        # After a pause of the whole process the remaining pieces do not catch up.
        self._due = max(self._due + length_s, time.monotonic() - length_s)
        worker.wait(self._due - time.monotonic())


class DeviceMonitor:
    """Reports on /diagnostics, and once in the log, that a device is lost, mute or back.

    Only one thread may call it.
    """

    def __init__(self, health: Health, logger: Any) -> None:
        self._health = health
        self._logger = logger
        self._is_lost = self._is_mute = False
        self._zeros_s = 0.0

    def add_error(self, error: SourceError) -> None:
        """Show the failure of a device until the device works again."""
        message = f"{error}; it is tried again every second"
        self._health.count_error("source", str(error), time.monotonic_ns())
        self._health.set_fault(message)
        if not self._is_lost:
            self._logger.error(message)
        self._is_lost = True

    def add_piece(self, piece: AudioBlock, origin: str) -> None:
        """Check a piece of sound from the device."""
        if self._is_lost:
            self._is_lost = False
            self._health.set_fault("")
            self._logger.info(f"{origin} is back")
        self._zeros_s += len(piece.samples) / piece.sample_rate
        if piece.samples.any():
            self._zeros_s = 0.0
        is_mute = self._zeros_s >= _MUTE_S
        if is_mute != self._is_mute:
            self._is_mute = is_mute
            self._health.set_warning(_MUTE if is_mute else "")
            if is_mute:
                self._logger.warning(_MUTE)
