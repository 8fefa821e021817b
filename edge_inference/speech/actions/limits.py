"""The limits of spoken commands; ``step_objection`` enforces them in planner and motion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edge_inference.core.settings import setting
from edge_inference.core.voice import STOP

Limits = TypeVar("Limits")


@dataclass(frozen=True)
class MotionLimits:
    """Limits of distance and speed. ``default_*`` applies if the command names no value."""

    max_speed_mps: float = setting(0.5, "highest speed", unit="m/s", minimum=0.01, maximum=5.0)
    default_speed_mps: float = setting(
        0.25, "speed if the command has none", unit="m/s", minimum=0.01
    )
    acceleration_mps2: float = setting(
        0.5, "change of speed", unit="m/s²", minimum=0.01, maximum=50.0
    )
    max_rate_radps: float = setting(
        1.0, "highest turning rate", unit="rad/s", minimum=0.01, maximum=6.3
    )
    default_rate_radps: float = setting(
        0.5, "turning rate if the command has none", unit="rad/s", minimum=0.01
    )
    angular_acceleration_radps2: float = setting(
        1.0, "change of turning rate", unit="rad/s²", minimum=0.01, maximum=50.0
    )
    max_distance_m: float = setting(
        10.0, "longest distance of one step", unit="m", minimum=0.01, maximum=10_000.0
    )
    default_distance_m: float = setting(
        0.5, "distance if the command has none", unit="m", minimum=0.01
    )
    max_angle_rad: float = setting(
        2 * math.pi, "largest turn of one step", unit="rad", minimum=0.01, maximum=100.0
    )
    default_angle_rad: float = setting(
        math.pi / 2, "turn if the command has none", unit="rad", minimum=0.01
    )

    def check(self) -> str | None:
        """Return the contradiction between settings, or None."""
        for what in ("speed_mps", "rate_radps", "distance_m", "angle_rad"):
            default, limit = getattr(self, f"default_{what}"), getattr(self, f"max_{what}")
            if default > limit:
                return f"default_{what}: {default:g} is above max_{what}, {limit:g}"
        return None


@dataclass(frozen=True)
class PlanLimits:
    """Limits of a plan, and its timeouts."""

    actions: tuple[str, ...] = setting(
        (), "actions of the robot; without this key those that need only a base"
    )
    max_steps: int = setting(8, "most steps of one plan", minimum=1, maximum=100)
    max_step_s: float = setting(
        60.0, "longest duration of one step", unit="s", minimum=0.1, maximum=86_400.0
    )
    max_age_s: float = setting(
        3.0, "from the end of speech to the start of a plan", unit="s", minimum=0.05, maximum=60.0
    )
    # The slowest control cycle of the command node is 50 ms.
    dead_man_s: float = setting(
        0.25, "longest time between control cycles", unit="s", minimum=0.1, maximum=2.0
    )
    confirmation_s: float = setting(10.0, "time to confirm", unit="s", minimum=1.0, maximum=600.0)
    things: tuple[str, ...] = setting((), "objects that may be picked, placed or looked at")

    def check(self) -> str | None:
        """Return the contradiction between settings, or None."""
        is_valid = not self.actions or STOP in self.actions
        return None if is_valid else f"actions: {STOP} must be among them"


@dataclass(frozen=True)
class NamedPlace:
    """The pose of a named place, in the frame of the map."""

    x_m: float = setting(description="position", unit="m")
    y_m: float = setting(description="position", unit="m")
    yaw_rad: float = setting(0.0, "heading", unit="rad")
    frame_id: str = setting("map", "frame of the position")

    def check(self) -> str | None:
        """Return the contradiction between settings, or None."""
        return None if self.frame_id else "frame_id: expected the name of a frame, got none"


@dataclass(frozen=True)
class VoiceLimits:
    """All limits of spoken commands."""

    motion: MotionLimits = field(default_factory=MotionLimits)
    plan: PlanLimits = field(default_factory=PlanLimits)
    places: Mapping[str, NamedPlace] = field(default_factory=dict)
    #: The limits of single actions, by their class.
    action_limits: Mapping[type[Any], Any] = field(default_factory=dict)

    def of(self, limits_class: type[Limits]) -> Limits:
        """Return the limits of one action by their class; the defaults if none are set."""
        found: Limits | None = self.action_limits.get(limits_class)
        return limits_class() if found is None else found

    def objection_to_age(
        self, stamp_ns: int, now_ns: int, *, only_stops: bool = False, steady_age_s: float = 0.0
    ) -> str:
        """Return the spoken objection to the age of a command; a stop is never too late.

        ``steady_age_s`` is its age by the steady clock, if known.
        """
        age_s, max_s = (now_ns - stamp_ns) / 1e9, self.plan.max_age_s
        if age_s < -max_s:
            return f"That was said {-age_s:.1f} seconds from now: two clocks disagree"
        age_s = max(age_s, steady_age_s)
        if age_s > max_s and not only_stops:
            return f"That was said {age_s:.1f} seconds ago, so I leave it"
        return ""
