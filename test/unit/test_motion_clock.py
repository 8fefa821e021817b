"""No robot keeps driving by a clock that stands still, runs slow or fast, or jumps."""

from __future__ import annotations

import pytest

from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.speech.actions.limits import MotionLimits, PlanLimits, VoiceLimits
from edge_inference.speech.planning.motion import Motion, MotionState

LIMITS = VoiceLimits(motion=MotionLimits(), plan=PlanLimits(actions=("move", "look", "stop")))
PERIOD_NS = 50_000_000
AHEAD = ActionStep("move", distance_m=1.0, speed_mps=0.4)
LOOK = ActionStep("look")
STOP = ActionStep("stop")


def plan(*steps: ActionStep, stamp_ns: int = 0) -> ActionPlan:
    return ActionPlan("test", steps, stamp_ns)


@pytest.mark.parametrize("pace", [0.0, 0.01, 0.05])
def test_stopped_or_slow_clock_stops_the_robot(pace: float) -> None:
    steady_ns = 0
    motion = Motion(LIMITS, steady_ns=lambda: steady_ns)
    motion.begin(plan(AHEAD), 0)
    way_m = 0.0
    for steady_ns in range(0, 5 * 10**9, PERIOD_NS):
        speed, _ = motion.command(int(steady_ns * pace))
        way_m += speed * PERIOD_NS / 1e9
    assert motion.command(int(steady_ns * pace)) == (0.0, 0.0)
    assert way_m < 0.5
    feedback = motion.feedback(0)
    assert feedback.state is MotionState.STOPPED
    assert feedback.problem.startswith("The clock ")


@pytest.mark.parametrize("pace", [0.2, 0.5, 3.0])
def test_slow_or_fast_simulation_arrives(pace: float) -> None:
    steady_ns = 0
    motion = Motion(LIMITS, steady_ns=lambda: steady_ns)
    motion.begin(plan(AHEAD), 0)
    way_m = before_ns = 0.0
    speed = 0.0
    for steady_ns in range(0, 30 * 10**9, PERIOD_NS // 4):
        now_ns = int(steady_ns * pace)
        way_m += speed * (now_ns - before_ns) / 1e9
        before_ns = now_ns
        speed, _ = motion.command(now_ns)
    assert motion.feedback(now_ns).state is MotionState.DONE
    assert way_m == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("jump_s", "problem"), [(0.3, "no control cycle for 0.3"), (61.0, "no control cycle for 61")]
)
def test_pause_hidden_by_the_clock_stops_the_robot(jump_s: float, problem: str) -> None:
    steady_ns = 0
    motion = Motion(LIMITS, steady_ns=lambda: steady_ns)
    motion.begin(plan(AHEAD), 0)
    motion.command(PERIOD_NS)
    steady_ns = int(jump_s * 1e9)
    assert motion.command(2 * PERIOD_NS) == (0.0, 0.0)
    assert problem in motion.feedback(0).problem


class Simulation:
    """Motion by a clock that can be stopped, with a steady clock."""

    def __init__(self) -> None:
        self.now_ns = self.steady_ns = 100 * 10**9
        self.motion = Motion(LIMITS, steady_ns=lambda: self.steady_ns)
        self.run(2.0)

    def run(self, seconds: float, pace: float = 1.0) -> list[tuple[float, float]]:
        commands = []
        for _ in range(round(seconds * 1e9 / PERIOD_NS)):
            self.steady_ns += PERIOD_NS
            self.now_ns += int(PERIOD_NS * pace)
            commands.append(self.motion.command(self.now_ns))
        return commands


def test_plan_during_a_clock_standstill_is_refused() -> None:
    simulation = Simulation()
    simulation.run(1.0, pace=0.0)
    simulation.motion.begin(plan(AHEAD, stamp_ns=simulation.now_ns), simulation.now_ns)
    assert set(simulation.run(1.0)) == {(0.0, 0.0)}
    feedback = simulation.motion.feedback(simulation.now_ns)
    assert feedback.state is MotionState.REFUSED
    assert feedback.problem.startswith("The clock has stood still")


