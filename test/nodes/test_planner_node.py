"""Intents become plans within the limits, and the robot says what it does or why it does not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.voice import Intent, Slot
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import IntentAdapter
from rig import Outside, Rig


def intent(name: str, text: str = "something", age_s: float = 0.1, **slots: Slot) -> Intent:
    stamp_ns = time.time_ns() - round(age_s * 1e9)
    return Intent(name, slots, 0.9, text, "grammar", stamp_ns, frame_id="ear")


@pytest.fixture
def intents(rig: Rig) -> Publisher:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, IntentAdapter(), "/ai/intent", RELIABLE))


def test_a_plan_keeps_the_stamp_of_the_speech(rig: Rig, intents: Publisher) -> None:
    plans, said = rig.tap("/ai/action_plan"), rig.tap("/ai/say")
    timings = rig.tap("/ai/stage_timing")
    rig.load("Planner")
    asked = intent("move", distance=Slot("distance", 2.0, "m"))
    intents.publish(asked)
    (plan,) = plans.wait()
    assert (plan.stamp_ns, plan.frame_id, plan.is_refused) == (asked.stamp_ns, "ear", False)
    assert [(step.action, step.distance_m) for step in plan.steps] == [("move", 2.0)]
    assert said.wait() == ["going forward 2 meters"]
    assert timings.wait()[0].stamp_ns == asked.stamp_ns


def test_what_comes_too_late_is_refused_aloud(rig: Rig, intents: Publisher) -> None:
    plans, said = rig.tap("/ai/action_plan"), rig.tap("/ai/say")
    rig.load("Planner")
    intents.publish(intent("move", age_s=20.0))
    assert plans.wait()[0].is_refused
    assert said.wait()[0].startswith("That was said 20.")


def test_what_is_too_far_is_refused_aloud(rig: Rig, intents: Publisher) -> None:
    plans, said = rig.tap("/ai/action_plan"), rig.tap("/ai/say")
    rig.load("Planner")
    intents.publish(intent("move", distance=Slot("distance", 2000.0, "m")))
    assert plans.wait()[0].is_refused and plans[0].steps == ()
    assert "is too much" in said.wait()[0]


def test_talk_that_is_no_command_is_not_answered(rig: Rig, intents: Publisher) -> None:
    plans, said = rig.tap("/ai/action_plan"), rig.tap("/ai/say")
    rig.load("Planner")
    intents.publish(intent("", text=""))
    intents.publish(intent("stop"))
    plans.wait(2)
    assert plans[0].is_refused
    assert said.wait() == ["stopping"]


def test_seen_from_another_process(rig: Rig, outside: Outside) -> None:
    node = rig.load("Planner")
    plans = outside.listen("/ai/action_plan", "edge_inference/ActionPlan")
    rig.is_heard(node, "/ai/action_plan")
    send = outside.speak("/ai/intent", "edge_inference/Intent")
    rig.hears(node, "/ai/intent")
    send(name="stop", text="stop", source="grammar", confidence=1.0)
    message = plans.wait()[0]
    assert [step["action"] for step in message["steps"]] == ["stop"]
    assert message["is_refused"] is False


def test_limits_that_cannot_be_read(rig: Rig) -> None:
    component = rig.load_component("Planner", limits="/no/limits.yaml")
    assert component.failure == "did not configure"
    assert "/no/limits.yaml" in component.node.health.status(0).message


def test_limits_are_live_and_bad_ones_refused(rig: Rig, intents: Publisher, tmp_path: Path) -> None:
    bad, wide = tmp_path / "bad.yaml", tmp_path / "wide.yaml"
    bad.write_text("motion:\n  max_distance_m: -1\n")
    wide.write_text("motion: {max_distance_m: 5000.0}\nplan: {max_step_s: 80000.0}\n")
    plans = rig.tap("/ai/action_plan")
    node = rig.load("Planner")

    def ask(file: Path):
        change = [Parameter("limits", value=str(file))]
        answer = rig.call(lambda: node.set_parameters(change))[0]
        intents.publish(intent("move", distance=Slot("distance", 2000.0, "m")))
        return answer

    answer = ask(bad)
    assert not answer.successful
    assert answer.reason.startswith(f"{bad}, line 2, motion.max_distance_m: expected a number")
    assert plans.wait()[0].is_refused
    assert ask(wide).successful
    assert [step.distance_m for step in plans.wait(2)[1].steps] == [2000.0]
