"""Plans in, velocities out."""

from __future__ import annotations

import threading
import time
from typing import Any

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.worker import Worker, call_each, format_error
from edge_inference.core.voice import ActionPlan, Transcript
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import SPEECH, Component
from edge_inference.nodes.conversions.command import FeedbackAdapter, Velocity
from edge_inference.nodes.conversions.plain import StringAdapter
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter
from edge_inference.nodes.voice.action_dispatcher import ActionDispatcher
from edge_inference.nodes.voice.command_feedback import FeedbackReporter
from edge_inference.nodes.voice.command_interrupts import CommandInterrupts
from edge_inference.nodes.voice.command_settings import CommandSettings
from edge_inference.nodes.voice.navigation import Navigation
from edge_inference.nodes.voice.voice_files import find_limits
from edge_inference.speech.planning.motion import Motion, MotionState

_STILL = Velocity(0.0, 0.0)
_AT_WORK = (MotionState.MOVING, MotionState.WAITING)
_LEFT = "All right, I leave that"


class Command(Component):
    """Drives by the plan; the word stop, also of a sentence not yet ended, overtakes everything.

    A no to what it is at ("don't do that"), or is about to begin, ends that too. So does a stop or
    a no in a text of which no plan comes ("pick up the ball and stop").
    Velocity is zero without a step at work, and when this node is deactivated.
    """

    default_name = "command"
    default_namespace = "ai"
    own_executor = True
    settings_class = CommandSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._worker: Worker | None = None
        self._lock = threading.RLock()  # plans and the word stop come in threads of their own
        self._is_driving = False

    def open(self) -> None:
        """Read the limits."""
        settings = self.parameters.current
        self._motion = Motion(find_limits(settings.limits))
        self._velocities = self.make_publisher("/cmd_vel", settings.velocity_adapter(self.now_ns))
        self._feedback = self.make_publisher("command_feedback", FeedbackAdapter())
        self._say = self.make_publisher("say", StringAdapter())
        self._navigation = Navigation(self, lambda: self.parameters.current.cancel_s)
        self._elsewhere = ActionDispatcher(
            self._navigation, self._motion.limits.places, self._say.publish
        )
        self._timings = self.make_publisher("stage_timing", StageTimingAdapter())

    def start(self) -> None:
        """Begin the control cycle; listen to plans, and for the word stop."""
        self._account = FeedbackReporter(self._motion, self._feedback, self._say, self.health)
        self._velocity, self._stop_ns, self._quiet_from = _STILL, -1, 0.0
        self._words = CommandInterrupts(self._motion, self._lock, self._stop_at_once, self._leave)
        self._is_driving = True
        self._worker = self.make_worker(self._run)
        odd = self._on_odd
        self.subscribe_to("action_plan", ActionPlanAdapter(), self._on_plan, on_error=odd)
        self.subscribe_to("transcript", TranscriptAdapter(), self._on_words, SPEECH, on_error=odd)

    def stop(self) -> None:
        """Stop the robot, and end the control cycle."""
        if self._worker is not None:
            self._worker.end()
        with self._lock:
            was_driving, self._is_driving = self._is_driving, False
            if was_driving:
                self._velocities.publish(_STILL)
                self._motion.stop(self.now_ns())
                self._elsewhere.give_up()
                self._account.tell(self.now_ns())

    def report_exception(
        self, error: BaseException, reason: str = "failed", lost: bool = False
    ) -> None:
        """Stop the robot first, whatever it was that failed."""
        problem = f"I stop, as something has failed: {format_error(error)}"
        with self._lock:
            if self._is_driving:
                call_each(
                    lambda: self._velocities.publish(_STILL),
                    lambda: self._motion.stop(self.now_ns(), problem),
                    self._elsewhere.give_up,
                )
        super().report_exception(error, reason, lost)

    def close(self) -> None:
        """Leave navigation alone."""
        if (navigation := self.__dict__.pop("_navigation", None)) is not None:
            navigation.close()

    def _on_plan(self, plan: ActionPlan, _: bool) -> None:
        started_ns = time.monotonic_ns()
        with self._lock:
            if not self._is_driving:
                return
            self._words.take(plan)
            now_ns = self.now_ns()
            # A stop that lies ahead is from before the clock ran back.
            if plan.stamp_ns <= self._stop_ns <= now_ns:
                self.health.count_dropped("said_before_stop")
                if any(step.action != "stop" for step in plan.steps):
                    self._say.publish(_LEFT)  # the planner has announced it
                return
            self._motion.begin(plan, now_ns)
            if not plan.is_refused:
                self._keep_publishing()
            self._account.said = plan.reason if plan.is_refused else ""  # by the planner
            if plan.steps and plan.steps[0].action == "stop":
                self._elsewhere.give_up_all()
            self._cycle(now_ns)
        self.health.count_processed()
        name, took_ms = self.get_fully_qualified_name(), (time.monotonic_ns() - started_ns) / 1e6
        spoken = plan.stamp_ns, self.now_ns(), plan.frame_id
        self._timings.publish(StageTiming.at_once(self.default_name, name, took_ms, *spoken))

    def _on_words(self, transcript: Transcript, _: bool) -> None:
        self._words.hear(transcript, self.parameters.current.stop_words, self.now_ns())

    def _on_odd(self, error: EdgeInferenceError) -> None:
        """Stop: a plan that cannot be read is not safe; such words may have been stop, or don't."""
        self.report_error(error)
        self._motion.observe_unreadable(self.now_ns())
        self._stop_at_once(f"I stop, as I cannot read what I was told: {error}")

    def _stop_at_once(self, problem: str = "") -> None:
        with self._lock:
            if self._is_driving:
                self._words.forget()
                # What was said before must not set off, whatever its stamp and that of stop.
                now_ns = self._stop_ns = self.now_ns()
                self._motion.stop(now_ns, problem)
                self._keep_publishing()
                self._elsewhere.give_up_all()
                self._cycle(now_ns)

    def _leave(self, no: Transcript) -> None:
        """Stop what goes on, and leave what was said before the no and is yet to come."""
        with self._lock:
            now_ns = self.now_ns()
            if self._velocity != _STILL or self._motion.feedback(now_ns).state in _AT_WORK:
                self._stop_at_once(_LEFT)
            else:  # nothing is published: others may drive
                before_ns = self._stop_ns if self._stop_ns <= now_ns else -1
                self._stop_ns = max(before_ns, no.stamp_ns if 0 < no.stamp_ns <= now_ns else now_ns)
                self._elsewhere.give_up_all()

    def _run(self, worker: Worker) -> None:
        due = time.monotonic()
        while not worker.is_ending:
            with self._lock:
                self._words.attend()
                self._cycle(self.now_ns())
            due = max(due + 1.0 / self.parameters.current.rate_hz, time.monotonic())
            worker.wait(due - time.monotonic())

    def _cycle(self, now_ns: int) -> None:
        """Drive on; the lock is held."""
        before, self._velocity = self._velocity, Velocity(*self._motion.command(now_ns))
        self._elsewhere.attend(self._motion, now_ns, self._velocity == _STILL)
        is_moving = self._motion.feedback(now_ns).state is MotionState.MOVING
        is_moving |= {before, self._velocity} != {_STILL}  # told to stand, however late
        if is_moving or self._elsewhere.is_unheeded:
            self._keep_publishing()
        # Navigation has the topic to itself while it drives.
        if time.monotonic() < self._quiet_from and not self._elsewhere.is_driving:
            self._velocities.publish(self._velocity)
        self._account.tell(now_ns)

    def _keep_publishing(self) -> None:
        self._quiet_from = time.monotonic() + self.parameters.current.zeros_s
