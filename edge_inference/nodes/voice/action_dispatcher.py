"""Execution of the plan steps that are not motions of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_inference.nodes.voice.navigation.client import NavigationClient
from edge_inference.speech.planning.limits import NamedPlace
from edge_inference.speech.planning.motion import Motion, MotionFeedback, MotionState

_NO_ARM = "I have no arm"
_STILL_DRIVING = "Attention, navigation may still be driving me"


class ActionDispatcher:
    """Executes the steps for which a plan waits; call ``update`` in every control cycle.

    A step to look appears in the feedback for one cycle. The node ``scene_reporter`` answers it,
    and the robot does not wait for the answer.
    """

    def __init__(
        self,
        navigation: NavigationClient,
        places: Mapping[str, NamedPlace],
        say: Callable[[str], None],
    ) -> None:
        self._navigation = navigation
        self._places = places
        self._say = say
        #: Stamp of the plan and index of the step that navigation executes.
        self._navigation_step: tuple[int, int] | None = None
        #: Stamp of the plan and index of the last step to look.
        self._look_step: tuple[int, int] | None = None
        self._has_warned = False

    @property
    def is_navigating(self) -> bool:
        """Tell whether navigation drives the robot for a step."""
        return self._navigation_step is not None

    @property
    def may_still_drive(self) -> bool:
        """Tell whether navigation may still drive the robot although its goal was canceled."""
        return bool(self._navigation.problem)

    def update(self, motion: Motion, now_ns: int, is_still: bool) -> None:
        """Begin, continue or cancel the current step; warn if navigation does not stop."""
        had_warned, self._has_warned = self._has_warned, self.may_still_drive
        if self._has_warned and not had_warned:
            self._say(_STILL_DRIVING)
        while (feedback := motion.feedback(now_ns)).state is MotionState.WAITING and is_still:
            assert feedback.step is not None
            problem: str | None = ""
            match feedback.step.action:
                case "go_to":
                    problem = self._navigate(feedback)
                    if problem is None:
                        return
                case "look":
                    if self._look_step != (step := (feedback.stamp_ns, feedback.index)):
                        self._look_step = step
                        break
                case "say":
                    self._say(feedback.step.target)
                case "pick" | "place":
                    problem = _NO_ARM
                case unknown:
                    problem = f"I do not know how to {unknown}"
            if problem:
                motion.step_failed(problem, now_ns)
            else:
                motion.step_done(now_ns)
        if self._navigation_step is not None:
            self.cancel()

    def cancel(self) -> None:
        """Cancel this node's goal of navigation."""
        self._navigation_step = None
        self._navigation.cancel()

    def cancel_all(self) -> None:
        """Cancel the goals of all clients of navigation."""
        self._navigation_step = None
        self._navigation.cancel_all()

    def _navigate(self, feedback: MotionFeedback) -> str | None:
        """Return None while the robot is on its way, empty once it has arrived, else why not."""
        assert feedback.step is not None
        step = (feedback.stamp_ns, feedback.index)
        if self._navigation_step != step:
            place = self._places.get(feedback.step.target)
            if place is None:
                return f"I do not know where {feedback.step.target or 'that'} is"
            self._navigation_step = step
            self._navigation.go(place)
        outcome = self._navigation.outcome
        if outcome is not None:
            self._navigation_step = None
        return outcome
