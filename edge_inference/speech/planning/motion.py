"""Executes the steps of a plan as velocities; the caller provides the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

from edge_inference.core.voice import STOP, ActionPlan, ActionStep, Transcript
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.table import (
    find_action,
    is_turn,
    is_velocity,
    step_objection,
)
from edge_inference.speech.language.stop_phrases import NegationGuard, is_rejection, may_retract
from edge_inference.speech.planning.clock_monitor import ClockMonitor

#: A step ends at this remaining distance or angle, in m or rad.
TOLERANCE = 0.001
# The assumed control period until two calls have shown the real one.
_PERIOD_S = 0.05


# Two clocks never run at exactly the same rate.
_STEADY_MARGIN = 1.05


class MotionState(Enum):
    """The state of a plan. WAITING: the step is not a velocity (go_to, pick, say …)."""

    IDLE = "idle"
    MOVING = "moving"
    WAITING = "waiting"
    DONE = "done"
    STOPPED = "stopped"
    REFUSED = "refused"


@dataclass(frozen=True)
class MotionFeedback:
    """The progress of a plan.

    ``step`` is the current step, number ``index`` (from 0) of ``steps``. ``progress`` is the part
    of it that has been commanded, 0 to 1. ``problem`` is the reason why a plan was refused or
    stopped. ``stamp_ns`` is the plan's: the time of the last sample with speech.
    """

    state: MotionState
    intent: str = ""
    step: ActionStep | None = None
    index: int = 0
    steps: int = 0
    progress: float = 0.0
    problem: str = ""
    stamp_ns: int = 0


class Motion:
    """Executes one plan at a time. Not thread-safe, except where a method says so.

    Velocity changes within the limits of acceleration; only ``stop`` sets it to zero at once. The
    travelled distance is the integral of the commanded velocity: no odometry is read. Velocity is
    zero without a current step, after ``dead_man_s`` without a control cycle, after ``max_step_s``
    in one step, and when the clock runs back. All times, including the age of a plan, are also
    checked by ``steady_ns``. A clock that stands still or runs slow stops the robot, and no motion
    starts.
    """

    def __init__(
        self, limits: VoiceLimits, steady_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        #: May be replaced between two calls; the current plan continues within the new limits.
        self.limits = limits
        self._steady_ns = steady_ns
        self._clock_monitor = ClockMonitor(steady_ns)
        self._negation_guard = NegationGuard(steady_ns)
        self._plan = ActionPlan("", (), 0)
        self._state = MotionState.IDLE
        self._problem = ""
        self._index = 0
        self._started_ns = self._started_steady_ns = 0
        self._last_ns = 0
        self._period_s = _PERIOD_S
        self._remaining = self._step_size = self._steady_distance = 0.0
        self._is_turning = False
        self._velocity = 0.0
        self._is_braking = False

    def objection_to_steps(self, plan: ActionPlan) -> str:
        """Return, in any thread, the spoken objection to the steps of a plan; empty without one.

        It may take long: an action of another package checks its own limits.
        """
        return next(filter(None, (step_objection(step, self.limits) for step in plan.steps)), "")

    def begin(self, plan: ActionPlan, now_ns: int, objection_to_steps: str | None = None) -> None:
        """Start a plan in place of the current one; a moving robot brakes first.

        A plan that is empty, unsafe or older than ``max_age_s`` stops the robot instead, and one
        whose first step is stop does so at once. A plan that the planner refused does not end the
        current plan: it may come from conversation. ``feedback`` has the reason.
        ``objection_to_steps`` is the method's result; without it, it is called here.
        """
        if plan.is_refused and (self._is_active() or self._is_braking):
            return
        self._clock_monitor.update(now_ns)
        objection = self._objection(plan, now_ns, objection_to_steps)
        self._plan = plan
        self._index = 0
        if objection:
            self._halt(MotionState.REFUSED, objection)
            return
        if self._velocity == 0.0:
            self._start_clock(now_ns)
        self._is_braking = self._velocity != 0.0
        self._problem = ""
        self._start_step(now_ns)

    def observe(self, transcript: Transcript, now_ns: int) -> None:
        """Record a transcript, in any thread: a negation or condition blocks plans that move."""
        self._negation_guard.observe(transcript, now_ns)

    def observe_unreadable(self, now_ns: int) -> None:
        """Record an unreadable transcript, in any thread: it may have been a negation."""
        self._negation_guard.block("something that I cannot read", now_ns)

    def is_retracted(self, transcript: Transcript, stop_words: Collection[str]) -> bool:
        """Tell, in any thread, whether a text rejects or may retract the current plan."""
        if is_rejection(transcript.text, stop_words):
            return True
        return self._is_active() and may_retract(transcript, self._plan, stop_words)

    def stop(self, now_ns: int, problem: str = "") -> None:
        """Cancel the plan; every ``command`` is zero until the next ``begin``.

        ``problem`` is the reason, unless the user asked for the stop.
        """
        self._start_clock(now_ns)
        self._halt(MotionState.STOPPED, problem)

    def step_done(self, now_ns: int) -> None:
        """End the awaited step successfully: the next step begins."""
        if self._state is MotionState.WAITING:
            self._start_clock(now_ns)
            self._start_next_step(now_ns)

    def step_failed(self, problem: str, now_ns: int) -> None:
        """End the awaited step as failed: the plan ends."""
        if self._state is MotionState.WAITING:
            self._start_clock(now_ns)
            self._halt(MotionState.STOPPED, problem)

    def command(self, now_ns: int) -> tuple[float, float]:
        """Return the velocity until the next call: m/s ahead, rad/s to the left."""
        gap_s = (now_ns - self._last_ns) / 1e9
        steady_gap_s = self._start_clock(now_ns)
        if self._state is not MotionState.MOVING and not self._is_braking:
            problem = self._find_waiting_fault(now_ns)
            if problem:
                self._halt(MotionState.STOPPED, problem)
            return 0.0, 0.0
        problem = self._find_fault(gap_s, steady_gap_s, now_ns)
        if problem:
            self._halt(MotionState.STOPPED, problem)
            return 0.0, 0.0
        if gap_s > 0:
            self._period_s = gap_s
        if self._is_braking:
            self._brake(gap_s, now_ns)
        else:
            self._drive(gap_s, now_ns)
        return (0.0, self._velocity) if self._is_turning else (self._velocity, 0.0)

    def feedback(self, now_ns: int) -> MotionFeedback:
        """Return the progress of the plan up to now, at the last velocity."""
        plan = self._plan
        progress = 0.0
        if self._state is MotionState.DONE:
            progress = 1.0
        elif self._step_size and not self._is_braking:
            remaining = self._remaining - self._velocity * max(0, now_ns - self._last_ns) / 1e9
            progress = min(1.0, max(0.0, 1.0 - remaining / self._step_size))
        return MotionFeedback(
            self._state,
            intent=plan.intent,
            step=self._step() if self._is_active() else None,
            index=self._index,
            steps=len(plan.steps),
            progress=progress,
            problem=self._problem,
            stamp_ns=plan.stamp_ns,
        )

    def _objection(self, plan: ActionPlan, now_ns: int, objection_to_steps: str | None) -> str:
        if plan.is_refused:
            return plan.reason or "That was refused without a reason"
        if not plan.steps:
            return "There is nothing to do in that plan"
        if len(plan.steps) > self.limits.plan.max_steps:
            return f"{len(plan.steps)} steps are too many. I may do {self.limits.plan.max_steps}"
        if objection_to_steps is None:
            objection_to_steps = self.objection_to_steps(plan)
        return (
            self._time_objection(plan, now_ns)
            or self._negation_guard.problem(plan, now_ns)
            or objection_to_steps
        )

    def _time_objection(self, plan: ActionPlan, now_ns: int) -> str:
        only_stops = all(step.action == STOP for step in plan.steps)
        steady_age_s = self._clock_monitor.steady_age_s(plan.stamp_ns)
        return self.limits.objection_to_age(
            plan.stamp_ns, now_ns, only_stops=only_stops, steady_age_s=steady_age_s
        ) or ("" if only_stops else self._clock_monitor.problem(self.limits.plan.dead_man_s))

    def _start_clock(self, now_ns: int) -> float:
        """Record the time; return the steady time since the last call, in s."""
        self._last_ns = now_ns
        return self._clock_monitor.update(now_ns)

    def _find_waiting_fault(self, now_ns: int) -> str:
        if self._state is not MotionState.WAITING:
            return ""
        problem = self._clock_monitor.problem(self.limits.plan.dead_man_s)
        action = find_action(self._step().action)
        if not problem and (action is None or action.has_time_limit):
            problem = self._duration_problem(now_ns)
        return problem

    def _find_fault(self, gap_s: float, steady_gap_s: float, now_ns: int) -> str:
        limits = self.limits.plan
        if gap_s < 0:
            return f"The clock ran back by {-gap_s:.3f} seconds"
        if (max_gap_s := max(gap_s, steady_gap_s)) > limits.dead_man_s:
            return f"There was no control cycle for {max_gap_s:.2f} seconds"
        if too_long := self._duration_problem(now_ns):
            return too_long
        self._steady_distance += abs(self._velocity) * steady_gap_s
        if self._steady_distance > self._max_step_distance() * _STEADY_MARGIN:
            return "The clock is slow: by a steady one I have come further than any step may go"
        return self._clock_monitor.problem(limits.dead_man_s)

    def _duration_problem(self, now_ns: int) -> str:
        """Return why the step takes too long, by either clock."""
        steady_ns, max_s = self._steady_ns(), self.limits.plan.max_step_s
        took_s = max(now_ns - self._started_ns, steady_ns - self._started_steady_ns) / 1e9
        return f"The step took longer than {max_s:g} seconds" if took_s > max_s else ""

    def _is_active(self) -> bool:
        return self._state in (MotionState.MOVING, MotionState.WAITING)

    def _halt(self, state: MotionState, problem: str) -> None:
        self._state = state
        self._problem = problem
        self._velocity = 0.0
        self._is_braking = False

    def _start_step(self, now_ns: int) -> None:
        """Begin the step at ``_index``, or end the plan."""
        self._reset_step_clock(now_ns)
        self._step_size = self._remaining = 0.0
        if self._index >= len(self._plan.steps):
            self._state = MotionState.DONE
            return
        step = self._plan.steps[self._index]
        if step.action == STOP:
            self._halt(MotionState.STOPPED, "")
        elif is_velocity(step.action):
            distance = step.angle_rad if is_turn(step.action) else step.distance_m
            self._state = MotionState.MOVING
            self._step_size = self._remaining = distance or 0.0
        else:
            self._state = MotionState.WAITING

    def _reset_step_clock(self, now_ns: int) -> None:
        self._started_ns, self._started_steady_ns = now_ns, self._steady_ns()
        self._steady_distance = 0.0

    def _start_next_step(self, now_ns: int) -> None:
        self._index += 1
        self._start_step(now_ns)

    def _brake(self, gap_s: float, now_ns: int) -> None:
        self._velocity = _approach(0.0, self._velocity, self._acceleration() * gap_s)
        if self._velocity == 0.0:
            self._is_braking = False
            self._reset_step_clock(now_ns)

    def _drive(self, gap_s: float, now_ns: int) -> None:
        self._remaining -= self._velocity * gap_s
        if self._velocity == 0.0:
            self._is_turning = is_turn(self._step().action)
        elif abs(self._remaining) <= TOLERANCE or self._remaining * self._step_size < 0:
            self._finish_step(gap_s, now_ns)
            return
        # From rest the first command already has the velocity of one period of acceleration.
        change = self._acceleration() * (gap_s if self._velocity else self._period_s)
        target = math.copysign(
            min(self._max_step_speed(), self._max_stoppable_speed()), self._remaining
        )
        self._velocity = _approach(target, self._velocity, change)

    def _finish_step(self, gap_s: float, now_ns: int) -> None:
        self._velocity = _approach(0.0, self._velocity, self._acceleration() * gap_s)
        if self._velocity == 0.0:
            self._start_next_step(now_ns)

    def _step(self) -> ActionStep:
        return self._plan.steps[self._index]

    def _acceleration(self) -> float:
        motion = self.limits.motion
        return motion.angular_acceleration_radps2 if self._is_turning else motion.acceleration_mps2

    def _max_step_distance(self) -> float:
        motion = self.limits.motion
        return motion.max_angle_rad if self._is_turning else motion.max_distance_m

    def _max_step_speed(self) -> float:
        motion, step = self.limits.motion, self._step()
        if self._is_turning:
            return min(step.rate_radps or motion.default_rate_radps, motion.max_rate_radps)
        return min(step.speed_mps or motion.default_speed_mps, motion.max_speed_mps)

    def _max_stoppable_speed(self) -> float:
        """Return the highest speed that, kept for one period, still leaves the distance to brake.

        The positive root of v·T + v²/2a = remaining distance, in the form without subtraction of
        nearly equal numbers.
        """
        acceleration, period_s = self._acceleration(), self._period_s
        distance = 2 * abs(self._remaining)
        return distance / (period_s + math.sqrt(period_s**2 + distance / acceleration))


def _approach(target: float, value: float, max_change: float) -> float:
    """Return ``value`` moved towards ``target`` by at most ``max_change``."""
    return value + min(max_change, max(-max_change, target - value))
