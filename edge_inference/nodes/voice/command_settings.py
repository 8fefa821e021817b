"""The parameters of the command node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_inference.core.settings import setting
from edge_inference.nodes.conversions.command import TwistAdapter, TwistStampedAdapter
from edge_inference.speech.language.stop_phrases import StopSettings


@dataclass(frozen=True)
class CommandSettings(StopSettings):
    """Parameters of the command node."""

    rate_hz: float = setting(25.0, "velocities a second", unit="Hz", minimum=20.0, maximum=200.0)
    zeros_s: float = setting(
        1.0,
        "zero velocity goes on so long after a motion; then the topic is left to others",
        unit="s",
        minimum=0.1,
        maximum=3600.0,
    )
    cancel_s: float = setting(
        1.0,
        "navigation that has not ended a goal so long after it was told to is told again, five "
        "times at the most, and it is an error",
        unit="s",
        minimum=0.1,
        maximum=60.0,
    )
    stamped: bool = setting(
        False,
        "true publishes TwistStamped, as ros2_control from Jazzy and Nav2 from Kilted on expect it",
        read_only=True,
    )
    frame_id: str = setting("base_link", "frame_id of stamped velocities", read_only=True)
    limits: str = setting(
        "", "file that says what the robot may do; empty for the shipped one", read_only=True
    )

    def velocity_adapter(self, now_ns: Callable[[], int]) -> TwistAdapter | TwistStampedAdapter:
        """Return how velocities look as messages; the clock is for stamped ones."""
        return TwistStampedAdapter(self.frame_id, now_ns) if self.stamped else TwistAdapter()
