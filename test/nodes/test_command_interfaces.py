"""Stamped velocities, and own stop words."""

from __future__ import annotations

import pytest
from geometry_msgs.msg import TwistStamped

from edge_inference.composition.bus import Publisher
from edge_inference.core.settings import build
from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.errors import ConfigError, InputError
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.command import TwistStampedAdapter, Velocity
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter
from edge_inference.nodes.voice.command import CommandSettings
from edge_inference.nodes.voice.intent_parser import IntentParserSettings
from rig import Outside, Rig, wait_for

FAR = (ActionStep("move", distance_m=5.0, speed_mps=0.25),)


class Speaker:
    def __init__(self, rig: Rig) -> None:
        node = rig.container.node
        self._now_ns = lambda: node.get_clock().now().nanoseconds
        self._plans, self._words = rig.call(
            lambda: (
                Publisher(node, ActionPlanAdapter(), "/ai/action_plan", RELIABLE),
                Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE),
            )
        )

    def plan(self, *steps: ActionStep) -> None:
        self._plans.publish(ActionPlan("test", steps, self._now_ns()))

    def say(self, text: str) -> None:
        self._words.publish(Transcript(text, 0.9, "command", self._now_ns()))


def test_velocities_have_a_stamp(rig: Rig, outside: Outside) -> None:
    received = outside.listen("/cmd_vel", "geometry_msgs/TwistStamped")
    node = rig.load("Command", stamped=True, frame_id="base_footprint")
    rig.wait_for_subscribers(node, "/cmd_vel")
    before_s = node.now_ns() // 10**9
    Speaker(rig).plan(*FAR)
    wait_for(lambda: received and received[-1]["twist"]["linear"]["x"] > 0.0, "motion")
    assert {message["header"]["frame_id"] for message in received} == {"base_footprint"}
    stamps = [(m["header"]["stamp"]["sec"], m["header"]["stamp"]["nanosec"]) for m in received]
    assert stamps == sorted(set(stamps)) and stamps[0][0] >= before_s


def test_a_stamped_velocity_round_trip() -> None:
    adapter = TwistStampedAdapter("base_link", lambda: 5_000_000_006)
    message = adapter.to_message(Velocity(0.5, -1.0))
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, 6)
    assert adapter.from_message(message) == Velocity(0.5, -1.0)
    invalid = TwistStamped()
    invalid.twist.linear.x = float("nan")
    with pytest.raises(InputError, match="expected finite numbers"):
        adapter.from_message(invalid)


def test_own_stop_words(rig: Rig) -> None:
    velocities = rig.tap("/cmd_vel")
    rig.load("Command", stop_words=["basta"])
    speaker = Speaker(rig)
    speaker.plan(*FAR)
    speaker.say("stop")
    wait_for(lambda: velocities and velocities[-1].linear_mps > 0.0, "motion")
    speaker.say("basta")
    assert velocities[-1] == (0.0, 0.0)


@pytest.mark.parametrize("words", ["cancel", "Wait!", "hold on", "No, no, no", "don't move"])
def test_other_words_stop_a_moving_robot_too(rig: Rig, words: str) -> None:
    velocities = rig.tap("/cmd_vel")
    rig.load("Command")
    speaker = Speaker(rig)
    speaker.plan(*FAR)
    wait_for(lambda: velocities and velocities[-1].linear_mps > 0.0, "motion")
    speaker.say(words)
    assert velocities[-1] == (0.0, 0.0)


@pytest.mark.parametrize("words", ["don't", "Do not", "If you see the bottle,", "unless"])
def test_a_negation_before_a_pause_holds_back_a_motion(rig: Rig, words: str) -> None:
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    rig.load("Command")
    speaker = Speaker(rig)
    speaker.say(words)
    speaker.plan(*FAR)
    assert said.wait()[0] == f"I heard {words!r} just before that; please say all of it again"
    assert all(velocity == (0.0, 0.0) for velocity in velocities)


@pytest.mark.parametrize("settings", [CommandSettings, IntentParserSettings])
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "expected at least one word, got none"),
        (["Halt"], "expected lower-case words, got 'Halt'"),
        (["stop", "…"], "got '…'"),
        ([""], "got ''"),
    ],
)
def test_invalid_stop_words_are_refused(settings, words: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"stop_words: .*{problem}"):
        build(settings, {"stop_words": words})


def test_all_nodes_have_the_same_stop_words() -> None:
    assert CommandSettings().stop_words == IntentParserSettings().stop_words
