"""How far a plan has got, as it is published and spoken of."""

from __future__ import annotations

from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.health import Health
from edge_inference.speech.planning.motion import Motion, MotionFeedback


class FeedbackReporter:
    """Publishes a motion's feedback where that has changed, and says what went wrong."""

    def __init__(
        self,
        motion: Motion,
        feedback: Publisher[MotionFeedback],
        say: Publisher[str],
        health: Health,
    ) -> None:
        #: What is known already, as somebody else has said it.
        self.said = ""
        self._motion = motion
        self._feedback = feedback
        self._say = say
        self._health = health
        self._told = motion.feedback(0)

    def tell(self, now_ns: int) -> None:
        """Publish how far the plan has got, where that has changed; speak of what went wrong."""
        before, self._told = self._told, (feedback := self._motion.feedback(now_ns))
        if feedback == before:
            return
        self._feedback.publish(feedback)
        self._health.note("state", feedback.state.value)
        is_news = (feedback.problem, feedback.stamp_ns) != (before.problem, before.stamp_ns)
        if feedback.problem and is_news and feedback.problem != self.said:
            self._say.publish(feedback.problem)
