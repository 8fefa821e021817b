"""Whether the robot itself speaks, and which speech may be its own."""

from __future__ import annotations

import time
from collections.abc import Callable


class RobotSpeech:
    """Tells speech that was heard while the robot itself spoke from other speech.

    ``max_talk_s`` is how long it counts as speaking since it last said so, ``echo_tail_s`` how
    long the room goes on to sound. Times are those of ``steady_s``. ``tell`` may come in a thread
    of its own.
    """

    def __init__(self, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._steady_s = steady_s
        self._until_s = self._since_s = steady_s()
        self._is_mixed = False

    def update(self, speaks: bool, max_talk_s: float, echo_tail_s: float) -> None:
        """Take note of what the robot says of itself."""
        now_s = self._steady_s()
        if now_s >= self._until_s:
            self._since_s = now_s
        self._until_s = now_s + (max_talk_s if speaks else echo_tail_s)

    @property
    def duration_s(self) -> float:
        """For how long the robot has spoken without a break; 0 while it does not."""
        now_s = self._steady_s()
        return now_s - self._since_s if now_s < self._until_s else 0.0

    def is_mixed(self, is_speech_active: bool) -> bool:
        """Tell whether speech now may be the robot's own.

        To be asked before each piece of sound; ``is_speech_active`` tells whether speech goes on
        from the pieces before it. What began while the robot spoke stays mixed to its end.
        """
        self._is_mixed = self._steady_s() < self._until_s or (self._is_mixed and is_speech_active)
        return self._is_mixed
