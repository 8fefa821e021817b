"""Tells on /diagnostics and once in the log that a device is gone, mute, or back."""

from __future__ import annotations

import time
from typing import Any

from edge_inference.core.runtime.health import Health
from edge_inference.errors import SourceError
from edge_inference.speech.audio.audio_input import AudioBlock

# Digital silence for so long comes from no room.
_MUTE_S = 5.0
_MUTE = "the device gives nothing but zeros: is it muted, or unplugged behind a sound server?"


class DeviceWatch:
    """Follows one device through ``lost`` and ``heard``; for one thread."""

    def __init__(self, health: Health, logger: Any) -> None:
        self._health = health
        self._logger = logger
        self._is_lost = self._is_mute = False
        self._zeros_s = 0.0

    def lost(self, error: SourceError) -> None:
        """Show a device that fails until it is heard again."""
        self._health.count_error("source", str(error), time.monotonic_ns())
        self._health.set_fault(f"{error}; it is tried again every second")
        if not self._is_lost:
            self._logger.error(f"{error}; it is tried again every second")
        self._is_lost = True

    def heard(self, piece: AudioBlock, origin: str) -> None:
        """Look at what a device gives."""
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
