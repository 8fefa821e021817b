"""Exceptions in a thread or callback of a node: the node goes on, or /diagnostics has an error."""

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
from edge_inference.core.voice import ActionPlan, ActionStep, IntentArray
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, IntentArrayAdapter
from edge_inference.nodes.observe import latency
from edge_inference.nodes.observe.latency import Latency
from edge_inference.nodes.voice.action_dispatcher import _Current
from edge_inference.nodes.voice.audio_reader import RealTimePacer
from edge_inference.nodes.voice.language_model import LanguageModel
from edge_inference.nodes.voice.navigation.abandoned_goals import AbandonedGoal, AbandonedGoals
from edge_inference.speech.planning.motion import MotionState
from rig import Rig, notify, wait_for
from test_audio_source import recording

RECORDINGS = Path(__file__).parents[1] / "platform_recordings"
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
    """A node, a method that its thread calls repeatedly, and the topic that shows it."""

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
        lambda node: (node._reader, "read"),
        "/ai/audio",
        {"source": "{sound}", "loop": True},
    ),
    "audio, pacing": Case(
        "AudioSource",
        lambda node: (RealTimePacer, "wait"),
        "/ai/audio",
        {"source": "{sound}", "loop": True},
    ),
    "manager, sensing": Case(
        "PlatformManager",
        lambda node: (node._platform, "sense"),
        "/ai/platform_state",
        {"recording": str(RECORDINGS / "orin_nx.jsonl"), "rate_hz": 10.0},
    ),
    "manager, acting": Case(
        "PlatformManager",
        lambda node: (node._actuators, "cap_clocks"),
        "/ai/platform_state",
        {"recording": str(RECORDINGS / "orin_nx.jsonl"), "rate_hz": 10.0},
    ),
    "latency report": Case("Latency", lambda n: (n._latency, "report"), "/ai/latency_report"),
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
    """Make a method fail a number of times; return a list that grows with each failure."""
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
    ("kind", "reporting_fails"), [("error", False), ("exit", False), ("unspeakable", True)]
)
@pytest.mark.parametrize("name", CASES)
def test_a_node_goes_on_after_a_failure(
    rig: Rig,
    load: Callable[[Case], Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    reporting_fails: bool,
) -> None:
    case = CASES[name]
    received = rig.tap(case.topic)
    node = load(case)
    received.wait(1)
    with monkeypatch.context() as patch:
        if reporting_fails:
            fail(patch, node.health, "count_error", "exit", times=1)
        failed = fail(patch, *case.target(node), kind)
        wait_for(lambda: failed, "the failure")
        if not reporting_fails:
            wait_for(lambda: is_error(node), "the error in /diagnostics")
        received.wait(len(received) + 2)


@pytest.mark.parametrize("kind", ["exit", "unspeakable"])
@pytest.mark.parametrize("name", CASES)
def test_a_node_that_fails_all_the_time_is_an_error(
    rig: Rig, load: Callable[[Case], Any], monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    case = CASES[name]
    received = rig.tap(case.topic)
    node = load(case)
    received.wait(1)
    with monkeypatch.context() as patch:
        failed = fail(patch, *case.target(node), kind, times=float("inf"))
        wait_for(lambda: len(failed) >= 2, "the failures")
        wait_for(lambda: is_error(node), "the error in /diagnostics")
    rig.call(node.trigger_deactivate)  # this waits for the thread


# The command node ---------------------------------------------------------------------------


class PlanSender:
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
        lambda node: (node._plan_executor, "_run_cycle"),
        lambda node: (node._plan_executor._reporter, "report"),
        lambda node: (node._motion, "command"),
        lambda node: (node._motion, "feedback"),
        lambda node: (node._dispatcher, "update"),
        lambda node: (node._navigation, "cancel"),
    ],
    ids=["now", "cycle", "report", "motion", "feedback", "dispatcher", "navigation"],
)
def test_a_failure_stops_the_robot_until_the_next_plan(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, target: Callable[[Any], Any], kind: str
) -> None:
    sender, velocities = PlanSender(rig), rig.tap("/cmd_vel")
    node = rig.load("Command", rate_hz=50.0)
    sender.drive()
    wait_for(lambda: velocities and velocities[-1] != STILL, "motion")
    with monkeypatch.context() as patch:
        failed = fail(patch, *target(node), kind)
        if target(node)[1] == "cancel":  # as while navigation drives
            executor = node._dispatcher._executors["navigation"]
            node._dispatcher._current = _Current(0, 0, ActionStep("go_to"), executor)
        wait_for(lambda: failed, "the failure")
        wait_for(lambda: velocities[-1] == STILL, "standing")
        wait_for(lambda: is_error(node), "the error in /diagnostics")
        seen = len(velocities)
        velocities.wait(seen + 3)
        assert set(velocities[seen:]) == {STILL}
    sender.drive()
    wait_for(lambda: velocities[-1] != STILL, "motion")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", FAILURES)
