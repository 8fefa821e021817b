"""The executors of this package: places by navigation, speech, and what the camera sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_inference.core.voice import ActionStep
from edge_inference.nodes.voice.navigation.client import NavigationClient
from edge_inference.speech.actions.executor import ActionExecutor
from edge_inference.speech.actions.limits import NamedPlace

_STILL_DRIVING = "Attention, navigation may still be driving me"


class NavigationExecutor(ActionExecutor):
    """Drives to the place that the step names."""

    drives_base = True

    def __init__(self, navigation: NavigationClient, places: Mapping[str, NamedPlace]) -> None:
        self._navigation = navigation
        self._places = places
        self._problem: str = ""

    def start(self, step: ActionStep) -> None:
        """Send the goal."""
        place = self._places.get(step.target)
        self._problem = "" if place else f"I do not know where {step.target or 'that'} is"
        if place:
            self._navigation.go(place)

    def outcome(self) -> str | None:
        """Return the outcome of the goal."""
        return self._problem or self._navigation.outcome

    def cancel(self) -> None:
        """Cancel this node's goal."""
        self._navigation.cancel()

    def cancel_all(self) -> None:
        """Cancel the goals of all clients of navigation."""
        self._navigation.cancel_all()

    @property
    def warning(self) -> str:
        """Tell that navigation may still drive the robot although its goal was canceled."""
        return _STILL_DRIVING if self._navigation.problem else ""


class SayExecutor(ActionExecutor):
    """Says the target of the step."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def start(self, step: ActionStep) -> None:
        """Say it."""
        self._say(step.target)

    def outcome(self) -> str | None:
        """Return that it is done: the robot does not wait for the end of speech."""
        return ""

    def cancel(self) -> None:
        """Do nothing, as the text is with another node."""


class SceneExecutor(ActionExecutor):
    """Shows the step in the feedback for one cycle.

    The node ``scene_reporter`` answers it, and the robot does not wait for the answer.
    """

    def __init__(self) -> None:
        self._is_shown = False

    def start(self, step: ActionStep) -> None:
        """Wait for one cycle."""
        self._is_shown = False

    def outcome(self) -> str | None:
        """Return None once."""
        was_shown, self._is_shown = self._is_shown, True
        return "" if was_shown else None

    def cancel(self) -> None:
        """Do nothing, as nothing goes on."""
