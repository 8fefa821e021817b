"""Whatever is raised in a node's thread or callback: the node goes on, or is an error on show."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.health import HealthLevel
from edge_inference.core.voice import ActionPlan, ActionStep, Intent
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, IntentAdapter
from edge_inference.nodes.perception import latency
from edge_inference.nodes.perception.latency import Latency
from edge_inference.nodes.voice.abandoned_goals import AbandonedGoal, AbandonedGoals
from edge_inference.nodes.voice.language_model import LanguageModel
from edge_inference.speech.planning.motion import MotionState
from rig import Rig, notify, wait_for
from test_audio_source import recording

TREES = Path(__file__).parents[1] / "platform_recordings"
STILL = (0.0, 0.0)


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


FAILURES = {
    "error": lambda: RuntimeError("injected"),
    "exit": lambda: SystemExit("injected"),
    "unspeakable": lambda: UnspeakableError(),
}


@dataclass(frozen=True)
class Case:
    """A node, a call in its thread that is made again and again, and where it shows."""

    plugin: str
    target: Callable[[Any], tuple[Any, str]]
    topic: str
    parameters: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


CASES = {
    "media, reading": Case(
        "MediaSource",
        lambda node: (node, "_read"),
        "/camera/image_raw",
        {"source": "{images}", "loop": True, "rate": 50.0},
    ),
    "media, publishing": Case(
        "MediaSource",
        lambda node: (node._images, "publish"),
        "/camera/image_raw",
        {"source": "{images}", "loop": True, "rate": 50.0},
    ),
    "audio, reading": Case(
        "AudioSource",
        lambda node: (node, "_read"),
        "/ai/audio",
        {"source": "{sound}", "loop": True},
    ),
    "audio, waiting": Case(
        "AudioSource",
        lambda node: (node, "_wait_until_heard"),
        "/ai/audio",
        {"source": "{sound}", "loop": True},
    ),
    "manager, sensing": Case(
        "PlatformManager",
        lambda node: (node._platform, "sense"),
        "/ai/platform_state",
        {"recording": str(TREES / "orin_nx.jsonl"), "rate_hz": 10.0},
    ),
    "manager, acting": Case(
        "PlatformManager",
        lambda node: (node._actuators, "apply"),
        "/ai/platform_state",
        {"recording": str(TREES / "orin_nx.jsonl"), "rate_hz": 10.0},
    ),
    "latency, reporting": Case("Latency", lambda node: (node._log, "report"), "/ai/latency_report"),
    "stage, working": Case(
        "plugins::Gate",
        lambda node: (node, "process"),
        "/passed",
        arguments=("-r", "image_raw:=/camera/image_raw"),
    ),
    "stage, scheduling": Case(
        "plugins::Gate",
        lambda node: (node, "_update_schedule"),
        "/passed",
        arguments=("-r", "image_raw:=/camera/image_raw"),
    ),
    "stage, taking": Case(
        "plugins::Gate",
        lambda node: (node._mailbox, "take"),
        "/passed",
        arguments=("-r", "image_raw:=/camera/image_raw"),
    ),
}


def fail(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, kind: str, times: float = 1
) -> list[int]:
    """Have a method fail so many times; return a list that grows with each."""
    real, failed = getattr(owner, name), []

    def call(*arguments: Any, **named: Any) -> Any:
        if len(failed) < times:
            failed.append(1)
            notify()
            raise FAILURES[kind]()
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, call)
    return failed


def is_error(node: Any) -> bool:
    return node.health.status(time.monotonic_ns()).level is HealthLevel.ERROR


@pytest.fixture
def load(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], Any]:
    monkeypatch.setattr(latency, "REPORT_PERIOD_S", 0.05)
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 8, 3), number, np.uint8))
    places = {"images": str(tmp_path), "sound": recording(tmp_path / "a.wav", 3)}

    def load(case: Case) -> Any:
        parameters = {
            name: value.format(**places) if isinstance(value, str) else value
            for name, value in case.parameters.items()
        }
        if "::" in case.plugin:
            rig.load("MediaSource", source=str(tmp_path), loop=True, rate=50.0)
        return rig.load(case.plugin, *case.arguments, **parameters)

    return load


@pytest.mark.parametrize(
    ("kind", "telling_fails"), [("error", False), ("exit", False), ("unspeakable", True)]
)
@pytest.mark.parametrize("name", CASES)
def test_a_node_goes_on_after_a_failure(
    rig: Rig,
    load: Callable[[Case], Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    telling_fails: bool,
) -> None:
    case = CASES[name]
    came = rig.tap(case.topic)
    node = load(case)
    came.wait(1)
    with monkeypatch.context() as patch:
        if telling_fails:
            fail(patch, node.health, "error", "exit", times=1)
        failed = fail(patch, *case.target(node), kind)
        wait_for(lambda: failed, "the failure")
        if not telling_fails:
            wait_for(lambda: is_error(node), "the error on show")
        came.wait(len(came) + 2)


@pytest.mark.parametrize("kind", ["exit", "unspeakable"])
@pytest.mark.parametrize("name", CASES)
def test_a_node_that_fails_all_the_time_is_an_error(
    rig: Rig, load: Callable[[Case], Any], monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    case = CASES[name]
    came = rig.tap(case.topic)
    node = load(case)
    came.wait(1)
    with monkeypatch.context() as patch:
        failed = fail(patch, *case.target(node), kind, times=float("inf"))
        wait_for(lambda: len(failed) >= 2, "the failures")
        wait_for(lambda: is_error(node), "the error on show")
    rig.call(node.trigger_deactivate)  # which waits for the thread


# What moves the robot ---------------------------------------------------------------------------


class Boss:
    """Sends plans from inside the process."""

    def __init__(self, rig: Rig) -> None:
        node = rig.container.node
        self._now = lambda: node.get_clock().now().nanoseconds
        self._plans = rig.call(
            lambda: Publisher(node, ActionPlanAdapter(), "/ai/action_plan", RELIABLE)
        )

    def drive(self) -> None:
        step = ActionStep("move", distance_m=5.0, speed_mps=0.25)
        self._plans.publish(ActionPlan("test", (step,), self._now()))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize(
    "target",
    [
        lambda node: (node, "now_ns"),
        lambda node: (node, "_cycle"),
        lambda node: (node._account, "tell"),
        lambda node: (node._motion, "command"),
        lambda node: (node._motion, "feedback"),
        lambda node: (node._elsewhere, "attend"),
        lambda node: (node._navigation, "cancel"),
    ],
    ids=["now", "cycle", "tell", "motion", "feedback", "elsewhere", "navigation"],
)
def test_a_failure_stops_the_robot_until_the_next_plan(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, target: Callable[[Any], Any], kind: str
) -> None:
    boss, velocities = Boss(rig), rig.tap("/cmd_vel")
    node = rig.load("Command", rate_hz=50.0)
    boss.drive()
    wait_for(lambda: velocities and velocities[-1] != STILL, "motion")
    with monkeypatch.context() as patch:
        failed = fail(patch, *target(node), kind)
        if target(node)[1] == "cancel":
            node._elsewhere._under_way = (0, 0)  # as while navigation is at work
        wait_for(lambda: failed, "the failure")
        wait_for(lambda: velocities[-1] == STILL, "standing")
        wait_for(lambda: is_error(node), "the error on show")
        seen = len(velocities)
        velocities.wait(seen + 3)
        assert set(velocities[seen:]) == {STILL}
    boss.drive()
    wait_for(lambda: velocities[-1] != STILL, "motion")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", FAILURES)
def test_a_plan_that_fails_stops_the_robot(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    boss, velocities = Boss(rig), rig.tap("/cmd_vel")
    node = rig.load("Command")
    boss.drive()
    assert velocities[-1] != STILL
    with monkeypatch.context() as patch:
        fail(patch, node._motion, "begin", kind)
        boss.drive()
    assert velocities[-1] == STILL and is_error(node)


def test_a_failure_that_cannot_be_told_of_stops_the_robot(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss, velocities = Boss(rig), rig.tap("/cmd_vel")
    node = rig.load("Command", rate_hz=50.0)
    boss.drive()
    with monkeypatch.context() as patch:
        for owner, name in ((node.health, "error"), (node._motion, "stop")):
            fail(patch, owner, name, "exit", times=float("inf"))
        failed = fail(patch, node._motion, "command", "error", times=float("inf"))
        wait_for(lambda: len(failed) >= 3, "the failures")
        assert velocities[-1] == STILL


@pytest.mark.parametrize("kind", FAILURES)
def test_a_velocity_that_cannot_be_sent_does_not_end_the_cycle(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    boss, velocities = Boss(rig), rig.tap("/cmd_vel")
    node = rig.load("Command", rate_hz=50.0)
    boss.drive()
    with monkeypatch.context() as patch:
        failed = fail(patch, node._velocities, "publish", kind, times=5)
        wait_for(lambda: len(failed) == 5, "the failures")
        wait_for(lambda: velocities[-1] == STILL, "standing")
    assert node._motion.feedback(node.now_ns()).state is MotionState.STOPPED


# What answers in callbacks ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAILURES)
def test_a_goal_of_navigation_whose_answer_fails_is_over(rig: Rig, kind: str) -> None:
    steered = rig.load("Command")._navigation
    for take in (steered._answered, steered._ended):
        goal = steered._goal = AbandonedGoal()
        steered._outcome = None
        answer: Future[Any] = Future()
        answer.set_exception(FAILURES[kind]())
        steered._settle(answer, goal, take)
        assert steered._outcome == "Navigation has failed"
        steered._outcome = ""
        steered._settle(answer, AbandonedGoal(), take)  # an earlier one
        assert steered._outcome == ""


@pytest.mark.parametrize("kind", FAILURES)
def test_an_answer_that_fails_to_a_goal_that_was_given_up_is_a_problem(kind: str) -> None:
    given_up, goal = AbandonedGoals(lambda: 60.0), AbandonedGoal()
    given_up.add(goal)
    answer: Future[Any] = Future()
    answer.set_exception(FAILURES[kind]())
    given_up._answered(goal, answer)
    assert given_up.problem.startswith("navigation fails to end its goal: ")


class BrokenGoal:
    """A goal whose client is gone in some way that nobody foresaw."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    @property
    def handle(self) -> Any:
        raise FAILURES[self._kind]()


