"""An action of another package is executed, obeys stop, and cannot harm the command node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_rig import FAR, STILL
from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.health import HealthLevel
from edge_inference.core.voice import ActionStep, Intent, IntentArray
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import IntentArrayAdapter
from edge_inference.speech.planning.motion import MotionState
from rig import Collected, Outside, Rig, wait_for
from wave_rig import ACTION_ENTRY, Robot, wave, write_limits

pytestmark = pytest.mark.usefixtures("patient")

GRAMMAR = """
joiners: [then]
slots:
  times: {type: number, minimum: 1, maximum: 10, spoken: [1, 2, 3]}
intents:
  stop: {phrases: [stop]}
  look: {phrases: [look around]}
  wave: {phrases: ["wave [{times} times]"]}
"""


class Arm:
    """The driver of the arm, in another process."""

    def __init__(self, robot: Robot, outside: Outside) -> None:
        self.waves: Collected = outside.listen("/arm/wave", "std_msgs/UInt8")
        self.rests: Callable[..., None] = outside.speak("/arm/rests", "std_msgs/Bool")
        node = robot.node._dispatcher._executors["wave"]._node
        robot.rig.wait_for_subscribers(node, "/arm/wave")
        robot.rig.wait_for_publishers(node, "/arm/rests")

    def wait_for_wave(self, times: int) -> None:
        wait_for(lambda: {"data": times} in self.waves, f"{times} waves")


@pytest.fixture
def robot(rig: Rig, extension_package: None, tmp_path: Path) -> Robot:
    return Robot(rig, write_limits(tmp_path))


def test_it_is_executed_while_the_base_stands(robot: Robot, outside: Outside) -> None:
    arm = Arm(robot, outside)
    robot.speaker.plan(wave(2.0), *FAR)
    arm.wait_for_wave(2)
    robot.velocities.wait(10)  # longer than zero_velocity_s
    assert set(robot.velocities) == {STILL}
    assert (robot.state, robot.feedback[-1].step) == (MotionState.WAITING, wave(2.0))
    arm.rests(data=True)
    wait_for(lambda: robot.velocities[-1] != STILL, "the next step")
    assert {"data": 0} not in arm.waves
    assert robot.said == []


@pytest.mark.parametrize("text", ["stop", "don't do that"])
def test_a_stop_or_a_no_cancels_it_at_once(robot: Robot, outside: Outside, text: str) -> None:
    arm = Arm(robot, outside)
    robot.speaker.plan(wave(3.0), *FAR)
    arm.wait_for_wave(3)
    robot.speaker.say(text)
    assert robot.state is MotionState.STOPPED  # before the call returned
    arm.wait_for_wave(0)
    assert set(robot.velocities) == {STILL}


def test_another_plan_cancels_it(robot: Robot, outside: Outside) -> None:
    arm = Arm(robot, outside)
    robot.speaker.plan(wave(3.0))
    arm.wait_for_wave(3)
    robot.speaker.plan(*FAR)
    arm.wait_for_wave(0)
    wait_for(lambda: robot.velocities[-1] != STILL, "driving")


def test_the_same_action_in_another_plan_begins_after_the_cancel(
    robot: Robot, outside: Outside
) -> None:
    arm = Arm(robot, outside)
    robot.speaker.plan(wave(3.0))
    arm.wait_for_wave(3)
    robot.speaker.plan(wave(2.0))
    arm.wait_for_wave(2)
    waves = [message["data"] for message in arm.waves]
    assert waves[0] == 3 and set(waves[1:-1]) == {0} and waves[-1] == 2
    arm.rests(data=True)
    robot.wait_for_state(MotionState.DONE)
    assert robot.said == []


def test_a_deactivation_cancels_it(robot: Robot, outside: Outside) -> None:
    arm = Arm(robot, outside)
    robot.speaker.plan(wave(3.0))
    arm.wait_for_wave(3)
    robot.rig.call(robot.node.trigger_deactivate)
    arm.wait_for_wave(0)
    assert robot.state is MotionState.STOPPED


def test_its_own_limits_hold_for_every_plan(robot: Robot) -> None:
    robot.speaker.plan(wave(4.0))
    assert robot.state is MotionState.REFUSED
    assert robot.said == ["Waving 4 times is too much. I may wave 3 times"]


def test_from_the_words_to_the_arm(robot: Robot, outside: Outside, tmp_path: Path) -> None:
    arm = Arm(robot, outside)
    grammar = tmp_path / "grammar.yaml"
    grammar.write_text(GRAMMAR)
    robot.rig.load("Planner", limits=write_limits(tmp_path))
    robot.rig.load("IntentParser", grammar=str(grammar))
    robot.speaker.say("look around then wave two times")
    arm.wait_for_wave(2)
    arm.rests(data=True)
    robot.wait_for_state(MotionState.DONE)
    assert robot.said == ["looking, then waving 2 times"]
    robot.speaker.say("wave nine times")
    assert "Waving 9 times is too much. I may wave 3 times" in robot.said.wait(2)


def test_from_another_process(robot: Robot, outside: Outside) -> None:
    arm = Arm(robot, outside)
    plan = outside.speak("/ai/action_plan", "edge_inference/ActionPlan")
    robot.rig.wait_for_publishers(robot.node, "/ai/action_plan", publishers=2)
    seconds, nanoseconds = divmod(robot.node.now_ns(), 10**9)
    nothing = float("nan")
    numbers = dict.fromkeys(("distance_m", "angle_rad", "speed_mps", "rate_radps"), nothing)
    times = {"name": "times", "value": 2.0, "text": "", "unit": ""}
    plan(
        header={"stamp": {"sec": seconds, "nanosec": nanoseconds}},
        intent="wave",
        steps=[{"action": "wave", **numbers, "values": [times]}],
    )
    arm.wait_for_wave(2)


# Executors with errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ({"start": "raise ValueError('no power')"}, "ValueError: no power"),
        ({"start": "raise SystemExit(3)"}, "SystemExit: 3"),
        ({"outcome": "raise KeyError('joint')"}, "KeyError: 'joint'"),
        ({"outcome": "return 7"}, "TypeError: outcome: expected a text or None, got int"),
        ({"outcome": "1 / 0", "cancel": "1 / 0"}, "ZeroDivisionError"),
    ],
)
def test_an_exception_fails_the_plan_aloud(
    rig: Rig, install_wave: Callable[..., Any], tmp_path: Path, lines: dict[str, str], problem: str
) -> None:
    module = install_wave(**lines)
    robot = Robot(rig, write_limits(tmp_path))
    robot.speaker.plan(wave(1.0), *FAR)
    assert robot.said.wait() == ["wave has failed"]
    robot.wait_for_state(MotionState.STOPPED)
    wait_for(lambda: robot.has_error(problem), "the error in /diagnostics")
    wait_for(lambda: "cancel" in module.calls, "the cancel")  # it may have begun to move
    assert set(robot.velocities) <= {STILL}
    robot.assert_drives()


def test_an_executor_that_does_not_begin_leaves_the_others(
    rig: Rig, install_wave: Callable[..., Any], tmp_path: Path
) -> None:
    install_wave(make="raise OSError('no such port')")
    robot = Robot(rig, write_limits(tmp_path))
    status = robot.node.health.status(0)
    assert status.level is HealthLevel.WARN
    assert "'wave' cannot be made: OSError: no such port" in status.message
    robot.speaker.plan(wave(1.0))
    assert robot.said == ["I cannot wave"]
    robot.assert_drives()


def test_an_action_without_an_executor_is_refused_aloud(
    rig: Rig, install_wave: Callable[..., Any], tmp_path: Path
) -> None:
    install_wave(entries=ACTION_ENTRY)
    robot = Robot(rig, write_limits(tmp_path))
    assert "unknown action executor 'wave'" in robot.node.health.status(0).message
    robot.speaker.plan(wave(1.0), *FAR)
    assert (robot.said, robot.state) == (["I cannot wave"], MotionState.STOPPED)


def test_an_arm_of_a_package_picks_things_up(
    rig: Rig, install_wave: Callable[..., Any], tmp_path: Path
) -> None:
    module = install_wave(
        "[edge_inference.action_executors]\narm = their_wave:ARM\n", outcome="return ''"
    )
    limits = tmp_path / "limits.yaml"
    limits.write_text("plan: {actions: [pick, place, stop], things: [cup]}\n")
    robot = Robot(rig, str(limits))
    robot.speaker.plan(ActionStep("pick", target="cup"), ActionStep("place", target="cup"))
    robot.wait_for_state(MotionState.DONE)
    assert module.calls == ["start", "started"] * 2
    assert robot.said == []


def test_an_executor_may_drive_the_base_itself(
    rig: Rig, install_wave: Callable[..., Any], tmp_path: Path
) -> None:
    module = install_wave(make="self.drives_base = True")
    robot = Robot(rig, write_limits(tmp_path))
    cycles = robot.node._motion
    robot.speaker.plan(wave(1.0))
    wait_for(lambda: "started" in module.calls, "the start")

    def wait_cycles() -> int:
        last_ns = cycles._last_ns
        wait_for(lambda: cycles._last_ns > last_ns + 500_000_000, "some control cycles")
        return len(robot.velocities)

    before = wait_cycles()  # the zeros of the cycles in which it started are under way
    assert wait_cycles() == before
    robot.speaker.say("stop")
    assert set(robot.velocities[before:]) == {STILL}


def test_an_action_that_cannot_be_planned_is_answered(
    rig: Rig, install_wave: Callable[..., Any], tmp_path: Path
) -> None:
    install_wave()
    said, plans = rig.tap("/ai/say"), rig.tap("/ai/action_plan")
    node = rig.load("Planner", limits=write_limits(tmp_path))
    container = rig.container.node
    intents = rig.call(lambda: Publisher(container, IntentArrayAdapter(), "/ai/intent", RELIABLE))
    for name in ("wave", "look"):
        stamp_ns = node.now_ns()
        intents.publish(IntentArray((Intent(name),), 1.0, name, "grammar", stamp_ns))
    assert [plan.is_refused for plan in plans.wait(2)] == [True, False]
    assert said == ["I cannot plan that: ZeroDivisionError: a bug"]
    assert "a bug" in node.health.status(0).message


@pytest.mark.parametrize("place", ["start", "outcome"])
def test_a_call_that_hangs_delays_no_stop(
    rig: Rig, install_wave: Callable[..., Any], tmp_path: Path, place: str
) -> None:
    module = install_wave(**{place: "wait()"})
    robot = Robot(rig, write_limits(tmp_path), cancel_timeout_s=0.1)
    robot.speaker.plan(wave(1.0), *FAR)
    wait_for(lambda: "start" in module.calls, "the start")
    robot.velocities.wait(10)
    robot.speaker.say("stop")
    assert robot.state is MotionState.STOPPED
    wait_for(lambda: "cancel" in module.calls, "the cancel during the call")
    assert robot.said.wait() == ["Attention, wave may still be going on"]
    assert robot.has_error("action executor 'wave' does not end a canceled step")
    robot.speaker.plan(wave(1.0))  # no second one beside it
    assert robot.said.wait(2)[1] == "wave has not ended yet"
    assert module.calls.count("start") == 1
    assert set(robot.velocities) == {STILL}
    robot.assert_drives()
    module.is_released.set()
    # What it began after the stop is canceled too.
    wait_for(lambda: module.calls[-1] == "cancel" and "started" in module.calls, "a second cancel")
    wait_for(lambda: not robot.node._dispatcher.may_still_move, "its end")


def test_a_call_that_hangs_ends_by_the_time_limit(
    rig: Rig, install_wave: Callable[..., Any], tmp_path: Path
) -> None:
    module = install_wave(start="wait()", cancel="wait()")
    robot = Robot(rig, write_limits(tmp_path, ", max_step_s: 0.3"))
    robot.speaker.plan(wave(1.0))
    robot.wait_for_state(MotionState.STOPPED)
    assert robot.said.wait()[0] == "The step took longer than 0.3 seconds"
    wait_for(lambda: "cancel" in module.calls, "the cancel")
    assert set(robot.velocities) == {STILL}


@pytest.mark.parametrize("body", ["wait()", "raise SystemExit(3)"])
def test_a_callback_that_hangs_or_fails_delays_no_stop(
    rig: Rig, install_wave: Callable[..., Any], tmp_path: Path, body: str
) -> None:
    make = f"""
        def callback():
            calls.append("callback")
            {body}
        node.create_timer(0.01, callback)
    """
    module = install_wave(make=make)
    robot = Robot(rig, write_limits(tmp_path))
    robot.speaker.plan(wave(1.0))
    wait_for(lambda: "callback" in module.calls, "the callback")
    robot.speaker.say("stop")
    assert robot.state is MotionState.STOPPED
    wait_for(lambda: "cancel" in module.calls, "the cancel")
    robot.assert_drives()
    if body != "wait()":
        wait_for(lambda: robot.has_error("SystemExit: 3"), "the error in /diagnostics")
