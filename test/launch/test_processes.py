"""The executables as processes: what stock rclpy sees from outside, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Float32

import quick_discovery
from launch_double import ROOT
from launch_files import LaunchFile

try:
    from vision_msgs.msg import Detection2DArray as Detections
except ImportError:
    from edge_inference.msg import DetectionArray as Detections

RUN = """
import sys
from edge_inference.tools.main import main
sys.exit(main(sys.argv[1], sys.argv[2:]))
"""
PICTURE = str(ROOT / "models" / "nanodet" / "golden" / "astronaut.jpg")
SOURCE = {"source": PICTURE, "loop": "true", "rate": "5"}
DEADLINE_S = 600.0


class Processes:
    """Our executables, each in a process; their output is shown when something fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, executable: str, *arguments: str, **environment: str) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        log = self._folder / f"{len(self._running)}-{executable}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, executable, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, **environment},
            )
        self._running.append(process)

    def interrupt(self, times: int) -> list[int]:
        """Send SIGINT to all of them and return their exit codes."""
        for _ in range(times):
            for process in self._running:
                process.send_signal(signal.SIGINT)
        return [process.wait(DEADLINE_S) for process in self._running]

    def output(self) -> str:
        files = sorted(self._folder.glob("*.log"))
        return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')}" for file in files)

    def kill(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


class Outside:
    """A stock rclpy node that notes what comes on topics."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("outside", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.came: dict[str, Any] = {}

    def listen(self, kind: type[Any], topic: str) -> None:
        def note(message: Any) -> None:
            self.came[topic] = message

        self.node.create_subscription(kind, topic, note, 5)

    def spin_until(self, condition: Callable[[], object], otherwise: Callable[[], str]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"{sorted(self.came)} came\n{otherwise()}"
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.kill()


@pytest.fixture
def outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> LaunchFile:
    return LaunchFile("perception.launch.py", monkeypatch, double=True)


@pytest.mark.parametrize(("composed", "count"), [("true", 1), ("false", 6)])
def test_detections_reach_the_outside_and_sigint_ends_it(
    file: LaunchFile,
    processes: Processes,
    outside: Outside,
    monkeypatch: pytest.MonkeyPatch,
    composed: str,
    count: int,
) -> None:
    with monkeypatch.context() as patch:  # as for a user, the shipped profile
        for variable in (quick_discovery.VARIABLE, quick_discovery.OLD_VARIABLE):
            patch.delenv(variable, raising=False)
        started = file.start(composed=composed, namespace="robot1", **SOURCE)
    for node in started:
        assert "config/fastdds.xml" in "".join(node.additional_env.values())
        processes.start(node.executable, *node.command, **node.additional_env)
    outside.listen(Detections, "/robot1/ai/detections")
    outside.listen(Float32, "/robot1/ai/inference_latency")
    outside.spin_until(lambda: len(outside.came) == 2, processes.output)
    assert outside.came["/robot1/ai/detections"].detections
    assert outside.came["/robot1/ai/inference_latency"].data > 0
    # A terminal and launch both send it.
    assert processes.interrupt(times=2) == [0] * count, processes.output()
    assert "Traceback" not in processes.output()


def test_the_container_hands_its_ros_arguments_on(processes: Processes, outside: Outside) -> None:
    given = [word for item in SOURCE.items() for word in ("--argument", ":=".join(item))]
    ros = ["-r", "__node:=mine", "-r", "detections:=found", "-r", "__ns:=/robot2"]
    processes.start("component_container", "--pipeline", "perception", *given, "--ros-args", *ros)
    outside.listen(Detections, "/robot2/ai/found")
    outside.spin_until(lambda: outside.came, processes.output)
    names = {
        "/".join((space, name)) for name, space in outside.node.get_node_names_and_namespaces()
    }
    assert {"/robot2/mine", "/robot2/ai/decode", "/robot2/camera/media_source"} <= names
    assert processes.interrupt(times=1) == [0], processes.output()


def test_an_unknown_model_leaves_the_others_running(processes: Processes, outside: Outside) -> None:
    arguments = ["--pipeline", "perception", "--argument", "model:=nope"]
    processes.start("component_container", *arguments)
    outside.spin_until(lambda: "unknown model 'nope'" in processes.output(), processes.output)
    names = outside.node.get_node_names
    outside.spin_until(lambda: {"latency", "overlay", "decode"} <= {*names()}, processes.output)
    assert processes.interrupt(times=1) == [0], processes.output()
    assert "Traceback" not in processes.output()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pipeline", "nope"], "no pipeline 'nope'"),
        (["--pipeline", "perception", "--argument", "modell:=x"], "did you mean 'model'?"),
        (["--pipeline", "perception", "--argument", "model"], "expected name:=value"),
        (["--ros-args", "--log-level", "loud"], "valid severity level"),
        (["--ros-args", "--params-file", "/no/such.yaml"], "/no/such.yaml"),
    ],
)
def test_a_container_that_cannot_start_says_why(arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "component_container", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_container_that_is_secured_without_keys_says_so(tmp_path: Path) -> None:
    """The wheels' middleware has no security at all, a distribution's misses the enclave's keys."""
    (tmp_path / "enclaves" / "robot").mkdir(parents=True)
    secured = {
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
        "ROS_SECURITY_KEYSTORE": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, "component_container", "--ros-args", "--enclave", "/robot"],
        cwd=ROOT,
        env={**os.environ, **secured},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "component_container: ROS does not start" in done.stderr
    assert "Traceback" not in done.stderr