@pytest.mark.parametrize("kind", FAILURES)
def test_a_listener_whose_tick_fails_shows_it_and_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    node = rig.load("Listener")
    node._goal = BrokenGoal(kind)
    wait_for(lambda: is_error(node), "the error on show")
    node._goal = None
    rig.load("Latency")  # the executor is still there


@pytest.mark.parametrize("kind", FAILURES)
def test_who_speaks_to_a_language_model_that_fails_gets_an_answer(rig: Rig, kind: str) -> None:
    class Broken:
        def intent(self, item: Intent) -> Intent:
            raise FAILURES[kind]()

    intents = rig.tap("/ai/intent")
    node: LanguageModel = rig.load("LanguageModel", model="nope")
    node._model = Broken()
    stamp_ns = rig.container.node.get_clock().now().nanoseconds
    item = Intent("", {}, 0.0, "the moon", "none", stamp_ns, problem="I did not understand")
    rig.call(
        lambda: Publisher(rig.container.node, IntentAdapter(), "/ai/intent_unknown", RELIABLE)
    ).publish(item)
    (answer,) = intents.wait()
    assert answer.problem == "I did not understand; the language model failed"
    assert is_error(node)


def test_a_failing_callback_troubles_no_publisher(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one node does with an object must not look like a fault of who published it."""
    boss = Boss(rig)
    node = rig.load("Command")
    fail(monkeypatch, node._timings, "publish", "exit")
    boss.drive()
    assert is_error(node)


@pytest.mark.parametrize("kind", FAILURES)
def test_a_changed_setting_that_fails_is_an_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def on_change(self: Latency, settings: Any) -> None:
        raise FAILURES[kind]()

    monkeypatch.setattr(Latency, "on_change", on_change)
    node = rig.load("Latency")
    (answer,) = rig.call(lambda: node.set_parameters([Parameter("window_s", value=5.0)]))
    assert answer.successful and is_error(node)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", FAILURES)
def test_a_message_that_cannot_be_refused_stops_the_robot(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    boss, velocities = Boss(rig), rig.tap("/cmd_vel")
    node = rig.load("Command")
    boss.drive()
    assert velocities[-1] != STILL
    fail(monkeypatch, node, "report_error", kind)
    subscription = next(each for each in node._own_subscriptions if "plan" in each.topic)
    rig.call(lambda: subscription._on_bytes(b"no message"))
    assert velocities[-1] == STILL and is_error(node)
