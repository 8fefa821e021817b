"""Tracks whether the robot itself speaks, and which detected speech may be its own."""

from __future__ import annotations

import time
from collections.abc import Callable


class RobotSpeech:
    """Marks speech as mixed if the robot spoke at the same time.

    The robot counts as speaking for ``max_talk_s`` after its last message that it speaks, and for
    ``echo_tail_s`` after it has ended, because of the reverberation of the room. Times are those
    of ``steady_s``. ``update`` may be called from another thread.
    """

    def __init__(self, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._steady_s = steady_s
        self._until_s = self._since_s = steady_s()
        self._is_mixed = False

    def update(self, speaks: bool, max_talk_s: float, echo_tail_s: float) -> None:
        """Record the robot's message whether it speaks."""
        now_s = self._steady_s()
        if now_s >= self._until_s:
            self._since_s = now_s
        self._until_s = now_s + (max_talk_s if speaks else echo_tail_s)

    @property
    def duration_s(self) -> float:
        """Seconds for which the robot has spoken without a break; 0 while it is silent."""
        now_s = self._steady_s()
        return now_s - self._since_s if now_s < self._until_s else 0.0

    def is_mixed(self, is_speech_active: bool) -> bool:
        """Tell whether speech in the next audio chunk may be the robot's own.

        Call it before each chunk. ``is_speech_active``: an utterance continues from earlier
        chunks. An utterance that began while the robot spoke stays mixed to its end.
        """
        self._is_mixed = self._steady_s() < self._until_s or (self._is_mixed and is_speech_active)
        return self._is_mixed