def test_speech_before_a_clock_standstill_is_too_old_after_it() -> None:
    simulation = Simulation()
    stamp_ns = simulation.now_ns
    simulation.run(5.0, pace=0.0)
    simulation.run(2.1)
    simulation.motion.begin(plan(AHEAD, stamp_ns=stamp_ns), simulation.now_ns)
    assert set(simulation.run(1.0)) == {(0.0, 0.0)}
    assert "7.1 seconds ago" in simulation.motion.feedback(simulation.now_ns).problem


def test_stop_works_with_any_clock() -> None:
    simulation = Simulation()
    simulation.run(5.0, pace=0.0)
    simulation.motion.begin(plan(STOP), simulation.now_ns)
    assert simulation.motion.feedback(simulation.now_ns).state is MotionState.STOPPED


def test_clock_is_trusted_again_after_a_standstill() -> None:
    simulation = Simulation()
    simulation.run(5.0, pace=0.0)
    simulation.run(2.1)
    simulation.motion.begin(plan(AHEAD, stamp_ns=simulation.now_ns), simulation.now_ns)
    assert simulation.run(1.0)[-1][0] > 0.0


def test_external_step_ends_when_the_clock_stands_still() -> None:
    simulation = Simulation()
    simulation.motion.begin(plan(LOOK, stamp_ns=simulation.now_ns), simulation.now_ns)
    simulation.run(1.0)
    assert simulation.motion.feedback(simulation.now_ns).state is MotionState.WAITING
    simulation.run(1.0, pace=0.0)
    feedback = simulation.motion.feedback(simulation.now_ns)
    assert feedback.state is MotionState.STOPPED
    assert feedback.problem.startswith("The clock has stood still")


@pytest.mark.parametrize(("pace", "drives_after_s"), [(1.0, 1.6), (5.0, 1.6), (0.5, 3.2)])
def test_negation_blocks_by_both_clocks(pace: float, drives_after_s: float) -> None:
    for after_s, drives in ((drives_after_s - 0.3, False), (drives_after_s, True)):
        simulation = Simulation()
        simulation.run(2.0, pace)
        said = Transcript("don't", 1.0, "command", simulation.now_ns, True)
        simulation.motion.observe(said, simulation.now_ns)
        simulation.run(after_s, pace)
        simulation.motion.begin(plan(AHEAD, stamp_ns=simulation.now_ns), simulation.now_ns)
        assert any(speed for speed, _ in simulation.run(0.5, pace)) is drives


@pytest.mark.parametrize("pace", [0.15, 0.3, 1.0])
def test_no_step_exceeds_the_longest_distance_by_the_steady_clock(pace: float) -> None:
    simulation = Simulation()
    simulation.run(2.0, pace)
    longest_m = LIMITS.motion.max_distance_m
    far = ActionStep("move", distance_m=longest_m, speed_mps=0.5)
    simulation.motion.begin(plan(far, stamp_ns=simulation.now_ns), simulation.now_ns)
    way_m = sum(speed for speed, _ in simulation.run(59.0, pace)) * PERIOD_NS / 1e9
    assert way_m <= longest_m * 1.06
    is_there = simulation.motion.feedback(simulation.now_ns).state is MotionState.DONE
    assert is_there is (pace == 1.0)


def test_step_time_limit_uses_the_steady_clock_too() -> None:
    steady_ns = 0
    motion = Motion(LIMITS, steady_ns=lambda: steady_ns)
    motion.begin(plan(ActionStep("move", distance_m=4.0, speed_mps=0.1)), 0)
    end_ns = int((LIMITS.plan.max_step_s + 0.1) * 1e9)
    speeds = []
    for steady_ns in range(0, end_ns, PERIOD_NS):
        speeds.append(motion.command(steady_ns // 3)[0])
    assert speeds[-10] > 0.0
    assert speeds[-1] == 0.0
    assert "longer than" in motion.feedback(0).problem
