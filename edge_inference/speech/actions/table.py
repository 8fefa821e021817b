"""The table of actions: those of this package, and entry points ``edge_inference.actions``.

A package adds an action with one line in its ``setup.cfg``, and the user lists it in ``actions``
of the limits file. CONTRIBUTING.md describes all that an action needs.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_inference.core.extension_table import ExtensionTable
from edge_inference.core.voice import STOP, ActionStep
from edge_inference.speech.actions import driving, errands, standing
from edge_inference.speech.actions.action import (
    MOTION,
    TURN_VALUES,
    Action,
    action_problem,
    find_non_number,
    find_unused_value,
)
from edge_inference.speech.actions.limits import PlanLimits, VoiceLimits


def _row_problem(action: Action, rows: Mapping[str, Action]) -> str | None:
    if action.is_default:
        return "is_default: expected False, because a user allows it in the limits file"
    for other in rows.values():
        if action.limits_class is not None and action.limits_class is other.limits_class:
            return f"limits_class: {other.name} has the same; give each action one of its own"
    return action_problem(action)


ACTIONS = ExtensionTable(
    "actions",
    "action",
    Action,
    [
        driving.MOVE,
        driving.TURN,
        errands.GO_TO,
        errands.PICK,
        errands.PLACE,
        standing.STOP,
        standing.LOOK,
        standing.SAYING,
    ],
    _row_problem,
)


def find_action(name: str) -> Action | None:
    """Return an action, or None for an unknown or unusable one."""
    return ACTIONS.rows().get(name)


def step_actions() -> tuple[str, ...]:
    """Return the names of the actions that a step can have."""
    return tuple(name for name, action in ACTIONS.rows().items() if action.executor)


def may_move(name: str) -> bool:
    """Tell whether an action may move the robot: each that is not known to leave it standing."""
    action = find_action(name)
    return action is None or action.moves_robot


def executor_of(name: str) -> str:
    """Return who executes the steps of an action; empty if nothing does."""
    action = find_action(name)
    return "" if action is None else action.executor


def is_velocity(name: str) -> bool:
    """Tell whether steps of an action are executed as velocities."""
    return name != STOP and executor_of(name) == MOTION


def is_turn(name: str) -> bool:
    """Tell whether steps of an action are turns on the spot."""
    action = find_action(name)
    return action is not None and action.executor == MOTION and action.uses == TURN_VALUES


def is_allowed(action: Action, limits: PlanLimits) -> bool:
    """Tell whether the robot has an action by its limits."""
    return action.name in limits.actions if limits.actions else action.is_default


def step_objection(step: ActionStep, limits: VoiceLimits) -> str:
    """Return the spoken objection to a step; empty if it is allowed."""
    action = find_action(step.action)
    if action is None or not action.executor:
        return f"I do not know how to {step.action}"
    if not is_allowed(action, limits.plan):
        return action.refusal
    if step.action == STOP:  # a stop is never refused
        return ""
    if unused := find_unused_value(step, action.uses):
        return f"I do not know what {unused} means for {step.action}"
    if action.executor == MOTION:
        check = driving.turn_objection if is_turn(action.name) else driving.straight_objection
        if objection := check(step, limits):
            return objection
    if wrong := find_non_number(step):
        return f"The {wrong.replace('_', ' ')} is not a number"
    # An action without limits, or whose function forgets to return, must not run.
    own = None if action.objection is None else action.objection(step, limits)
    return own if isinstance(own, str) else f"I do not know what limits {step.action} has"


def describe_step(step: ActionStep) -> str:
    """Return the spoken description of a step."""
    action = find_action(step.action)
    return step.action if action is None else action.describe(step)
