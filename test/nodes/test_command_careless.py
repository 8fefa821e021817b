"""A careless package, and a stop with an odd stamp: stop, no and the velocities go on working."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from command_rig import FAR, STILL
from edge_inference.core.voice import ActionStep
from edge_inference.speech.planning.motion import MotionState
from rig import Outside, Rig, wait_for
from wave_rig import Robot, wave, write_limits

pytestmark = pytest.mark.usefixtures("patient")

Install = Callable[..., Any]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Provide the thread of a planner."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def drive(robot: Robot) -> None:
    robot.speaker.plan(*FAR)
    wait_for(lambda: robot.velocities[-1] != STILL, "driving")


@pytest.mark.parametrize("age_s", [0.0, 30.0, 1e9])
def test_a_stop_plan_stops_whatever_its_stamp(rig: Rig, tmp_path: Path, age_s: float) -> None:
    limits = tmp_path / "limits.yaml"
    limits.write_text("plan: {max_age_s: 60.0}\n")
    robot = Robot(rig, str(limits))
    robot.speaker.say("stop")
    drive(robot)
    robot.speaker.plan(ActionStep("stop"), age_s=age_s)
    assert (robot.state, robot.velocities[-1]) == (MotionState.STOPPED, STILL)
    robot.assert_drives()


def test_a_plan_from_before_a_stop_plan_is_dropped(rig: Rig, tmp_path: Path) -> None:
    limits = tmp_path / "limits.yaml"
    limits.write_text("plan: {max_age_s: 60.0}\n")
    robot = Robot(rig, str(limits))
    robot.speaker.plan(ActionStep("stop"), age_s=1.0)
    robot.speaker.plan(*FAR, age_s=2.0)
    assert robot.node.health.drop_counts() == {"said_before_stop": 1}
    assert (robot.state, set(robot.velocities)) == (MotionState.STOPPED, {STILL})
    robot.speaker.plan(*FAR, age_s=0.5)
    wait_for(lambda: robot.velocities[-1] != STILL, "driving")


@pytest.mark.parametrize(
    "lines",
    [
        {"name": "wave-arm"},
        {"body": "drives_base = property(lambda self: 1 / 0)"},
    ],
)
def test_an_executor_that_cannot_be_made_leaves_the_others(
    rig: Rig, install_wave: Install, tmp_path: Path, lines: dict[str, str]
) -> None:
    name = lines.get("name", "wave")
    entries = f"""
