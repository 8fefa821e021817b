"""Plans become velocities; a stop has priority; without a step the robot stands."""

from __future__ import annotations

import dataclasses
import math
import threading
import time

import pytest

from command_rig import FAR, STILL, Speaker
from edge_inference.core.runtime.thread_times import clock_id
from edge_inference.core.voice import ActionStep
from edge_inference.nodes.voice import command, plan_executor
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.planning import motion
from edge_inference.speech.planning.motion import MotionState
from rig import Outside, Rig, later, wait_for

pytestmark = pytest.mark.usefixtures("patient")


def to_fields(step: ActionStep) -> dict[str, object]:
    """The fields of a step message; NaN for numbers that do not apply."""
    values = dataclasses.asdict(step)
    return {name: math.nan if value is None else value for name, value in values.items()}


@pytest.fixture
def speaker(rig: Rig) -> Speaker:
    return Speaker(rig)


def states(feedback) -> list[str]:
    """The states in order, without repetitions."""
    found = [each.state.value for each in feedback]
    return [state for i, state in enumerate(found) if not i or state != found[i - 1]]


def test_a_plan_from_start_to_end(rig: Rig, speaker: Speaker) -> None:
    velocities, feedback = rig.tap("/cmd_vel"), rig.tap("/ai/command_feedback")
    timings = rig.tap("/ai/stage_timing")
    rig.load("Command", zero_velocity_s=0.1)
    assert velocities == []  # without a plan nothing is published
    back = ActionStep("move", distance_m=-0.04, speed_mps=0.25)
    left = ActionStep("turn", angle_rad=0.05, rate_radps=0.5)
    stamp_ns = speaker.plan(back, left)
    assert velocities[0][0] < 0  # it starts when the plan arrives
    wait_for(lambda: feedback and feedback[-1].state is MotionState.DONE, "the end")
    wait_for(lambda: velocities[-1] == STILL, "standing")
    straight = [v for v in velocities if v.linear_mps]
    turning = [v for v in velocities if v.angular_radps]
    assert straight and turning and not set(straight) & set(turning)
    assert all(v.linear_mps <= 0 and abs(v.linear_mps) <= 0.5 for v in velocities)
    assert all(0 <= v.angular_radps <= 1.0 for v in velocities)
    assert states(feedback) == ["moving", "done"]
    assert {each.stamp_ns for each in feedback} == {stamp_ns}
    assert (timings[0].stage, timings[0].stamp_ns) == ("command", stamp_ns)
    assert timings[0].age_ms >= 0
    assert 0 < timings[0].arrived_ns <= timings[0].ended_ns <= time.monotonic_ns()
    assert timings[0].clock_id == clock_id()
    assert 0 <= timings[0].cpu_ms <= timings[0].process_ms + 0.1
    assert (timings[0].queue_ms, timings[0].publish_ms, timings[0].receive_ms) == (0, 0, None)


@pytest.mark.parametrize("is_final", [True, False])
def test_stop_acts_at_once(rig: Rig, speaker: Speaker, is_final: bool) -> None:
    velocities, feedback = rig.tap("/cmd_vel"), rig.tap("/ai/command_feedback")
    rig.load("Command")
    speaker.plan(*FAR)
    assert velocities[-1] != STILL
    speaker.say("stop", is_final)
    assert velocities[-1] == STILL  # before the call returned
    before = len(velocities)
    velocities.wait(before + 5)
    assert set(velocities[before:]) == {STILL}
    assert feedback[-1].state is MotionState.STOPPED


def test_a_plan_from_before_a_stop_is_dropped(rig: Rig, speaker: Speaker) -> None:
    velocities = rig.tap("/cmd_vel")
    node = rig.load("Command")
    speaker.say("please stop")
    speaker.plan(*FAR, age_s=1.0)
    assert set(velocities) == {STILL}
    assert node.health.drop_counts() == {"said_before_stop": 1}
    speaker.plan(*FAR)
    assert velocities[-1] != STILL


