"""Steps to places: a goal of Nav2, canceled by a stop; without Nav2 a spoken reason."""

from __future__ import annotations

import math
import sys
import types

import pytest
from action_msgs.msg import GoalStatus
from unique_identifier_msgs.msg import UUID

from edge_inference.composition.bus import Publisher
from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter
from edge_inference.nodes.voice.navigation import client
from edge_inference.nodes.voice.navigation.client import to_pose
from edge_inference.speech.actions.limits import NamedPlace
from edge_inference.speech.planning.motion import MotionState
from rig import Rig, wait_for

KITCHEN = (ActionStep("go_to", target="kitchen"), ActionStep("say", target="here I am"))


class Answer:
    """A future whose result the test sets."""

    def add_done_callback(self, callback) -> None:
        self._callback = callback

    def come(self, result) -> None:
        self._callback(types.SimpleNamespace(result=lambda: result))


class Handle:
    def __init__(self, accepted: bool = True) -> None:
        self.accepted = accepted
        self.goal_id = UUID(uuid=[7] * 16)
        self.cancels: list[Answer] = []
        self.ends = Answer()

    @property
    def is_cancelled(self) -> bool:
        return bool(self.cancels)

    def get_result_async(self) -> Answer:
        return self.ends

    def cancel_goal_async(self) -> Answer:
        self.cancels.append(Answer())
        return self.cancels[-1]

    def end(self, status: int) -> None:
        self.ends.come(types.SimpleNamespace(status=status, result=None))


class Nav2:
    """Stands in for rclpy's action client."""

    is_there = True

    def __init__(self) -> None:
        self.goals: list = []
        self.answers: list[Answer] = []
        self.cancels: list[bytes] = []
        self.is_destroyed = False

    def server_is_ready(self) -> bool:
        return self.is_there

    def send_goal_async(self, goal, goal_uuid) -> Answer:
        self.goals.append(goal)
        self.answers.append(Answer())
        return self.answers[-1]

    def _cancel_goal_async(self, handle) -> Answer:
        self.cancels.append(bytes(handle.goal_id.uuid))
        return Answer()

    def destroy(self) -> None:
        self.is_destroyed = True


@pytest.fixture
def nav2(monkeypatch: pytest.MonkeyPatch) -> Nav2:
    action = types.SimpleNamespace(Goal=types.SimpleNamespace)
    package, module = types.ModuleType("nav2_msgs"), types.ModuleType("nav2_msgs.action")
    module.NavigateToPose = action
    monkeypatch.setitem(sys.modules, "nav2_msgs", package)
    monkeypatch.setitem(sys.modules, "nav2_msgs.action", module)
    nav2 = Nav2()
    monkeypatch.setattr(client, "ActionClient", lambda node, kind, name: nav2)
    return nav2


@pytest.fixture
def ask(rig: Rig):
    node = rig.container.node
    plans = rig.call(lambda: Publisher(node, ActionPlanAdapter(), "/ai/action_plan", RELIABLE))

    def ask(*steps: ActionStep) -> None:
        plans.publish(ActionPlan("test", steps, node.get_clock().now().nanoseconds))

    return ask


def test_a_goal_and_the_rest_of_the_plan(rig: Rig, ask, nav2: Nav2) -> None:
    velocities, said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
    feedback = rig.tap("/ai/command_feedback")
    node = rig.load("Command")
    ask(*KITCHEN)
    (goal,) = nav2.goals
    assert goal.pose.header.frame_id == "map"
    assert (goal.pose.pose.position.x, goal.pose.pose.position.y) == (4.0, 1.5)
    handle = Handle()
    nav2.answers[0].come(handle)
    assert velocities == []  # only navigation publishes
    handle.end(GoalStatus.STATUS_SUCCEEDED)
    assert said.wait() == ["here I am"]
    wait_for(lambda: feedback[-1].state is MotionState.DONE, "the end")
    assert not handle.is_cancelled
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_cleanup)
    assert nav2.is_destroyed


def say(rig: Rig, text: str, is_final: bool = True) -> None:
    node = rig.container.node
    words = rig.call(lambda: Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE))
    words.publish(Transcript(text, 0.9, "command", node.get_clock().now().nanoseconds, is_final))


def stop(rig: Rig) -> None:
    say(rig, "stop", is_final=False)


@pytest.mark.parametrize("is_accepted_first", [True, False])
def test_stop_cancels_the_goal(rig: Rig, ask, nav2: Nav2, is_accepted_first: bool) -> None:
    velocities = rig.tap("/cmd_vel")
    rig.load("Command")
    ask(*KITCHEN)
    handle = Handle()
    if is_accepted_first:
        nav2.answers[0].come(handle)
    stop(rig)
    if not is_accepted_first:
        nav2.answers[0].come(handle)
    assert handle.is_cancelled
    assert set(velocities) == {(0.0, 0.0)}


def test_another_plan_replaces_the_goal(rig: Rig, ask, nav2: Nav2) -> None:
    velocities = rig.tap("/cmd_vel")
    rig.load("Command")
    ask(*KITCHEN)
    handle = Handle()
    nav2.answers[0].come(handle)
    ask(ActionStep("move", distance_m=2.0, speed_mps=0.2))
    assert handle.is_cancelled
    wait_for(lambda: velocities and velocities[-1].linear_mps > 0, "motion")
    ask(*KITCHEN)
    wait_for(lambda: len(nav2.goals) == 2, "another goal once it stands")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda answer: answer.come(Handle(accepted=False)), "I cannot go there"),
        (lambda answer: abort(answer), "I did not get there"),
    ],
)
def test_a_failed_goal_is_reported_aloud(rig: Rig, ask, nav2: Nav2, end, words: str) -> None:
    said = rig.tap("/ai/say")
    rig.load("Command")
    ask(*KITCHEN)
    end(nav2.answers[0])
    assert said.wait() == [words]


def abort(answer: Answer) -> None:
    handle = Handle()
    answer.come(handle)
    handle.end(GoalStatus.STATUS_ABORTED)


def test_without_a_server(rig: Rig, ask, nav2: Nav2) -> None:
    nav2.is_there = False
    said = rig.tap("/ai/say")
    rig.load("Command")
    ask(*KITCHEN)
    assert said == ["I have no navigation"]


def test_a_place_as_a_pose() -> None:
    pose = to_pose(NamedPlace(1.0, -2.0, math.pi / 2, "map"), 5_000_000_001)
    assert (pose.header.stamp.sec, pose.header.stamp.nanosec) == (5, 1)
    assert pose.pose.orientation.z == pytest.approx(math.sqrt(0.5))
    assert pose.pose.orientation.w == pytest.approx(math.sqrt(0.5))
