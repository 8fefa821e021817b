"""Motion stays within its limits for any input, and a stop always ends it."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from edge_inference.core.voice import ActionPlan, ActionStep
from edge_inference.speech.actions.limits import MotionLimits, NamedPlace, PlanLimits, VoiceLimits
from edge_inference.speech.actions.table import step_objection
from edge_inference.speech.planning.motion import Motion, MotionState

LIMITS = VoiceLimits(
    motion=MotionLimits(), plan=PlanLimits(actions=("move", "turn", "look", "stop"))
)
PERIOD_NS = 50_000_000
AHEAD = ActionStep("move", distance_m=1.0, speed_mps=0.4)
BACK = ActionStep("move", distance_m=-0.5, speed_mps=0.4)
LEFT = ActionStep("turn", angle_rad=math.pi / 2, rate_radps=0.8)
RIGHT = ActionStep("turn", angle_rad=-1.0, rate_radps=0.8)
LOOK = ActionStep("look")
STOP = ActionStep("stop")


def plan(*steps: ActionStep, stamp_ns: int = 0, reason: str = "") -> ActionPlan:
    return ActionPlan("test", steps, stamp_ns, is_refused=bool(reason), reason=reason)


def drive(motion: Motion, start_ns: int, cycles: int, period_ns: int = PERIOD_NS):
    """Return the commands of some cycles, and the time after them."""
    times = [start_ns + i * period_ns for i in range(cycles)]
    return [motion.command(now_ns) for now_ns in times], start_ns + cycles * period_ns


def moved(commands, period_ns: int = PERIOD_NS) -> tuple[float, float]:
    return tuple(sum(axis) * period_ns / 1e9 for axis in zip(*commands, strict=True))


def test_no_plan_means_no_motion() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    assert motion.command(10**18) == (0.0, 0.0)
    assert motion.feedback(10**18).state is MotionState.IDLE


@pytest.mark.parametrize(
    ("steps", "way"),
    [
        ((AHEAD,), (1.0, 0.0)),
        ((BACK,), (-0.5, 0.0)),
        ((LEFT,), (0.0, math.pi / 2)),
        ((RIGHT,), (0.0, -1.0)),
        ((AHEAD, LEFT, BACK), (0.5, math.pi / 2)),
    ],
)
def test_commanded_distance_is_the_requested_one(
    steps: tuple[ActionStep, ...], way: tuple[float, float]
) -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(*steps), 0)
    commands, end_ns = drive(motion, 0, 400)
    assert moved(commands) == pytest.approx(way, abs=0.003)
    assert motion.feedback(end_ns).state is MotionState.DONE
    assert motion.feedback(end_ns).progress == 1.0
    assert all(linear == 0.0 or angular == 0.0 for linear, angular in commands)


def test_motion_starts_in_the_first_cycle() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(AHEAD), 0)
    assert motion.command(0)[0] > 0.0


def test_second_call_at_the_same_time_changes_nothing() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(AHEAD), 0)
    assert motion.command(0) == motion.command(0)


def test_velocity_change_is_limited_by_the_acceleration() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(AHEAD, BACK), 0)
    commands, _ = drive(motion, 0, 300)
    most = LIMITS.motion.acceleration_mps2 * PERIOD_NS / 1e9
    speeds = [0.0, *(linear for linear, _ in commands)]
    assert max(abs(b - a) for a, b in pairwise(speeds)) <= most + 1e-9


def test_stop_acts_in_the_next_call() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(AHEAD, LEFT), 0)
    commands, now_ns = drive(motion, 0, 20)
    assert commands[-1][0] > 0.3
    motion.stop(now_ns)
    assert drive(motion, now_ns, 50)[0] == [(0.0, 0.0)] * 50
    assert motion.feedback(now_ns).state is MotionState.STOPPED


def test_stop_plan_is_never_too_old_and_stops_at_once() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(AHEAD), 0)
    _, now_ns = drive(motion, 0, 20)
    motion.begin(plan(STOP, stamp_ns=now_ns - 10**11), now_ns)
    assert motion.command(now_ns) == (0.0, 0.0)


def test_new_plan_brakes_the_old_one_first() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(AHEAD), 0)
    before, now_ns = drive(motion, 0, 20)
    motion.begin(plan(LEFT, stamp_ns=now_ns), now_ns)
    commands, _ = drive(motion, now_ns, 200)
    speeds = [before[-1][0], *(linear for linear, _ in commands)]
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[-1] == 0.0
    assert moved(commands)[1] == pytest.approx(math.pi / 2, abs=0.003)


@pytest.mark.parametrize(
    ("made", "now_ns", "problem"),
    [
        (plan(ActionStep("move", distance_m=11.0, speed_mps=0.2)), 0, "11 meters is too much"),
        (plan(ActionStep("move", distance_m=1.0, speed_mps=0.6)), 0, "The speed of 0.6"),
        (plan(ActionStep("move", distance_m=math.nan, speed_mps=0.2)), 0, "not a number"),
        (
            plan(ActionStep("move", distance_m=1.0, speed_mps=math.inf)),
            0,
            "The speed is not a number",
        ),
        (
            plan(ActionStep("move", distance_m=9.0, speed_mps=0.1)),
            0,
            "would take 90.2 seconds. I may",
        ),
        (
            plan(ActionStep("turn", angle_rad=6.0, rate_radps=0.05)),
            0,
            "The turn would take 120 sec",
        ),
        (plan(ActionStep("move", distance_m=1.0, speed_mps=0.0)), 0, "The speed is zero"),
        (plan(ActionStep("turn", angle_rad=7.0, rate_radps=0.2)), 0, "The turn of 401.07"),
        (plan(ActionStep("pick", target="cup")), 0, "I cannot pick"),
        (plan(ActionStep("fly")), 0, "how to fly"),
        (plan(ActionStep("say")), 0, "I cannot speak"),
        (plan(AHEAD, ActionStep("fly")), 0, "how to fly"),
        (plan(*[AHEAD] * 9), 0, "9 steps are too many"),
        (plan(AHEAD), 3_100_000_000, "3.1 seconds ago"),
        (plan(AHEAD, stamp_ns=4_000_000_000), 0, "two clocks"),
        (plan(replace(AHEAD, angle_rad=1.0)), 0, "I do not know what angle_rad means for move"),
        (plan(replace(LEFT, distance_m=1.0)), 0, "I do not know what distance_m means for turn"),
        (plan(replace(AHEAD, target="cup")), 0, "I do not know what target means for move"),
        (plan(replace(LOOK, speed_mps=1.0)), 0, "I do not know what speed_mps means for look"),
        (plan(reason="I may not"), 0, "I may not"),
        (replace(plan(), is_refused=True), 0, "refused without a reason"),
        (plan(), 0, "There is nothing to do"),
    ],
)
def test_unsafe_plan_causes_no_motion(made: ActionPlan, now_ns: int, problem: str) -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(made, now_ns)
    assert drive(motion, now_ns, 5)[0] == [(0.0, 0.0)] * 5
    assert motion.feedback(now_ns).state is MotionState.REFUSED
    assert problem in motion.feedback(now_ns).problem


def test_refused_plan_does_not_end_the_current_one() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(AHEAD), 0)
    _, now_ns = drive(motion, 0, 10)
    motion.begin(plan(reason="I did not understand that"), now_ns)
    assert motion.command(now_ns)[0] > 0.0
    assert motion.feedback(now_ns).state is MotionState.MOVING


@pytest.mark.parametrize(
    ("later_ns", "problem"), [(260_000_000, "no control cycle"), (-1, "clock ran back")]
)
def test_clock_fault_ends_the_plan(later_ns: int, problem: str) -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(AHEAD), 0)
    _, next_ns = drive(motion, 0, 20)
    now_ns = next_ns - PERIOD_NS + later_ns
    assert motion.command(now_ns) == (0.0, 0.0)
    assert drive(motion, next_ns, 5)[0] == [(0.0, 0.0)] * 5
    assert problem in motion.feedback(now_ns).problem


def test_step_over_the_time_limit_ends() -> None:
    # Such a slow cycle takes longer than the assumed period.
    motion = Motion(VoiceLimits(plan=PlanLimits(max_step_s=2.0)))
    motion.begin(plan(ActionStep("move", distance_m=0.18, speed_mps=0.1)), 0)
    commands, now_ns = drive(motion, 0, 20, 210_000_000)
    assert [linear > 0 for linear, _ in commands] == [True] * 10 + [False] * 10
    assert "longer than 2 seconds" in motion.feedback(now_ns).problem


def test_step_without_a_speed_has_the_default() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(ActionStep("move", distance_m=1.0), ActionStep("turn", angle_rad=1.0)), 0)
    commands, _ = drive(motion, 0, 200)
    assert max(linear for linear, _ in commands) == LIMITS.motion.default_speed_mps
    assert max(angular for _, angular in commands) == LIMITS.motion.default_rate_radps


@pytest.mark.parametrize("acceleration", [0.01, 50.0, 1e300])
def test_motion_arrives_with_any_acceleration(acceleration: float) -> None:
    motion = Motion(VoiceLimits(motion=MotionLimits(acceleration_mps2=acceleration)))
    motion.begin(plan(ActionStep("move", distance_m=0.1, speed_mps=0.1)), 0)
    commands, now_ns = drive(motion, 0, 400)
    assert motion.feedback(now_ns).state is MotionState.DONE
    assert moved(commands)[0] == pytest.approx(0.1, abs=0.01)


def test_external_step_is_awaited() -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    motion.begin(plan(LOOK, AHEAD), 0)
    assert drive(motion, 0, 10)[0] == [(0.0, 0.0)] * 10
    assert motion.feedback(0).state is MotionState.WAITING
    assert motion.feedback(0).step == LOOK
    later_ns = 10**10
    motion.step_done(later_ns)
    assert motion.command(later_ns)[0] > 0.0
    assert motion.feedback(later_ns).step == AHEAD


def test_stop_with_other_values_is_a_stop() -> None:
    assert step_objection(replace(STOP, distance_m=1.0, target="cup"), LIMITS) == ""


def test_unused_zero_is_ignored() -> None:
    assert step_objection(replace(LOOK, distance_m=0.0, angle_rad=0.0), LIMITS) == ""


@pytest.mark.parametrize("clock", ["node", "steady"])
@pytest.mark.parametrize(
    ("step", "is_limited"), [(LOOK, True), (ActionStep("go_to", target="kitchen"), False)]
)
def test_awaited_step_has_a_time_limit_unless_it_is_a_journey(
    step: ActionStep, is_limited: bool, clock: str
) -> None:
    now_ns = {"node": 0, "steady": 0}
    limits = replace(
        LIMITS,
        plan=replace(LIMITS.plan, actions=("look", "go_to", "stop")),
        places={"kitchen": NamedPlace(1.0, 2.0)},
    )
    motion = Motion(limits, steady_ns=lambda: now_ns["steady"])
    motion.begin(plan(step), 0)
    motion.command(0)
    for part, is_over in ((0.999, False), (1.001, is_limited)):
        now_ns["node"] = now_ns["steady"] = round(part * limits.plan.max_step_s * 1e9)
        now_ns["node" if clock == "steady" else "steady"] -= 10**9
        motion.command(now_ns["node"])
        feedback = motion.feedback(now_ns["node"])
        assert (feedback.state is MotionState.STOPPED) is is_over
        assert feedback.problem == ("The step took longer than 60 seconds" if is_over else "")
