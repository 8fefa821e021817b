"""From the steps of a plan to velocities, by the clock that is handed in."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.speech.language.stop_phrases import NegationGuard, is_rejection, may_retract
from edge_inference.speech.planning.clock_monitor import ClockMonitor
from edge_inference.speech.planning.limits import VoiceLimits

#: What is left of a way or a turn that ends it, in m and rad.
TOLERANCE = 0.001
# The control period that braking reckons with until two calls have shown the real one.
_PERIOD_S = 0.05


# Two clocks that go on evenly are never quite alike.
_STEADY_MARGIN = 1.05


class MotionState(Enum):
    """What goes on. WAITING: a step that is done elsewhere (go_to, pick, say …)."""

    IDLE = "idle"
    MOVING = "moving"
    WAITING = "waiting"
    DONE = "done"
    STOPPED = "stopped"
    REFUSED = "refused"


@dataclass(frozen=True)
class MotionFeedback:
    """How far a plan has got.

    ``step`` is the one at work, number ``index`` (from 0) of ``steps``. ``progress`` is the part
    of it that has been commanded, 0 to 1. ``problem`` says in words why a plan was refused or
    stopped. ``stamp_ns`` is the plan's: of the last sample with speech.
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
    """Executes one plan at a time; only one thread may call it.

    Velocity rises and falls by the limits' acceleration; ``stop`` alone sets it to zero at once.
    How far the robot has come is the sum of what was commanded: no odometry is read. Velocity is
    zero whenever there is no step at work, when control cycles fail to come for ``dead_man_s``,
    when a step takes longer than ``max_step_s`` and when the clock runs back. Every time, the age
    of a plan too, is also one of ``steady_ns``; a clock that stands still or crawls beside it stops
    the robot, and nothing that moves is begun by it.
    """

    def __init__(
        self, limits: VoiceLimits, steady_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        #: May be replaced between two calls; a plan at work goes on within the new ones.
        self.limits = limits
        self._steady_ns = steady_ns
        self._clock_monitor = ClockMonitor(steady_ns)
        self._negation_guard = NegationGuard(steady_ns)
        self._plan = ActionPlan("", (), 0)
        self._state = MotionState.IDLE
        self._problem = ""
        self._index = 0
        self._begun_ns = self._begun_steady_ns = 0
        self._last_ns = 0
        self._period_s = _PERIOD_S
        self._left = self._whole = self._steady_way = 0.0
        self._turns = False
        self._velocity = 0.0
        self._is_braking = False

    def begin(self, plan: ActionPlan, now_ns: int) -> None:
        """Take up a plan in place of the one at work; what moves is braked first.

        A plan that is empty, unsafe or older than ``max_age_s`` stops the robot instead, and one
        whose first step is stop does so at once. A plan that the planner has refused changes
        nothing: talk that is not meant for the robot does not end its work. ``feedback`` says why.
        """
        if plan.is_refused and (self._is_at_work() or self._is_braking):
            return
        self._clock_monitor.update(now_ns)
        objection = self._objection(plan, now_ns)
        self._plan = plan
        self._index = 0
        if objection:
            self._halt(MotionState.REFUSED, objection)
            return
        if self._velocity == 0.0:
            self._start_clock(now_ns)
        self._is_braking = self._velocity != 0.0
        self._problem = ""
        self._take_up(now_ns)

    def observe(self, transcript: Transcript, now_ns: int) -> None:
        """Take what was said, in any thread: a negation or condition holds back what moves."""
        self._negation_guard.observe(transcript, now_ns)

    def observe_unreadable(self, now_ns: int) -> None:
        """Take words that cannot be read, in any thread: they may have been a negation."""
        self._negation_guard.hold("something that I cannot read", now_ns)

    def is_retracted(self, transcript: Transcript, stop_words: Collection[str]) -> bool:
        """Tell, in any thread, whether a text is a no, or may be meant of the plan at work."""
        if is_rejection(transcript.text, stop_words):
            return True
        return self._is_at_work() and may_retract(transcript, self._plan, stop_words)

    def stop(self, now_ns: int, problem: str = "") -> None:
        """Give up the plan; every ``command`` from now on is zero until the next ``begin``.

        ``problem`` says why, where nobody has asked for it.
        """
        self._start_clock(now_ns)
        self._halt(MotionState.STOPPED, problem)

    def step_done(self, now_ns: int) -> None:
        """Say that the step waited for is done: the next one begins."""
        if self._state is MotionState.WAITING:
            self._start_clock(now_ns)
            self._next(now_ns)

    def step_failed(self, problem: str, now_ns: int) -> None:
        """Say that the step waited for cannot be done: the plan ends."""
        if self._state is MotionState.WAITING:
            self._start_clock(now_ns)
            self._halt(MotionState.STOPPED, problem)

    def command(self, now_ns: int) -> tuple[float, float]:
        """Return what to drive from now to the next call: m/s ahead, rad/s to the left."""
        gap_s = (now_ns - self._last_ns) / 1e9
        steady_gap_s = self._start_clock(now_ns)
        if self._state is not MotionState.MOVING and not self._is_braking:
            problem = self._clock_monitor.problem(self.limits.plan.dead_man_s)
            if problem and self._state is MotionState.WAITING:
                self._halt(MotionState.STOPPED, problem)
            return 0.0, 0.0
        problem = self._fault(gap_s, steady_gap_s, now_ns)
        if problem:
            self._halt(MotionState.STOPPED, problem)
            return 0.0, 0.0
        if gap_s > 0:
            self._period_s = gap_s
        if self._is_braking:
            self._brake(gap_s, now_ns)
        else:
            self._drive(gap_s, now_ns)
        return (0.0, self._velocity) if self._turns else (self._velocity, 0.0)

    def feedback(self, now_ns: int) -> MotionFeedback:
        """Say how far the plan has got, at the last velocity up to now."""
        plan = self._plan
        progress = 0.0
        if self._state is MotionState.DONE:
            progress = 1.0
        elif self._whole and not self._is_braking:
            left = self._left - self._velocity * max(0, now_ns - self._last_ns) / 1e9
            progress = min(1.0, max(0.0, 1.0 - left / self._whole))
        return MotionFeedback(
            self._state,
            intent=plan.intent,
            step=self._step() if self._is_at_work() else None,
            index=self._index,
            steps=len(plan.steps),
            progress=progress,
            problem=self._problem,
            stamp_ns=plan.stamp_ns,
        )

    def _objection(self, plan: ActionPlan, now_ns: int) -> str:
        if plan.is_refused:
            return plan.reason or "That was refused, and nobody says why"
        if not plan.steps:
            return "There is nothing to do in that plan"
        if len(plan.steps) > self.limits.plan.max_steps:
            return f"{len(plan.steps)} steps are too many. I may do {self.limits.plan.max_steps}"
        return (
            self._objection_by_time(plan, now_ns)
            or self._negation_guard.problem(plan, now_ns)
            or next(filter(None, map(self.limits.objection, plan.steps)), "")
        )

    def _objection_by_time(self, plan: ActionPlan, now_ns: int) -> str:
        only_stops = all(step.action == "stop" for step in plan.steps)
        steady_age_s = self._clock_monitor.steady_age_s(plan.stamp_ns)
        return self.limits.objection_to_age(
            plan.stamp_ns, now_ns, only_stops=only_stops, steady_age_s=steady_age_s
        ) or ("" if only_stops else self._clock_monitor.problem(self.limits.plan.dead_man_s))

    def _start_clock(self, now_ns: int) -> float:
        """Count from now on; return the steady time since the last time, in s."""
        self._last_ns = now_ns
        return self._clock_monitor.update(now_ns)

    def _fault(self, gap_s: float, steady_gap_s: float, now_ns: int) -> str:
        limits, steady_ns = self.limits.plan, self._steady_ns()
        if gap_s < 0:
            return f"The clock ran back by {-gap_s:.3f} seconds"
        if (longest_s := max(gap_s, steady_gap_s)) > limits.dead_man_s:
            return f"There was no control cycle for {longest_s:.2f} seconds"
        if (
            max(now_ns - self._begun_ns, steady_ns - self._begun_steady_ns) / 1e9
            > limits.max_step_s
        ):
            return f"The step took longer than {limits.max_step_s:g} seconds"
        self._steady_way += abs(self._velocity) * steady_gap_s
        if self._steady_way > self._longest_way() * _STEADY_MARGIN:
            return "The clock is slow: by a steady one I have come further than any step may go"
        return self._clock_monitor.problem(limits.dead_man_s)

    def _is_at_work(self) -> bool:
        return self._state in (MotionState.MOVING, MotionState.WAITING)

    def _halt(self, state: MotionState, problem: str) -> None:
        self._state = state
        self._problem = problem
        self._velocity = 0.0
        self._is_braking = False

    def _take_up(self, now_ns: int) -> None:
        """Begin the step at ``_index``, or end the plan."""
        self._begin_step(now_ns)
        self._whole = self._left = 0.0
        if self._index >= len(self._plan.steps):
            self._state = MotionState.DONE
            return
        step = self._plan.steps[self._index]
        if step.action == "stop":
            self._halt(MotionState.STOPPED, "")
        elif step.action in ("move", "turn"):
            way = step.angle_rad if step.action == "turn" else step.distance_m
            self._state = MotionState.MOVING
            self._whole = self._left = way or 0.0
        else:
            self._state = MotionState.WAITING

    def _begin_step(self, now_ns: int) -> None:
        self._begun_ns, self._begun_steady_ns = now_ns, self._steady_ns()
        self._steady_way = 0.0

    def _next(self, now_ns: int) -> None:
        self._index += 1
        self._take_up(now_ns)

    def _brake(self, gap_s: float, now_ns: int) -> None:
        self._velocity = _towards(0.0, self._velocity, self._acceleration() * gap_s)
        if self._velocity == 0.0:
            self._is_braking = False
            self._begin_step(now_ns)

    def _drive(self, gap_s: float, now_ns: int) -> None:
        self._left -= self._velocity * gap_s
        if self._velocity == 0.0:
            self._turns = self._step().action == "turn"
        elif abs(self._left) <= TOLERANCE or self._left * self._whole < 0:
            self._end_of_step(gap_s, now_ns)
            return
        # From rest it sets off at once, with what one period allows.
        change = self._acceleration() * (gap_s if self._velocity else self._period_s)
        target = math.copysign(min(self._top(), self._stoppable()), self._left)
        self._velocity = _towards(target, self._velocity, change)

    def _end_of_step(self, gap_s: float, now_ns: int) -> None:
        self._velocity = _towards(0.0, self._velocity, self._acceleration() * gap_s)
        if self._velocity == 0.0:
            self._next(now_ns)

    def _step(self) -> ActionStep:
        return self._plan.steps[self._index]

    def _acceleration(self) -> float:
        motion = self.limits.motion
        return motion.angular_acceleration_radps2 if self._turns else motion.acceleration_mps2

    def _longest_way(self) -> float:
        motion = self.limits.motion
        return motion.max_angle_rad if self._turns else motion.max_distance_m

    def _top(self) -> float:
        motion, step = self.limits.motion, self._step()
        if self._turns:
            return min(step.rate_radps or motion.default_rate_radps, motion.max_rate_radps)
        return min(step.speed_mps or motion.default_speed_mps, motion.max_speed_mps)

    def _stoppable(self) -> float:
        """Return the highest speed that, held for one period, still leaves the way to brake.

        The positive root of v·T + v²/2a = way left, in the form that does not subtract what is
        nearly alike.
        """
        acceleration, period_s = self._acceleration(), self._period_s
        way = 2 * abs(self._left)
        return way / (period_s + math.sqrt(period_s**2 + way / acceleration))


def _towards(target: float, value: float, most: float) -> float:
    """Return ``value`` brought nearer to ``target``, by ``most`` at most."""
    return value + min(most, max(-most, target - value))
