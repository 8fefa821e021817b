"""Steps of a plan that are no motion of ours."""

from __future__ import annotations

from collections.abc import Callable

from edge_inference.speech.motion import Motion, MotionState

#: What is said of steps that nobody here can see to.
_CANNOT = {
    "go_to": "I have no navigation",
    "pick": "I have no arm",
    "place": "I have no arm",
}


def see_to_what_waits(motion: Motion, now_ns: int, say: Callable[[str], None]) -> None:
    """Say what is to be said, and end a plan that cannot go on.

    Looking is the business of whoever listens to plans and sees; the robot does not wait for it.
    """
    while (feedback := motion.feedback(now_ns)).state is MotionState.WAITING:
        assert feedback.step is not None
        action = feedback.step.action
        if action in _CANNOT:
            motion.step_failed(_CANNOT[action], now_ns)
            return
        if action == "say":
            say(feedback.step.target)
        motion.step_done(now_ns)