[edge_inference.actions]
wave = their_wave:WAVE
[edge_inference.action_executors]
{name} = their_wave:EXECUTOR
"""
    install_wave(entries, **lines)
    robot = Robot(rig, write_limits(tmp_path))
    assert f"action executor {name!r} cannot be made" in robot.node.health.status(0).message
    robot.speaker.plan(wave(1.0))
    assert robot.said == ["I cannot wave"]
    robot.assert_drives()


def test_an_action_that_leaves_the_robot_standing_does_not_drive(
    rig: Rig, install_wave: Install, tmp_path: Path
) -> None:
    module = install_wave(row=", moves_robot=False", body="drives_base = True")
    robot = Robot(rig, write_limits(tmp_path))
    robot.speaker.plan(wave(1.0))
    assert (robot.state, robot.said) == (MotionState.STOPPED, ["I may not move for wave"])
    assert module.calls == ["objection"]


def test_a_step_that_is_canceled_before_its_thread_runs_does_not_start(
    rig: Rig, install_wave: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = install_wave()
    robot = Robot(rig, write_limits(tmp_path))
    executor = robot.node._dispatcher._executors["wave"]
    start_thread, late = executor._start_thread, []

    def start_late(work: Callable[[], None], what: str) -> Any:
        return late.append(work) if what == "step" else start_thread(work, what)

    monkeypatch.setattr(executor, "_start_thread", start_late)
    robot.speaker.plan(wave(1.0))
    robot.speaker.say("stop")
    (work,) = late
    work()
    assert "start" not in module.calls
    assert "cancel" in module.calls


def test_limits_that_fail_stop_the_robot(rig: Rig, install_wave: Install, tmp_path: Path) -> None:
    install_wave(objection="1 / 0")
    robot = Robot(rig, write_limits(tmp_path))
    drive(robot)
    robot.speaker.plan(wave(1.0))
    assert robot.velocities[-1] == STILL
    assert robot.has_error("ZeroDivisionError")
    robot.assert_drives()


@pytest.mark.parametrize("text", ["stop", "don't do that"])
def test_limits_that_hang_delay_no_stop(
    rig: Rig, install_wave: Install, tmp_path: Path, pool: ThreadPoolExecutor, text: str
) -> None:
    module = install_wave(objection="wait()")
    robot = Robot(rig, write_limits(tmp_path))
    drive(robot)
    plan = pool.submit(robot.speaker.plan, wave(1.0), age_s=-1.0)  # within the margin of clocks
    wait_for(lambda: "objection" in module.calls, "the question for its limits")
    robot.velocities.wait(len(robot.velocities) + 10)  # the control cycle goes on
    assert robot.velocities[-1] != STILL
    robot.speaker.say(text)
    assert (robot.state, robot.velocities[-1]) == (MotionState.STOPPED, STILL)
    module.is_released.set()
    plan.result()
    assert robot.said[-1] == "All right, I leave that"
    assert module.calls == ["objection"]
    assert robot.state is MotionState.STOPPED


@pytest.mark.parametrize(
    "interrupt",
    [
        lambda robot: robot.speaker.say("stop"),
        lambda robot: robot.speaker.say("no no"),
        lambda robot: robot.node.report_exception(RuntimeError("a bug")),
        lambda robot: robot.rig.call(robot.node.trigger_deactivate),
    ],
    ids=["stop", "no", "failure", "deactivation"],
)
def test_a_plan_whose_check_is_interrupted_at_rest_never_begins(
    rig: Rig,
    install_wave: Install,
    tmp_path: Path,
    pool: ThreadPoolExecutor,
    interrupt: Callable[[Robot], object],
) -> None:
    module = install_wave(objection="wait()")
    robot = Robot(rig, write_limits(tmp_path))
    plan = pool.submit(robot.speaker.plan, wave(1.0), *FAR, age_s=-1.0)
    wait_for(lambda: "objection" in module.calls, "the question for its limits")
    interrupt(robot)
    module.is_released.set()
    plan.result()
    assert "start" not in module.calls
    assert robot.node._motion.feedback(0).state is not MotionState.WAITING


def test_a_plan_that_is_checked_for_long_replaces_no_later_one(
    rig: Rig, install_wave: Install, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    module = install_wave(objection="wait()")
    robot = Robot(rig, write_limits(tmp_path))
    plan = pool.submit(robot.speaker.plan, wave(1.0))
    wait_for(lambda: "objection" in module.calls, "the question for its limits")
    robot.speaker.plan(refused="I cannot fly")  # replaces nothing
    drive(robot)
    module.is_released.set()
    plan.result()
    assert robot.state is MotionState.MOVING
    assert module.calls == ["objection"]


def test_a_refused_plan_does_not_replace_one_that_is_checked(
    rig: Rig, install_wave: Install, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    module = install_wave(objection="wait()")
    robot = Robot(rig, write_limits(tmp_path))
    plan = pool.submit(robot.speaker.plan, wave(1.0))
    wait_for(lambda: "objection" in module.calls, "the question for its limits")
    robot.speaker.plan(refused="I cannot fly")
    module.is_released.set()
    plan.result()
    assert robot.state is MotionState.WAITING


def test_limits_that_hang_delay_no_stop_from_another_process(
    rig: Rig, install_wave: Install, tmp_path: Path, outside: Outside
) -> None:
    module = install_wave(objection="wait()")
    robot = Robot(rig, write_limits(tmp_path))
    plan = outside.speak("/ai/action_plan", "edge_inference/ActionPlan")
    say = outside.speak("/ai/transcript", "edge_inference/Transcript")
    for topic in ("/ai/action_plan", "/ai/transcript"):
        robot.rig.wait_for_publishers(robot.node, topic, publishers=2)
    drive(robot)
    for number in range(2):
        seconds, nanoseconds = divmod(robot.node.now_ns(), 10**9)
        header = {"stamp": {"sec": seconds, "nanosec": nanoseconds}}
        times = {"name": "times", "value": 1.0, "text": "", "unit": ""}
        plan(header=header, intent="wave", steps=[{"action": "wave", "values": [times]}])
        if number == 0:
            wait_for(lambda: "objection" in module.calls, "the question for its limits")
    assert robot.said.wait() == ["I am still checking what you asked before"]
    assert robot.velocities[-1] != STILL
    say(text="stop", confidence=1.0, is_final=False)
    robot.wait_for_state(MotionState.STOPPED)
    assert robot.velocities[-1] == STILL
    assert module.calls == ["objection"]
