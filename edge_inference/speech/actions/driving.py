"""Straight on and on the spot: the actions that are executed as velocities."""

from __future__ import annotations

import math

from edge_inference.core.voice import ActionStep
from edge_inference.speech.actions.action import (
    MOTION,
    STRAIGHT_VALUES,
    TURN_VALUES,
    Action,
    never_objects,
)
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.slots import NumberSlot, SlotValues, UnclearError, WordSlot


def straight_objection(step: ActionStep, limits: VoiceLimits) -> str:
    """Return the spoken objection to a step straight on; empty if it is within the limits."""
    motion = limits.motion
    speed_mps = motion.default_speed_mps if step.speed_mps is None else step.speed_mps
    return (
        _value_objection(
            "The distance", step.distance_m, motion.max_distance_m, "meters", signed=True
        )
        or _value_objection("The speed", speed_mps, motion.max_speed_mps, "meters per second")
        or _duration_objection(
            "The distance", step.distance_m, speed_mps, motion.acceleration_mps2, limits
        )
    )


def turn_objection(step: ActionStep, limits: VoiceLimits) -> str:
    """Return the spoken objection to a turn on the spot; empty if it is within the limits."""
    motion = limits.motion
    rate_radps = motion.default_rate_radps if step.rate_radps is None else step.rate_radps
    limit, max_rate = math.degrees(motion.max_angle_rad), math.degrees(motion.max_rate_radps)
    return (
        _value_objection("The turn", _degrees(step.angle_rad), limit, "degrees", signed=True)
        or _value_objection(
            "The turning rate", _degrees(rate_radps), max_rate, "degrees per second"
        )
        or _duration_objection(
            "The turn", step.angle_rad, rate_radps, motion.angular_acceleration_radps2, limits
        )
    )


def _plan_move(values: SlotValues, limits: VoiceLimits) -> list[ActionStep]:
    speed_mps = values.number("speed")
    distance_m, duration_s = values.number("distance"), values.number("duration")
    if distance_m is not None and duration_s is not None:
        raise UnclearError("I can go for a distance or for a time, not for both")
    speed_mps = limits.motion.default_speed_mps if speed_mps is None else speed_mps
    if duration_s is not None:
        distance_m = duration_s * speed_mps
    elif distance_m is None:
        distance_m = limits.motion.default_distance_m
    signed_m = -distance_m if values.word("direction") == "backward" else distance_m
    return [ActionStep("move", distance_m=signed_m, speed_mps=speed_mps)]


def _plan_turn(values: SlotValues, limits: VoiceLimits) -> list[ActionStep]:
    direction, motion = values.word("direction"), limits.motion
    angle_rad, rate_radps = values.number("angle"), values.number("rate")
    if angle_rad is None:
        angle_rad = math.pi if direction == "around" else motion.default_angle_rad
    signed_rad = -angle_rad if direction == "right" else angle_rad
    rate_radps = motion.default_rate_radps if rate_radps is None else rate_radps
    return [ActionStep("turn", angle_rad=signed_rad, rate_radps=rate_radps)]


def describe_straight(step: ActionStep) -> str:
    """Return what is said while the robot drives straight on."""
    distance_m = step.distance_m or 0.0
    direction = "forward" if distance_m >= 0 else "back"
    return f"going {direction} {abs(distance_m):.3g} meters"


def describe_turn(step: ActionStep) -> str:
    """Return what is said while the robot turns."""
    angle_rad = step.angle_rad or 0.0
    side = "left" if angle_rad >= 0 else "right"
    return f"turning {side} {abs(math.degrees(angle_rad)):.3g} degrees"


# The table checks the limits of motion for each step that is executed as a velocity.
MOVE = Action(
    name="move",
    refusal="I cannot drive",
    plan=_plan_move,
    slots=(
        WordSlot("direction", ("forward", "backward")),
        NumberSlot("distance", "m"),
        NumberSlot("duration", "s"),
        NumberSlot("speed", "m/s"),
    ),
    executor=MOTION,
    uses=STRAIGHT_VALUES,
    objection=never_objects,
    describe=describe_straight,
    is_default=True,
)
TURN = Action(
    name="turn",
    refusal="I cannot turn",
    plan=_plan_turn,
    slots=(
        WordSlot("direction", ("left", "right", "around")),
        NumberSlot("angle", "rad"),
        NumberSlot("rate", "rad/s"),
    ),
    executor=MOTION,
    uses=TURN_VALUES,
    objection=never_objects,
    describe=describe_turn,
    is_default=True,
)


def _duration_objection(
    what: str, size: float | None, speed: float, acceleration: float, limits: VoiceLimits
) -> str:
    """Return the objection to a step that would take longer than ``max_step_s``."""
    # Both ramps together add the duration of one ramp.
    duration_s = abs(size or 0.0) / speed + speed / acceleration
    max_s = limits.plan.max_step_s
    if duration_s <= max_s:
        return ""
    return f"{what} would take {duration_s:.3g} seconds. I may take {max_s:g} seconds"


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
