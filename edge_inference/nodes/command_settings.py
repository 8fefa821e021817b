"""The parameters of the command node."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.settings import setting


@dataclass(frozen=True)
class CommandSettings:
    """Parameters of the command node."""

    rate_hz: float = setting(25.0, "velocities a second", unit="Hz", minimum=20.0, maximum=200.0)
    zeros_s: float = setting(
        1.0,
        "zero velocity goes on so long after a motion; then the topic is left to others",
        unit="s",
        minimum=0.1,
        maximum=3600.0,
    )
    limits: str = setting(
        "", "file that says what the robot may do; empty for the shipped one", read_only=True
    )