@pytest.mark.parametrize("age_s", [0.5, 1e6, -1.0])
def test_a_stop_holds_whatever_its_stamp(rig: Rig, speaker: Speaker, age_s: float) -> None:
    velocities = rig.tap("/cmd_vel")
    node = rig.load("Command")
    speaker.say("stop", age_s=age_s)
    speaker.plan(*FAR, age_s=0.2)  # it was still being processed
    assert set(velocities) <= {STILL}
    assert node.health.drop_counts() == {"said_before_stop": 1}


def test_a_stop_from_before_the_clock_ran_back_does_not_lock_the_robot(
    rig: Rig, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    velocities = rig.tap("/cmd_vel")
    node = rig.load("Command")
    speaker.say("stop")
    now_ns = node.now_ns
    monkeypatch.setattr(node, "now_ns", lambda: now_ns() - 1000 * 10**9)
    speaker.plan(*FAR, age_s=1000.0)
    assert velocities[-1] != STILL


def test_a_stop_with_a_stamp_of_the_future_does_not_lock_the_robot(
    rig: Rig, speaker: Speaker
) -> None:
    velocities = rig.tap("/cmd_vel")
    rig.load("Command")
    speaker.say("stop", age_s=-1000.0)
    speaker.plan(*FAR)
    assert velocities[-1] != STILL


@pytest.mark.parametrize(
    "text", ["", "go forward", "don't stop", "no, go left", "the stop sign is red"]
)
def test_other_words_do_not_stop(rig: Rig, speaker: Speaker, text: str) -> None:
    velocities = rig.tap("/cmd_vel")
    rig.load("Command")
    speaker.plan(*FAR)
    speaker.say(text)
    velocities.wait(len(velocities) + 2)
    assert velocities[-1] != STILL


def test_deactivation_stops_the_robot(rig: Rig, speaker: Speaker) -> None:
    velocities = rig.tap("/cmd_vel")
    node = rig.load("Command")
    speaker.plan(*FAR)
    rig.call(node.trigger_deactivate)
    assert velocities[-1] == STILL
    count = len(velocities)
    speaker.plan(*FAR)
    rig.call(node.trigger_activate)
    assert set(velocities[count:]) <= {STILL}


def test_it_ends_once_the_base_has_the_zero_velocity(
    rig: Rig, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    velocities = rig.tap("/cmd_vel")
    node = rig.load("Command")
    speaker.plan(*FAR)
    waited_after: list[object] = []
    monkeypatch.setattr(
        node._velocities, "wait_until_received", lambda _: waited_after.append(velocities[-1])
    )
    rig.call(node.trigger_deactivate)
    assert waited_after == [STILL]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (ActionStep("move", distance_m=1e6), "is too much"),
        (ActionStep("move", distance_m=math.nan), "The distance is not a number"),
        (ActionStep("move"), "The distance is not a number"),
        (ActionStep("move", distance_m=1.0, speed_mps=9.0), "The speed of 9"),
        (ActionStep("fly"), "I do not know how to fly"),
        (ActionStep("go_to", target="moon"), "I do not know where moon is"),
        (ActionStep("go_to", target="kitchen"), "I have no navigation"),
    ],
)
def test_an_unsafe_step_is_refused_aloud(
    rig: Rig, speaker: Speaker, step: ActionStep, words: str
) -> None:
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    rig.load("Command")
    speaker.plan(step)
    assert set(velocities) <= {STILL}
    assert len(said) == 1 and words in said[0]


