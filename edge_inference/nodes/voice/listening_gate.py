"""Which speech counts: on demand, and while the robot itself speaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_inference.core.settings import setting
from edge_inference.speech.recognition.robot_speech import RobotSpeech

# A client that listens repeats its request; the request of a client that has died expires.
_REQUEST_VALID_S = 2.0
_LONG_TALK = (
    "the robot has reported speaking for {:.0f} s without a break, so only a stop or a no counts; "
    "/robot_speaking has {} publishers: is each of them expected?"
)


@dataclass(frozen=True)
class ListeningSettings:
    """Parameters that decide when speech counts."""

    listening: str = setting(
        "always",
        "on_demand detects speech only while a goal of the action listen is active",
        choices=("always", "on_demand"),
    )
    listen_while_speaking: bool = setting(
        False,
        "true accepts commands also while /robot_speaking says that the robot itself speaks; false "
        "accepts only a stop or a no then",
    )
    echo_tail_s: float = setting(
        0.3,
        "how long the robot counts as speaking after its speech, while its echo lasts",
        unit="s",
        minimum=0.0,
        maximum=10.0,
    )
    max_talk_s: float = setting(
        15.0,
        "time without a message that the robot speaks, after which it counts as silent",
        unit="s",
        minimum=1.0,
        maximum=600.0,
    )


class ListeningGate:
    """Tells whether speech is requested and whether it may be the robot's own."""

    def __init__(self) -> None:
        self._robot_speech = RobotSpeech(time.monotonic)
        self._requested_until_s = 0.0
        #: True while speech may be the robot's own.
        self.is_mixed = False

    def set_speaking(self, is_speaking: bool, settings: ListeningSettings) -> None:
        """Handle a report that the robot speaks or is silent."""
        self._robot_speech.update(is_speaking, settings.max_talk_s, settings.echo_tail_s)

    def set_requested(self, is_requested: bool) -> None:
        """Handle a request to listen, or its end."""
        self._requested_until_s = time.monotonic() + _REQUEST_VALID_S if is_requested else 0.0

    def is_open(self, settings: ListeningSettings) -> bool:
        """Tell whether speech is to be detected now."""
        return settings.listening == "always" or time.monotonic() <= self._requested_until_s

    def update_mixed(self, is_speech: bool, settings: ListeningSettings) -> bool:
        """Update ``is_mixed`` before each chunk; return whether mixed speech ends with it.

        ``is_speech`` tells whether an utterance is in progress.
        """
        was_mixed, is_mixed = self.is_mixed, self._robot_speech.is_mixed(is_speech)
        self.is_mixed = is_mixed and not settings.listen_while_speaking
        return was_mixed and not self.is_mixed

    def advice(self, settings: ListeningSettings, count_publishers: Callable[[], int]) -> str:
        """Return a hint if the robot speaks for too long without a break, else an empty text.

        ``count_publishers`` counts the publishers of the reports.
        """
        duration_s = self._robot_speech.duration_s
        if settings.listen_while_speaking or duration_s <= settings.max_talk_s:
            return ""
        return _LONG_TALK.format(duration_s, count_publishers())
