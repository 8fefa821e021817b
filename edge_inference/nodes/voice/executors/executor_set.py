"""The executors of a command node: its own, and those of other packages for its actions."""

from __future__ import annotations

from collections.abc import Callable

from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import Component
from edge_inference.nodes.voice.executors.isolated_executor import IsolatedExecutor
from edge_inference.nodes.voice.executors.own_executors import (
    NavigationExecutor,
    SayExecutor,
    SceneExecutor,
)
from edge_inference.nodes.voice.navigation.client import NavigationClient
from edge_inference.speech.actions.action import MOTION, NAVIGATION, SAY, SCENE
from edge_inference.speech.actions.executor import EXECUTORS, ActionExecutor
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.table import ACTIONS, is_allowed


def make_executors(
    node: Component,
    limits: VoiceLimits,
    navigation: NavigationClient,
    say: Callable[[str], None],
    cancel_timeout_s: Callable[[], float],
) -> tuple[dict[str, ActionExecutor], list[str]]:
    """Return the executors by name, and why actions of the limits have none.

    The node refuses such an action when a plan reaches it.
    """
    executors: dict[str, ActionExecutor] = {
        NAVIGATION: NavigationExecutor(navigation, limits.places),
        SAY: SayExecutor(say),
        SCENE: SceneExecutor(),
    }
    problems: dict[str, str] = {}
    for action in ACTIONS.rows().values():
        name = action.executor
        if not name or name in (*executors, *problems, MOTION):
            continue
        if not is_allowed(action, limits.plan):
            continue
        try:
            # Not ``node.report_exception``, which stops the robot: here only a step fails.
            executors[name] = IsolatedExecutor(
                EXECUTORS.get(name),
                node,
                limits,
                lambda error: Component.report_exception(node, error),
                cancel_timeout_s,
            )
        except EdgeInferenceError as error:
            problems[name] = f"nothing executes the action {action.name!r}: {error}"
    return executors, list(problems.values())