@pytest.mark.parametrize(
    ("topic", "kind", "message", "words"),
    [
        ("action_plan", "ActionPlan", {"steps": [{"action": "fly"}]}, "action: expected one of"),
        ("transcript", "Transcript", {"text": "stop", "mode": "song"}, "got 'song'"),
        ("transcript", "Transcript", {"text": "stop", "confidence": 7.0}, "from 0 to 1, got 7"),
    ],
)
def test_an_unreadable_message_stops_the_robot(
    rig: Rig, speaker: Speaker, outside: Outside, topic: str, kind: str, message, words: str
) -> None:
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    feedback = rig.tap("/ai/command_feedback")
    node = rig.load("Command")
    send = outside.speak(f"/ai/{topic}", f"edge_inference/{kind}")
    rig.wait_for_publishers(node, f"/ai/{topic}", publishers=2)  # one is the speaker
    speaker.plan(*FAR)
    assert velocities[-1] != STILL
    send(**message)
    wait_for(lambda: velocities[-1] == STILL, "standing")
    wait_for(lambda: feedback[-1].state is MotionState.STOPPED, "the feedback")
    assert words in feedback[-1].problem and said.wait() == [feedback[-1].problem]
    assert node.health.drop_counts() == {"invalid": 1}
    speaker.plan(*FAR, age_s=1.0)  # from before the stop
    assert velocities[-1] == STILL

    def is_driving() -> bool:  # not at once: it may have been a negation
        speaker.plan(*FAR)
        return bool(velocities[-1] != STILL)

    wait_for(is_driving, "the robot to set off")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (ActionStep("dance"), "I do not know how to dance"),
        (ActionStep("go_to", target="moon"), "I do not know where moon is"),
        (ActionStep("place", target="cup"), "I cannot put things down"),
    ],
)
def test_an_unsupported_step_ends_the_plan(
    rig: Rig, speaker: Speaker, monkeypatch: pytest.MonkeyPatch, step: ActionStep, words: str
) -> None:
    monkeypatch.setattr(motion, "step_objection", lambda step, limits: "")
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    feedback = rig.tap("/ai/command_feedback")
    rig.load("Command")
    speaker.plan(step, *FAR)
    assert (feedback[-1].state, feedback[-1].problem) == (MotionState.STOPPED, words)
    assert said == [words]
    assert set(velocities) <= {STILL}


def test_an_old_plan_is_refused(rig: Rig, speaker: Speaker) -> None:
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    rig.load("Command")
    speaker.plan(*FAR, age_s=60.0)
    assert set(velocities) <= {STILL}
    assert said[0].startswith("That was said 60.0 seconds ago")


def test_a_refused_plan_is_announced_once(rig: Rig, speaker: Speaker) -> None:
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    feedback = rig.tap("/ai/command_feedback")
    rig.load("Command")
    speaker.plan(refused="I cannot fly")
    assert (velocities, said) == ([], [])
    assert feedback[-1].problem == "I cannot fly"


def test_a_step_to_say_is_spoken_and_the_next_step_begins(rig: Rig, speaker: Speaker) -> None:
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    rig.load("Command")
    speaker.plan(ActionStep("say", target="here I go"), *FAR)
    assert said == ["here I go"]
    wait_for(lambda: velocities and velocities[-1] != STILL, "motion")