def test_a_plan_that_fails_stops_the_robot(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    sender, velocities = PlanSender(rig), rig.tap("/cmd_vel")
    node = rig.load("Command")
    sender.drive()
    assert velocities[-1] != STILL
    with monkeypatch.context() as patch:
        fail(patch, node._motion, "begin", kind)
        sender.drive()
    assert velocities[-1] == STILL and is_error(node)


def test_a_failure_that_cannot_be_reported_stops_the_robot(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, velocities = PlanSender(rig), rig.tap("/cmd_vel")
    node = rig.load("Command", rate_hz=50.0)
    sender.drive()
    with monkeypatch.context() as patch:
        for owner, name in ((node.health, "count_error"), (node._motion, "stop")):
            fail(patch, owner, name, "exit", times=float("inf"))
        failed = fail(patch, node._motion, "command", "error", times=float("inf"))
        wait_for(lambda: len(failed) >= 3, "the failures")
        assert velocities[-1] == STILL


@pytest.mark.parametrize("kind", FAILURES)
def test_a_velocity_that_cannot_be_sent_does_not_end_the_cycle(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    sender, velocities = PlanSender(rig), rig.tap("/cmd_vel")
    node = rig.load("Command", rate_hz=50.0)
    sender.drive()
    with monkeypatch.context() as patch:
        failed = fail(patch, node._velocities, "publish", kind, times=5)
        wait_for(lambda: len(failed) == 5, "the failures")
        wait_for(lambda: velocities[-1] == STILL, "standing")
    assert node._motion.feedback(node.now_ns()).state is MotionState.STOPPED


@pytest.mark.parametrize("kind", FAILURES)
def test_a_goal_whose_response_fails_is_over(rig: Rig, kind: str) -> None:
    navigation = rig.load("Command")._navigation
    for handle in (navigation._on_response, navigation._on_result):
        goal = navigation._goal = AbandonedGoal()
        navigation._outcome = None
        answer: Future[Any] = Future()
        answer.set_exception(FAILURES[kind]())
        navigation._handle_future(answer, goal, handle)
        assert navigation._outcome == "Navigation has failed"
        navigation._outcome = ""
        navigation._handle_future(answer, AbandonedGoal(), handle)  # an earlier goal
        assert navigation._outcome == ""


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failing_response_to_a_cancel_request_is_a_problem(kind: str) -> None:
    goals, goal = AbandonedGoals(lambda: 60.0), AbandonedGoal()
    goals.add(goal)
    answer: Future[Any] = Future()
    answer.set_exception(FAILURES[kind]())
    goals._on_response(goal, answer)
    assert goals.problem.startswith("a cancel request to navigation fails: ")


class BrokenGoal:
    """A goal whose handle fails unexpectedly."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    @property
    def handle(self) -> Any:
        raise FAILURES[self._kind]()


@pytest.mark.parametrize("kind", FAILURES)
def test_a_listener_goes_on_after_its_timer_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    node = rig.load("Listener")
    node._goal = BrokenGoal(kind)
    wait_for(lambda: is_error(node), "the error in /diagnostics")
    node._goal = None
    rig.load("Latency")  # the executor still runs


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failing_language_model_still_answers(rig: Rig, kind: str) -> None:
    class Broken:
        def intent(self, item: IntentArray) -> IntentArray:
            raise FAILURES[kind]()

    intents = rig.tap("/ai/intent")
    node: LanguageModel = rig.load("LanguageModel", model="nope")
    node._model = Broken()
    stamp_ns = rig.container.node.get_clock().now().nanoseconds
    item = IntentArray((), 0.0, "the moon", "none", stamp_ns, problem="I did not understand")
    rig.call(
        lambda: Publisher(rig.container.node, IntentArrayAdapter(), "/ai/intent_unknown", RELIABLE)
    ).publish(item)
    (answer,) = intents.wait()
    assert answer.problem == "I did not understand; the language model failed"
    assert is_error(node)


def test_a_failing_callback_does_not_affect_the_publisher(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of one node must not look like a failure of the node that published the object."""
    sender = PlanSender(rig)
    node = rig.load("Command")
    fail(monkeypatch, node._timings, "publish", "exit")
    sender.drive()
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
def test_a_message_whose_refusal_fails_stops_the_robot(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    sender, velocities = PlanSender(rig), rig.tap("/cmd_vel")
    node = rig.load("Command")
    sender.drive()
    assert velocities[-1] != STILL
    fail(monkeypatch, node, "report_error", kind)
    subscription = next(each for each in node._own_subscriptions if "plan" in each.topic)
    rig.call(lambda: subscription._on_bytes(b"no message", None))
    assert velocities[-1] == STILL and is_error(node)
