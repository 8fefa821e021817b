"""An action: one row of the table, and everything that this package knows about it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_inference.core.settings import rules
from edge_inference.core.voice import NO, STEP_VALUES, STOP, YES, ActionStep
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.slots import ActionSlot, SlotValues

#: Executors of this package: velocities, places by Nav2, speech, and what the camera sees.
MOTION, NAVIGATION, SAY, SCENE = "motion", "navigation", "say", "scene"
#: The values of a step that is executed as a velocity: straight on, or on the spot.
STRAIGHT_VALUES, TURN_VALUES = ("distance_m", "speed_mps"), ("angle_rad", "rate_radps")

_NAME = re.compile(r"[a-z][a-z0-9_]*")

Planner = Callable[[SlotValues, VoiceLimits], Sequence[ActionStep]]
Objection = Callable[[ActionStep, VoiceLimits], str]


def never_objects(step: ActionStep, limits: VoiceLimits) -> str:
    """Return no objection: the action has no limits of its own."""
    return ""


def describe_by_name(step: ActionStep) -> str:
    """Return the name of an action and its target, to speak."""
    return f"{step.action.replace('_', ' ')} {step.target}".strip()


@dataclass(frozen=True)
class StandardIntent:
    """The intent of hri_actions_msgs: the name of its constant, and the role of each slot."""

    constant: str
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """One action: how an intent becomes steps, their limits, and who executes them.

    ``plan`` makes the steps of the intent of this name from the values of its ``slots``; None if
    there is no such intent. It raises UnclearError with the spoken reason of a refusal. The steps
    may be those of other actions.

    ``executor`` names who executes a step: one of this package, or an entry point
    ``edge_inference.action_executors`` of another one; empty if no step has this action. ``uses``
    are the values of a step that it uses: fields of ActionStep, or names in ``ActionStep.values``.
    ``objection`` returns why a step must not be executed, to speak, else an empty text; an action
    with an executor needs one. ``limits_class`` is a settings class of its own limits, section
    ``action_limits.<name>`` of the limits file; functions get it by ``limits.of(limits_class)``.

    ``refusal`` is spoken where the action is not among those of the limits file, or where nothing
    executes it. ``describe`` returns what is said while a step is executed. An action that does not
    move the robot (``moves_robot`` is False) needs no confirmation, and is allowed after a
    negation. A step with ``has_time_limit`` is canceled after ``max_step_s``. ``examples`` are
    texts and their plans for a language model.
    """

    name: str
    refusal: str
    plan: Planner | None = None
    slots: tuple[ActionSlot, ...] = ()
    executor: str = ""
    uses: tuple[str, ...] = ()
    objection: Objection | None = None
    limits_class: type[object] | None = None
    describe: Callable[[ActionStep], str] = describe_by_name
    moves_robot: bool = True
    has_time_limit: bool = True
    examples: tuple[tuple[str, str], ...] = ()
    standard_intent: StandardIntent | None = None
    #: Whether a robot has it without a list of actions in the limits file; only in this package.
    is_default: bool = False


def action_problem(action: Action) -> str | None:
    """Return what is wrong with a row, or None."""
    if not _NAME.fullmatch(action.name) or action.name in (YES, NO):
        return f"name: expected lower-case letters, digits and _, and no answer, got {action.name}"
    if not action.refusal:
        return "refusal: expected a sentence such as 'I cannot drive', got none"
    if action.plan is None and not action.executor:
        return "expected plan (for an intent), executor (for steps) or both, got neither"
    if action.executor and action.objection is None:
        return "objection: expected a function, as a step without limits must not be executed"
    if action.name != STOP:
        if action.executor == MOTION and action.uses not in (STRAIGHT_VALUES, TURN_VALUES):
            return f"uses: expected {STRAIGHT_VALUES} or {TURN_VALUES}, got {action.uses}"
        if action.executor in (MOTION, NAVIGATION) and not action.moves_robot:
            return "moves_robot: expected True for steps that drive the base"
    names = [slot.name for slot in action.slots]
    if len(set(names)) != len(names):
        return f"slots: expected each name once, got {', '.join(names)}"
    return _limits_class_problem(action)


def _limits_class_problem(action: Action) -> str | None:
    if action.limits_class is None:
        return None
    try:
        required = [rule.name for rule in rules(action.limits_class).values() if rule.required]
    except TypeError as error:
        return f"limits_class: {error}"
    return f"limits_class: {required[0]} needs a default" if required else None


def find_unused_value(step: ActionStep, uses: Sequence[str]) -> str:
    """Return the name of a value that an action does not use; it may mean another step.

    Of two values of one name, one is not used.
    """
    unused = [name for name in STEP_VALUES if getattr(step, name) and name not in uses]
    others = set(uses) - set(STEP_VALUES)
    for value in step.values:
        if value.name not in others:
            unused.append(value.name)
        others.discard(value.name)
    return unused[0] if unused else ""


def find_non_number(step: ActionStep) -> str:
    """Return the name of a value that is NaN or infinite."""
    values = [(name, getattr(step, name)) for name in STEP_VALUES]
    values += [(value.name, value.value) for value in step.values]
    wrong = (n for n, value in values if isinstance(value, float) and not math.isfinite(value))
    return next(wrong, "")
