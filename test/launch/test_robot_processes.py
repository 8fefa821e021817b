"""The robot's launch file as processes: topics between them, and one that is stopped."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edge_inference.msg import (
    ActionPlan,
    ActionStep,
    LatencyReport,
    Transcript,
    Workload,
)
from geometry_msgs.msg import Twist
from std_msgs.msg import String

from edge_inference.errors import ModelError
from edge_inference.nodes.voice.parameter_files import load_speech_model
from launch_double import ROOT
from launch_files import LaunchFile
from relaxed_limits import write_relaxed_limits
from running import Outside, Processes

IMAGE = str(ROOT / "models" / "nanodet" / "golden" / "chelsea.jpg")
#: An unanswered question is repeated after this time.
AGAIN_S = 2.0


class Robot:
    """The two containers of the launch file, and their messages."""

    def __init__(self, processes: Processes, outside: Outside) -> None:
        self.processes = processes
        self.outside = outside
        node = outside.node
        self.said: list[str] = []
        self.speeds: list[float] = []
        self.stages: set[str] = set()
        self.managers: dict[str, str] = {}
        node.create_subscription(String, "/ai/say", lambda m: self.said.append(m.data), 10)
        node.create_subscription(Twist, "/cmd_vel", self._on_velocity, 10)
        node.create_subscription(LatencyReport, "/ai/latency_report", self._on_report, 10)
        node.create_subscription(Workload, "/ai/workload", self._on_workload, 10)
        self._words = node.create_publisher(Transcript, "/ai/transcript", 10)
        self._plans = node.create_publisher(ActionPlan, "/ai/action_plan", 10)

    def until(
        self, condition: Callable[[], object], ask: Callable[[], None] = lambda: None
    ) -> None:
        """Wait for an answer, and repeat the question meanwhile."""
        asked_s = -AGAIN_S

        def is_there() -> bool:
            nonlocal asked_s
            if condition():
                return True
            if time.monotonic() - asked_s > AGAIN_S:
                ask()
                asked_s = time.monotonic()
            return False

        self.outside.spin_until(is_there, self.processes.output)

    def publish_transcript(self, text: str) -> None:
        words = Transcript(text=text, confidence=0.9, mode="command", is_final=True)
        words.header.stamp = self.outside.node.get_clock().now().to_msg()
        self._words.publish(words)

    def drive(self) -> None:
        step = ActionStep(action="move", distance_m=5.0, speed_mps=0.3)
        step.angle_rad = step.rate_radps = float("nan")
        plan = ActionPlan(intent="move", steps=[step])
        plan.header.stamp = self.outside.node.get_clock().now().to_msg()
        self._plans.publish(plan)

    def _on_velocity(self, velocity: Twist) -> None:
        self.speeds.append(velocity.linear.x)

    def _on_report(self, report: LatencyReport) -> None:
        self.stages |= {each.stage for each in report.stages}

    def _on_workload(self, workload: Workload) -> None:
        self.managers[workload.node] = workload.manager


@pytest.fixture
def robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Robot]:
    for name, task in (("silero_vad", "activity"), ("moonshine_tiny", "recognition")):
        try:
            load_speech_model(name, "", task).verify_files()
        except ModelError as error:
            pytest.skip(str(error))
    file = LaunchFile("robot.launch.py", monkeypatch, double=True)
    started = file.start(
        image_source=IMAGE,
        image_loop="true",
        image_rate="5",
        audio_source="''",
        limits=write_relaxed_limits(tmp_path),
    )
    outside, processes = Outside(), Processes(tmp_path)
    for node in started:
        processes.start(node.executable, *node.command, **node.additional_env)
    yield Robot(processes, outside)
    processes.kill()
    outside.close()


def test_question_in_one_process_is_answered_from_the_other(robot: Robot) -> None:
    robot.until(
        lambda: "I see a cat." in robot.said, lambda: robot.publish_transcript("what do you see")
    )
    # By reference the classes of the model are known, so it reports the unknown object.
    unknown = "I do not know what a box looks like."
    robot.until(
        lambda: unknown in robot.said, lambda: robot.publish_transcript("do you see the box")
    )
    # One latency report and one platform manager for both.
    both = {"preprocess", "inference", "decode", "intent_parser", "planner", "command"}
    robot.until(lambda: both <= robot.stages)
    nodes = ("/ai/inference", "/ai/speech_recognition")
    robot.until(lambda: all(robot.managers.get(node) for node in nodes))
    assert len({robot.managers[node] for node in nodes}) == 1
    assert robot.processes.interrupt(times=2) == [0, 0], robot.processes.output()
    assert "Traceback" not in robot.processes.output()


def test_robot_stops_while_the_perception_process_is_stopped(robot: Robot) -> None:
    """As while a huge image is received, but for longer than any image."""
    robot.until(
        lambda: "I see a cat." in robot.said, lambda: robot.publish_transcript("what do you see")
    )
    robot.processes.send(signal.SIGSTOP, 0)
    robot.until(lambda: robot.speeds and robot.speeds[-1] > 0.1, robot.drive)
    robot.until(lambda: robot.speeds[-1] == 0.0, lambda: robot.publish_transcript("stop"))
    stopped = len(robot.speeds)
    robot.processes.send(signal.SIGCONT, 0)
    robot.said.clear()
    robot.until(
        lambda: "I see a cat." in robot.said, lambda: robot.publish_transcript("what do you see")
    )
    assert not any(robot.speeds[stopped:])
