"""Execution of plans: velocities, steps of other nodes, stops and feedback."""

from __future__ import annotations

import threading
import time

from edge_inference.composition.bus import Publisher
from edge_inference.composition.reception import Reception
from edge_inference.core.runtime.health import Health
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.thread_times import ThreadTimes, ThreadUse
from edge_inference.core.runtime.worker import call_each
from edge_inference.core.voice import STOP, ActionPlan, Transcript
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.command import Velocity
from edge_inference.nodes.voice.action_dispatcher import ActionDispatcher
from edge_inference.nodes.voice.command_interrupts import CommandInterrupts
from edge_inference.speech.actions.table import ACTIONS
from edge_inference.speech.planning.motion import Motion, MotionFeedback, MotionState

_ZERO = Velocity(0.0, 0.0)
_ACTIVE_STATES = (MotionState.MOVING, MotionState.WAITING)
_CANCELED = "All right, I leave that"
_STILL_CHECKING = "I am still checking what you asked before"
#: A base that does not take the last velocity must not hold up the end of the process.
_DELIVERY_TIMEOUT_S = 0.5


class PlanExecutor:
    """Executes one plan at a time until ``end``; every method may be called from any thread.

    Velocity is zero while no step is active. ``run_cycle`` must be called periodically.
    """

    def __init__(
        self,
        node: Component,
        motion: Motion,
        dispatcher: ActionDispatcher,
        velocities: Publisher[Velocity],
        feedback: Publisher[MotionFeedback],
        say: Publisher[str],
        timings: Publisher[StageTiming],
    ) -> None:
        #: Plans, transcripts and control cycles arrive in different threads.
        self.lock = threading.RLock()
        self._node = node
        self._motion = motion
        self._dispatcher = dispatcher
        self._velocities = velocities
        self._say = say
        self._timings = timings
        self._reporter = FeedbackReporter(motion, feedback, say, node.health)
        self._interrupts = CommandInterrupts(motion, self.lock, self.stop, self._cancel)
        self._velocity = _ZERO
        #: Plans of speech up to this moment are dropped.
        self._stop_ns = -1
        #: Increases with each plan and each stop: a plan begins if nothing has come after it.
        self._latest = 0
        #: Checks a plan from another process that has steps of another package.
        self._check: threading.Thread | None = None
        self._publish_until_s = 0.0
        self._is_active = True

    def add_plan(self, plan: ActionPlan, reception: Reception) -> None:
        """Begin a plan, unless a stop, a no or another plan has come after it."""
        if reception.by_reference or all(step.action in ACTIONS.own for step in plan.steps):
            self._check_and_begin(plan, reception)
        elif self._check is not None and self._check.is_alive():
            self._node.health.count_dropped("checking_another_plan")
            self._say.publish(_STILL_CHECKING)
        else:
            # Another package may take long to check its steps, and this thread receives stop too.
            check_and_begin = self._node.guard(self._check_and_begin)
            self._check = threading.Thread(
                target=check_and_begin, args=(plan, reception), daemon=True
            )
            self._check.start()

    def add_transcript(self, transcript: Transcript) -> None:
        """Stop or cancel the plan if a transcript says so."""
        stop_words = self._node.parameters.current.stop_words
        self._interrupts.add_transcript(transcript, stop_words, self._node.now_ns())

    def stop_for_unreadable(self, problem: str) -> None:
        """Stop because a message is unreadable; it may have been a stop or a negation."""
        self._motion.observe_unreadable(self._node.now_ns())
        self.stop(problem)

    def stop(self, problem: str = "") -> None:
        """Stop the robot at once and drop the plans of everything said before."""
        with self.lock:
            if self._is_active:
                self._interrupts.clear()
                self._latest += 1
                # Every earlier plan is dropped, whatever its stamp and the stamp of the stop.
                now_ns = self._stop_ns = self._node.now_ns()
                self._motion.stop(now_ns, problem)
                self._keep_publishing()
                self._dispatcher.cancel_all()
                self._run_cycle(now_ns)

    def stop_after_failure(self, problem: str) -> None:
        """Stop the robot although parts of the node may fail."""
        with self.lock:
            self._latest += 1
            if self._is_active:
                call_each(
                    lambda: self._velocities.publish(_ZERO),
                    lambda: self._motion.stop(self._node.now_ns(), problem),
                    self._dispatcher.cancel,
                )

    def run_cycle(self) -> None:
        """Run one control cycle."""
        with self.lock:
            self._interrupts.check_overdue()
            self._run_cycle(self._node.now_ns())

    def end(self) -> None:
        """Stop the robot and accept no more plans.

        Waits until the base has the zero velocity, for ``_DELIVERY_TIMEOUT_S`` at most.
        """
        with self.lock:
            was_active, self._is_active = self._is_active, False
            if was_active:
                self._velocities.publish(_ZERO)
                self._motion.stop(self._node.now_ns())
                self._dispatcher.cancel()
                self._reporter.report(self._node.now_ns())
        if was_active:
            # The process may end next, and would take the zero velocity with it.
            self._velocities.wait_until_received(_DELIVERY_TIMEOUT_S)

    def _check_and_begin(self, plan: ActionPlan, reception: Reception) -> None:
        with ThreadTimes() as times:
            begin = times.read()
            if self._has_begun(plan):
                self._node.health.count_processed()
                self._record(plan, reception, begin, times.read())

    def _has_begun(self, plan: ActionPlan) -> bool:
        with self.lock:
            self._latest += not plan.is_refused
            number = self._latest
        # Without the lock, which a stop needs.
        objection = self._motion.objection_to_steps(plan)
        with self.lock:
            return self._is_active and self._begin(plan, number, objection)

    def _record(
        self, plan: ActionPlan, reception: Reception, begin: ThreadUse, end: ThreadUse
    ) -> None:
        """Publish the times of a plan; the first velocity of it is published already."""
        timing = StageTiming.at_once(
            self._node.default_name,
            self._node.get_fully_qualified_name(),
            (plan.stamp_ns, plan.frame_id),
            self._node.clock_at_ns(end.at_ns),
            (begin, end),
            reception.receive_ms,
            reception.lost,
        )
        self._timings.publish(timing)

    def _begin(self, plan: ActionPlan, number: int, objection: str) -> bool:
        self._interrupts.add_plan(plan)
        now_ns = self._node.now_ns()
        is_stop = bool(plan.steps) and plan.steps[0].action == STOP
        # A stop in the future was set before the clock ran back.
        is_before_stop = plan.stamp_ns <= self._stop_ns <= now_ns
        if not is_stop and (is_before_stop or number != self._latest):
            self._node.health.count_dropped("said_before_stop" if is_before_stop else "replaced")
            if plan.steps:
                self._say.publish(_CANCELED)  # the planner has announced the plan
            return False
        self._motion.begin(plan, now_ns, objection)
        if not plan.is_refused:
            self._keep_publishing()
        # The planner says why it has refused a plan.
        self._reporter.announced = plan.reason if plan.is_refused else ""
        if is_stop:
            self._drop_speech_until(plan.stamp_ns, now_ns)
            self._dispatcher.cancel_all()
        self._run_cycle(now_ns)
        return True

    def _cancel(self, no: Transcript) -> None:
        """Stop what is active, and drop plans of speech before the no that are still to come."""
        with self.lock:
            now_ns = self._node.now_ns()
            if self._velocity != _ZERO or self._motion.feedback(now_ns).state in _ACTIVE_STATES:
                self.stop(_CANCELED)
            else:  # publish nothing: another node may drive
                self._latest += 1
                self._drop_speech_until(no.stamp_ns, now_ns)
                self._dispatcher.cancel_all()

    def _drop_speech_until(self, stamp_ns: int, now_ns: int) -> None:
        """Drop the plans of speech up to a moment; up to now, if it is none."""
        before_ns = self._stop_ns if self._stop_ns <= now_ns else -1
        self._stop_ns = max(before_ns, stamp_ns if 0 < stamp_ns <= now_ns else now_ns)

    def _run_cycle(self, now_ns: int) -> None:
        """Run one control cycle; the caller holds the lock."""
        before, self._velocity = self._velocity, Velocity(*self._motion.command(now_ns))
        self._dispatcher.update(self._motion, now_ns, self._velocity == _ZERO)
        is_moving = self._motion.feedback(now_ns).state is MotionState.MOVING
        is_moving |= {before, self._velocity} != {_ZERO}  # a late change to zero is published too
        if is_moving or self._dispatcher.may_still_move or self._dispatcher.needs_standing:
            self._keep_publishing()
        # While navigation drives, only navigation publishes velocities.
        if time.monotonic() < self._publish_until_s and not self._dispatcher.is_driving:
            self._velocities.publish(self._velocity)
        self._reporter.report(now_ns)

    def _keep_publishing(self) -> None:
        zero_velocity_s = self._node.parameters.current.zero_velocity_s
        self._publish_until_s = time.monotonic() + zero_velocity_s


class FeedbackReporter:
    """Publishes the feedback of a motion when it changes, and says what went wrong."""

    def __init__(
        self,
        motion: Motion,
        feedback: Publisher[MotionFeedback],
        say: Publisher[str],
        health: Health,
    ) -> None:
        #: A problem that another node has already said aloud.
        self.announced = ""
        self._motion = motion
        self._feedback = feedback
        self._say = say
        self._health = health
        self._last = motion.feedback(0)

    def report(self, now_ns: int) -> None:
        """Publish the feedback if it has changed; say a new problem aloud."""
        before, self._last = self._last, (feedback := self._motion.feedback(now_ns))
        if feedback == before:
            return
        self._feedback.publish(feedback)
        self._health.note("state", feedback.state.value)
        is_new = (feedback.problem, feedback.stamp_ns) != (before.problem, before.stamp_ns)
        if feedback.problem and is_new and feedback.problem != self.announced:
            self._say.publish(feedback.problem)
