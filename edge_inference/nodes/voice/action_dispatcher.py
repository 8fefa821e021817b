"""Steps of a plan that are no motion of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_inference.nodes.voice.navigation.client import NavigationClient
from edge_inference.speech.planning.limits import NamedPlace
from edge_inference.speech.planning.motion import Motion, MotionFeedback, MotionState

_NO_ARM = "I have no arm"
_UNHEEDED = "Attention, navigation may still be driving me"


class ActionDispatcher:
    """Sees to the steps that a plan waits for; to be asked in every control cycle.

    A step to look is shown in the feedback for one cycle: who sees answers to that
    (``scene_reporter``), and the robot does not wait for it.
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
        #: Plan and number of the step that navigation is at.
        self._under_way: tuple[int, int] | None = None
        #: Plan and number of the last step to look.
        self._looked: tuple[int, int] | None = None
        self._has_warned = False

    @property
    def is_driving(self) -> bool:
        """Tell whether somebody else moves the robot for us."""
        return self._under_way is not None

    @property
    def is_unheeded(self) -> bool:
        """Tell whether somebody else may go on to drive, though they were told not to."""
        return bool(self._navigation.problem)

    def attend(self, motion: Motion, now_ns: int, is_still: bool) -> None:
        """Begin, go on with or give up what is done elsewhere; warn of what is not given up."""
        had_warned, self._has_warned = self._has_warned, self.is_unheeded
        if self._has_warned and not had_warned:
            self._say(_UNHEEDED)
        while (feedback := motion.feedback(now_ns)).state is MotionState.WAITING and is_still:
            assert feedback.step is not None
            problem: str | None = ""
            match feedback.step.action:
                case "go_to":
                    problem = self._navigate(feedback)
                    if problem is None:
                        return
                case "look":
                    if self._looked != (step := (feedback.stamp_ns, feedback.index)):
                        self._looked = step
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
        if self._under_way is not None:
            self.give_up()

    def give_up(self) -> None:
        """End whatever goes on elsewhere."""
        self._under_way = None
        self._navigation.cancel()

    def give_up_all(self) -> None:
        """End whatever goes on elsewhere, whoever has begun it."""
        self._under_way = None
        self._navigation.cancel_all()

    def _navigate(self, feedback: MotionFeedback) -> str | None:
        """Return None while the robot is on its way, empty once it is there, else why not."""
        assert feedback.step is not None
        step = (feedback.stamp_ns, feedback.index)
        if self._under_way != step:
            place = self._places.get(feedback.step.target)
            if place is None:
                return f"I do not know where {feedback.step.target or 'that'} is"
            self._under_way = step
            self._navigation.go(place)
        outcome = self._navigation.outcome
        if outcome is not None:
            self._under_way = None
        return outcome