def test_a_fault_in_the_control_cycle_stops_the_robot(
    rig: Rig, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    velocities = rig.tap("/cmd_vel")
    node = rig.load("Command")
    speaker.plan(*FAR)

    def broken(now_ns: int) -> tuple[float, float]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(node._motion, "command", broken)
    wait_for(lambda: velocities[-1] == STILL, "standing")
    wait_for(lambda: "ZeroDivisionError" in node.health.status(0).message, "the diagnostics")


def test_a_missing_control_cycle_ends_the_motion(
    rig: Rig, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_s = later(monkeypatch, plan_executor)
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    node = rig.load("Command", zero_velocity_s=1.0)
    speaker.plan(*FAR)
    real = node.now_ns
    with node._plan_executor.lock:  # as after a stall of the machine
        node.now_ns = lambda: real() + 31_000_000_000
        pass_s(31.0)
    # Zero velocity is published even though ``zero_velocity_s`` is over.
    wait_for(lambda: velocities[-1] == STILL, "standing")
    assert said.wait()[0].startswith("There was no control cycle for")


def test_cmd_vel_in_another_process(rig: Rig, outside: Outside) -> None:
    node = rig.load("Command")
    received = outside.listen("/cmd_vel", "geometry_msgs/Twist")
    feedback = outside.listen("/ai/command_feedback", "edge_inference/CommandFeedback")
    rig.wait_for_subscribers(node, "/cmd_vel")
    rig.wait_for_subscribers(node, "/ai/command_feedback")
    plan = outside.speak("/ai/action_plan", "edge_inference/ActionPlan")
    rig.wait_for_publishers(node, "/ai/action_plan")
    words = outside.speak("/ai/transcript", "edge_inference/Transcript")
    rig.wait_for_publishers(node, "/ai/transcript")
    seconds, nanoseconds = divmod(node.now_ns(), 10**9)
    plan(
        header={"stamp": {"sec": seconds, "nanosec": nanoseconds}},
        intent="move",
        steps=[to_fields(ActionStep("move", distance_m=2.0, speed_mps=0.3))],
    )
    wait_for(lambda: received and received[-1]["linear"]["x"] == pytest.approx(0.3), "0.3 m/s")
    assert all(
        set(message["angular"].values()) == {0.0} and message["linear"]["y"] == 0.0
        for message in received
    )
    words(text="stop", mode="command", confidence=0.9, is_final=False)
    wait_for(lambda: received[-1]["linear"]["x"] == 0.0, "standing")
    wait_for(lambda: feedback[-1]["state"] == "stopped", "the feedback")
    assert feedback[0]["state"] == "moving" and feedback[0]["step"]["action"] == "move"


def test_stop_acts_while_the_container_is_blocked(rig: Rig, outside: Outside) -> None:
    velocities = rig.tap("/cmd_vel")
    node = rig.load("Command")
    plan = outside.speak("/ai/action_plan", "edge_inference/ActionPlan")
    words = outside.speak("/ai/transcript", "edge_inference/Transcript")
    rig.wait_for_publishers(node, "/ai/action_plan")
    rig.wait_for_publishers(node, "/ai/transcript")
    release = threading.Event()
    rig.container.executor.create_task(release.wait)
    try:
        seconds, nanoseconds = divmod(node.now_ns(), 10**9)
        plan(
            header={"stamp": {"sec": seconds, "nanosec": nanoseconds}},
            intent="move",
            steps=[to_fields(FAR[0])],
        )
        wait_for(lambda: velocities and velocities[-1] != STILL, "driving")
        words(text="stop", mode="command", confidence=0.9, is_final=False)
        wait_for(lambda: velocities[-1] == STILL, "standing")
    finally:
        release.set()


def test_a_halted_simulation_clock_stops_the_robot(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_patient_limits = command.load_limits

    def load_shorter_limits(file: str) -> VoiceLimits:
        limits = load_patient_limits(file)
        return dataclasses.replace(limits, plan=dataclasses.replace(limits.plan, dead_man_s=4.0))

    monkeypatch.setattr(command, "load_limits", load_shorter_limits)
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    feedback = rig.tap("/ai/command_feedback")
    node = rig.load("Command", use_sim_time=True)
    clock = outside.speak("/clock", "rosgraph_msgs/Clock")
    plan = outside.speak("/ai/action_plan", "edge_inference/ActionPlan")
    rig.wait_for_publishers(node, "/ai/action_plan")

    begun = time.monotonic()

    def set_off() -> bool:
        """Advance the clock and publish a plan; a clock that has just begun is not trusted yet."""
        seconds, nanoseconds = divmod(int((1000 + time.monotonic() - begun) * 1e9), 10**9)
        stamp = {"sec": seconds, "nanosec": nanoseconds}
        clock(clock=stamp)
        plan(header={"stamp": stamp}, intent="move", steps=[to_fields(FAR[0])])
        return bool(velocities) and velocities[-1] != STILL

    wait_for(set_off, "driving")
    received = len(said)
    wait_for(lambda: velocities[-1] == STILL, "standing")
    assert said.wait(received + 1)[-1].startswith(("The clock ", "There was no control"))
    before = len(velocities)
    seconds, nanoseconds = divmod(node.now_ns(), 10**9)
    stamp = {"sec": seconds, "nanosec": nanoseconds}
    plan(header={"stamp": stamp}, intent="turn", steps=[to_fields(FAR[0])])
    wait_for(lambda: feedback[-1].intent == "turn", "an answer to the second plan")
    assert feedback[-1].state is MotionState.REFUSED
    assert set(velocities[before:]) <= {STILL}


def test_unreadable_limits(rig: Rig) -> None:
    component = rig.load_component("Command", limits="/no/limits.yaml")
    assert component.failure == "did not configure"
    assert "/no/limits.yaml" in component.node.health.status(0).message
