"""Reading of the audio source's audio: opening, real-time pacing and monitoring of a device."""

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
    """Opens and reads the input that ``source`` names; ``source`` returns a name and a pause."""

    def __init__(self, source: Callable[[], tuple[str, float]], health: Health) -> None:
        self._source = source
        self._health = health
        self._input: AudioInput | None = None
        self._opened: tuple[str, float] | None = None

    @property
    def is_file(self) -> bool:
        """Tell whether the open input is a file and not a device."""
        return self._input is not None and not self._input.is_live

    @property
    def is_outdated(self) -> bool:
        """Tell whether ``source`` has changed since the input was opened."""
        return self._opened != self._source()

    def open(self) -> AudioInput:
        """Open the input again from its beginning."""
        self.close()
        self._opened = self._source()
        self._input = open_audio_input(*self._opened)
        self._health.note("source", self._opened[0])
        return self._input

    def close_if_outdated(self) -> bool:
        """Close the input if ``source`` has changed; return whether it has."""
        is_outdated = self.is_outdated
        if is_outdated:
            self.close()
        return is_outdated

    def read(self) -> tuple[AudioInput, AudioBlock | None]:
        """Read the next block, None at the end; open the input first if it is closed."""
        audio_input = self._input or self.open()
        return audio_input, audio_input.read()

    def close(self) -> None:
        """Close the input."""
        audio_input, self._input = self._input, None
        if audio_input is not None:
            audio_input.close()


class RealTimePacer:
    """Delays the blocks of a file until a microphone would have recorded them."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    def wait(self, block: AudioBlock, worker: Worker) -> None:
        """Wait until the moment of the block's last sample."""
        length_s = len(block.samples) / block.sample_rate
        # After a pause of the whole process the remaining blocks do not catch up.
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

    def add_block(self, block: AudioBlock, origin: str) -> None:
        """Check a block of audio from the device."""
        if self._is_lost:
            self._is_lost = False
            self._health.set_fault("")
            self._logger.info(f"{origin} is back")
        self._zeros_s += len(block.samples) / block.sample_rate
        if block.samples.any():
            self._zeros_s = 0.0
        is_mute = self._zeros_s >= _MUTE_S
        if is_mute != self._is_mute:
            self._is_mute = is_mute
            self._health.set_warning(_MUTE if is_mute else "")
            if is_mute:
                self._logger.warning(_MUTE)
