"""Intents become plans within the limits, and the robot says what it does or why it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.voice import Intent, IntentArray, IntentSlot, Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import IntentArrayAdapter, TranscriptAdapter
from rig import Outside, Rig, wait_for
from wave_rig import write_limits


def intent(
    name: str, text: str = "something", age_s: float = 0.1, **slots: IntentSlot
) -> IntentArray:
    stamp_ns = time.time_ns() - round(age_s * 1e9)
    intents = (Intent(name, slots),) if name else ()
    return IntentArray(intents, 0.9, text, "grammar", stamp_ns, frame_id="microphone")


@pytest.fixture
def intents(rig: Rig) -> Publisher:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, IntentArrayAdapter(), "/ai/intent", RELIABLE))


def test_a_plan_keeps_the_stamp_of_the_speech(rig: Rig, intents: Publisher) -> None:
    plans, said = rig.tap("/ai/action_plan"), rig.tap("/ai/say")
    timings = rig.tap("/ai/stage_timing")
    rig.load("Planner")
    asked = intent("move", distance=IntentSlot("distance", 2.0, "m"))
    intents.publish(asked)
    (plan,) = plans.wait()
    assert (plan.stamp_ns, plan.frame_id, plan.is_refused) == (asked.stamp_ns, "microphone", False)
    assert [(step.action, step.distance_m) for step in plan.steps] == [("move", 2.0)]
    assert said.wait() == ["going forward 2 meters"]
    assert timings.wait()[0].stamp_ns == asked.stamp_ns


def test_a_stop_that_passes_all_others_is_timed_too(rig: Rig, intents: Publisher) -> None:
    timings = rig.tap("/ai/stage_timing")
    rig.load("Planner")
    asked = intent("stop")
    before_ns = time.monotonic_ns()
    intents.publish(asked)
    (timing,) = timings.wait()
    assert (timing.stage, timing.stamp_ns, timing.frame_id, timing.dropped) == (
        "planner",
        asked.stamp_ns,
        "microphone",
        "",
    )
    assert before_ns <= timing.arrived_ns <= timing.ended_ns <= timing.published_ns
    assert timing.published_ns <= time.monotonic_ns()


def test_an_old_intent_is_refused_aloud(rig: Rig, intents: Publisher) -> None:
    plans, said = rig.tap("/ai/action_plan"), rig.tap("/ai/say")
    rig.load("Planner")
    intents.publish(intent("move", age_s=20.0))
    assert plans.wait()[0].is_refused
    assert said.wait()[0].startswith("That was said 20.")


def test_a_distance_above_the_limit_is_refused_aloud(rig: Rig, intents: Publisher) -> None:
    plans, said = rig.tap("/ai/action_plan"), rig.tap("/ai/say")
    rig.load("Planner")
    intents.publish(intent("move", distance=IntentSlot("distance", 2000.0, "m")))
    assert plans.wait()[0].is_refused and plans[0].steps == ()
    assert "is too much" in said.wait()[0]


def test_talk_that_is_no_command_is_not_answered(rig: Rig, intents: Publisher) -> None:
    plans, said = rig.tap("/ai/action_plan"), rig.tap("/ai/say")
    rig.load("Planner")
    intents.publish(intent("", text=""))
    intents.publish(intent("stop"))
    assert {plan.is_refused for plan in plans.wait(2)} == {True, False}
    assert said.wait() == ["stopping"]


def test_seen_from_another_process(rig: Rig, outside: Outside) -> None:
    node = rig.load("Planner")
    plans = outside.listen("/ai/action_plan", "edge_inference/ActionPlan")
    rig.wait_for_subscribers(node, "/ai/action_plan")
    send = outside.speak("/ai/intent", "edge_inference/IntentArray")
    rig.wait_for_publishers(node, "/ai/intent")
    intents = [{"name": "stop", "slots": []}]
    send(intents=intents, text="stop", source="grammar", confidence=1.0)
    message = plans.wait()[0]
    assert [step["action"] for step in message["steps"]] == ["stop"]
    assert message["is_refused"] is False


def test_a_stop_waits_for_no_other_intent(
    rig: Rig, intents: Publisher, install_wave: Callable[..., Any], tmp_path: Path
) -> None:
    module = install_wave(plan="wait()")
    plans = rig.tap("/ai/action_plan")
    rig.load("Planner", limits=write_limits(tmp_path))
    intents.publish(intent("wave"))
    wait_for(lambda: "plan" in module.calls, "the planning")
    intents.publish(intent("stop"))
    assert [plan.intent for plan in plans] == ["stop"]
    module.is_released.set()


def test_unreadable_intents_stop_the_robot(rig: Rig, intents: Publisher, outside: Outside) -> None:
    asked = Asked(rig, intents)
    plans = rig.tap("/ai/action_plan")
    send = outside.speak("/ai/intent", "edge_inference/IntentArray")
    rig.wait_for_publishers(asked.node, "/ai/intent", publishers=2)
    send(intents=[{"name": "stop"}, {"name": ""}], text="stop", source="grammar", confidence=1.0)
    (plan,) = plans.wait()
    assert ([step.action for step in plan.steps], plan.is_refused) == (["stop"], False)
    assert plan.reason.startswith("I stop, because I cannot read a message: Intent: name")
    assert asked.yes().startswith("I could not read what was said since I asked, so I leave it")


def test_unreadable_limits(rig: Rig) -> None:
    component = rig.load_component("Planner", limits="/no/limits.yaml")
    assert component.failure == "did not configure"
    assert "/no/limits.yaml" in component.node.health.status(0).message


def test_limits_can_change_and_invalid_ones_are_refused(
    rig: Rig, intents: Publisher, tmp_path: Path
) -> None:
    bad, wide = tmp_path / "bad.yaml", tmp_path / "wide.yaml"
    bad.write_text("motion:\n  max_distance_m: -1\n")
    wide.write_text("motion: {max_distance_m: 5000.0}\nplan: {max_step_s: 80000.0}\n")
    plans = rig.tap("/ai/action_plan")
    node = rig.load("Planner")

    def ask(file: Path):
        change = [Parameter("limits", value=str(file))]
        answer = rig.call(lambda: node.set_parameters(change))[0]
        intents.publish(intent("move", distance=IntentSlot("distance", 2000.0, "m")))
        return answer

    answer = ask(bad)
    assert not answer.successful
    assert answer.reason.startswith(f"{bad}, line 2, motion.max_distance_m: expected a number")
    assert plans.wait()[0].is_refused
    assert ask(wide).successful
    assert [step.distance_m for step in plans.wait(2)[1].steps] == [2000.0]


class Asked:
    """A planner with an open question."""

    def __init__(self, rig: Rig, intents: Publisher, **parameters: object) -> None:
        self.plans, self.said = rig.tap("/ai/action_plan"), rig.tap("/ai/say")
        self.node = rig.load("Planner", **parameters)
        self._rig, self._intents = rig, intents
        node = rig.container.node
        self._words = rig.call(
            lambda: Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE)
        )
        self.ask()

    def ask(self) -> None:
        count = len(self.said)
        self._intents.publish(replace(intent("move"), needs_confirmation=True))
        assert self.said.wait(count + 1)[-1].startswith("Did you mean")

    def publish_transcript(self, text: str, is_final: bool = True) -> None:
        self._words.publish(Transcript(text, 0.9, "command", time.time_ns(), is_final))

    def yes(self) -> str:
        """Say yes; return the spoken answer."""
        count = len(self.said)
        self._intents.publish(intent("confirm", age_s=0.0))
        return self.said.wait(count + 1)[-1]

    def set(self, name: str, value: object) -> None:
        change = [Parameter(name, value=value)]
        assert self._rig.call(lambda: self.node.set_parameters(change))[0].successful


@pytest.mark.parametrize("is_final", [True, False])
@pytest.mark.parametrize("text", ["don't", "nope", "no", "never mind", "cancel", "stop"])
def test_a_yes_after_a_no_moves_nothing(
    rig: Rig, intents: Publisher, text: str, is_final: bool
) -> None:
    asked = Asked(rig, intents)
    asked.publish_transcript(text, is_final)
    assert asked.yes() == f"You said {text!r} after I had asked, so I leave it; please say it again"
    assert all(plan.is_refused for plan in asked.plans)


def test_a_yes_to_an_open_question_moves(rig: Rig, intents: Publisher) -> None:
    asked = Asked(rig, intents)
    asked.publish_transcript("hum")
    asked.publish_transcript("yes")
    assert asked.yes() == "going forward 0.5 meters"
    assert not asked.plans[-1].is_refused


def test_a_no_is_answered_once(rig: Rig, intents: Publisher) -> None:
    asked = Asked(rig, intents)
    asked.publish_transcript("don't do that")
    intents.publish(intent("", text=""))  # in command mode it is no phrase, and has no text
    assert asked.said.wait(2)[-1] == "Then I leave it"
    intents.publish(intent("", text=""))
    intents.publish(intent("stop"))
    assert asked.said.wait(3)[-1] == "stopping"


def deactivate(rig: Rig, asked: Asked, tmp_path: Path) -> None:
    rig.call(asked.node.trigger_deactivate)
    rig.call(asked.node.trigger_activate)


def set_limits(rig: Rig, asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text("motion: {max_distance_m: 5.0}\n")
    asked.set("limits", str(file))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (deactivate, "I was switched off after I had asked"),
        (set_limits, "What I may do has changed since I asked"),
    ],
)
def test_new_limits_or_a_deactivation_close_a_question(
    rig: Rig, intents: Publisher, tmp_path: Path, change: Callable[..., None], why: str
) -> None:
    asked = Asked(rig, intents)
    change(rig, asked, tmp_path)
    assert asked.yes() == f"{why}, so I leave it; please say it again"
    asked.ask()
    assert asked.yes() == "going forward 0.5 meters"


def test_an_unreadable_transcript_closes_a_question(
    rig: Rig, intents: Publisher, outside: Outside
) -> None:
    asked = Asked(rig, intents)
    send = outside.speak("/ai/transcript", "edge_inference/Transcript")
    rig.wait_for_publishers(asked.node, "/ai/transcript", publishers=2)
    send(text="stop", mode="song")
    wait_for(lambda: asked.node.health.drop_counts() == {"invalid": 1}, "the words")
    assert asked.yes().startswith("I could not read what was said since I asked, so I leave it")


def test_stop_words_can_change(rig: Rig, intents: Publisher) -> None:
    asked = Asked(rig, intents)
    asked.set("stop_words", ["basta"])
    asked.publish_transcript("basta")
    assert "You said 'basta'" in asked.yes()
