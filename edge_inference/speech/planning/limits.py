"""The limits of spoken commands: read from one file, enforced by planner and motion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_inference.core.settings import setting
from edge_inference.core.voice import ActionStep
from edge_inference.core.yaml_file import Section, load_yaml

#: Every action that a step can have.
ACTIONS = ("move", "turn", "go_to", "pick", "place", "stop", "look", "say")
# The values of a step; other actions have only a target.
_USED_VALUES = {"move": ("distance_m", "speed_mps"), "turn": ("angle_rad", "rate_radps")}
# Spoken for an action that is disabled.
_CANNOT = {
    "move": "I cannot drive",
    "turn": "I cannot turn",
    "go_to": "I cannot find my way to places",
    "pick": "I cannot pick things up",
    "place": "I cannot put things down",
    "look": "I cannot see",
    "say": "I cannot speak",
}


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
        ("move", "turn", "go_to", "stop", "look", "say"), "actions of the robot", choices=ACTIONS
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
        return None if "stop" in self.actions else "actions: stop must be among them"


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

    def objection(self, step: ActionStep) -> str:
        """Return the spoken objection to a step; empty if it is allowed."""
        if step.action not in ACTIONS:
            return f"I do not know how to {step.action}"
        if step.action not in self.plan.actions:
            return _CANNOT.get(step.action, f"I may not {step.action}")
        if step.action != "stop" and (
            unused := _find_unused_value(step)
        ):  # a stop is never refused
            return f"I do not know what {unused} means for {step.action}"
        if step.action == "move":
            return self._move_objection(step)
        if step.action == "turn":
            return self._turn_objection(step)
        if step.action == "go_to":
            return self._place_objection(step.target)
        if step.action in ("pick", "place"):
            return self._target_objection(step.target)
        if step.action == "say":
            return "" if step.target.strip() else "There is nothing to say"
        if step.action in ("stop", "look"):
            return ""
        # An action without limits must not run.
        return f"I do not know what limits {step.action} has"

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

    def _move_objection(self, step: ActionStep) -> str:
        limits = self.motion
        speed_mps = limits.default_speed_mps if step.speed_mps is None else step.speed_mps
        return (
            _value_objection(
                "The distance", step.distance_m, limits.max_distance_m, "meters", signed=True
            )
            or _value_objection("The speed", speed_mps, limits.max_speed_mps, "meters per second")
            or self._duration_objection(
                "The distance", step.distance_m, speed_mps, limits.acceleration_mps2
            )
        )

    def _turn_objection(self, step: ActionStep) -> str:
        limits = self.motion
        rate_radps = limits.default_rate_radps if step.rate_radps is None else step.rate_radps
        limit, max_rate = math.degrees(limits.max_angle_rad), math.degrees(limits.max_rate_radps)
        return (
            _value_objection("The turn", _degrees(step.angle_rad), limit, "degrees", signed=True)
            or _value_objection(
                "The turning rate", _degrees(rate_radps), max_rate, "degrees per second"
            )
            or self._duration_objection(
                "The turn", step.angle_rad, rate_radps, limits.angular_acceleration_radps2
            )
        )

    def _duration_objection(
        self, what: str, size: float | None, speed: float, acceleration: float
    ) -> str:
        """Return the objection to a step that would take longer than ``max_step_s``."""
        # Both ramps together add the duration of one ramp.
        duration_s = abs(size or 0.0) / speed + speed / acceleration
        max_s = self.plan.max_step_s
        if duration_s <= max_s:
            return ""
        return f"{what} would take {duration_s:.3g} seconds. I may take {max_s:g} seconds"

    def _place_objection(self, name: str) -> str:
        if name in self.places:
            return ""
        known = ", ".join(self.places) or "no place"
        return f"I do not know where {name or 'that'} is. I know {known}"

    def _target_objection(self, name: str) -> str:
        if name in self.plan.things:
            return ""
        known = ", ".join(self.plan.things) or "nothing"
        return f"I may not handle {name or 'that'}. I may handle {known}"


def read_limits(file: Path) -> VoiceLimits:
    """Read a limits file with the optional sections ``motion``, ``plan`` and ``places``.

    Raises ConfigError with file, line and key.
    """
    top = load_yaml(file)
    top.require_known("motion", "plan", "places")
    places = _places(top)
    if "" in places:
        raise top.section("places").error("", "expected a name for the place, got none")
    return VoiceLimits(
        motion=top.section("motion").read(MotionLimits) if "motion" in top else MotionLimits(),
        plan=top.section("plan").read(PlanLimits) if "plan" in top else PlanLimits(),
        places={name: place.read(NamedPlace) for name, place in places.items()},
    )


def _find_unused_value(step: ActionStep) -> str:
    """Return the name of a value that the step's action does not use; it may mean another step."""
    values: dict[str, object] = {
        "distance_m": step.distance_m,
        "angle_rad": step.angle_rad,
        "speed_mps": step.speed_mps,
        "rate_radps": step.rate_radps,
        "target": step.target,
    }
    used = _USED_VALUES.get(step.action, ("target",))
    return next((name for name, value in values.items() if value and name not in used), "")


def _places(top: Section) -> dict[str, Section]:
    return top.sections("places") if "places" in top else {}


def _value_objection(
    what: str, value: float | None, limit: float, unit: str, *, signed: bool = False
) -> str:
    if value is None or not math.isfinite(value):
        return f"{what} is not a number"
    size = abs(value) if signed else value
    # Rounding in a unit conversion must not reject the limit itself.
    if size > limit * (1 + 1e-9):
        return f"{what} of {size:g} {unit} is too much. I may do {limit:g} {unit}"
    if size <= 0:
        return f"{what} is zero"
    return ""


def _degrees(angle_rad: float | None) -> float | None:
    return None if angle_rad is None else round(math.degrees(angle_rad), 6)
