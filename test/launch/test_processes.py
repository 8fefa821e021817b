"""The executables as processes: their messages in plain rclpy, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float32

import quick_discovery
from launch_double import ROOT
from launch_files import LaunchFile
from running import DEADLINE_S, RUN, Outside, Processes

try:
    from vision_msgs.msg import Detection2DArray as Detections
except ImportError:
    from edge_inference.msg import DetectionArray as Detections

IMAGE = str(ROOT / "models" / "nanodet" / "golden" / "astronaut.jpg")
SOURCE = {"source": IMAGE, "loop": "true", "rate": "5"}


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
def test_detections_are_published_and_sigint_stops(
    file: LaunchFile,
    processes: Processes,
    outside: Outside,
    monkeypatch: pytest.MonkeyPatch,
    composed: str,
    count: int,
) -> None:
    with monkeypatch.context() as patch:  # the shipped profile, as for a user
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
    assert "XMLPARSER" not in processes.output()  # Fast DDS logs unknown settings


@pytest.mark.parametrize("composed", ["true", "false"])
def test_second_launch_in_the_same_namespace_is_an_error(
    file: LaunchFile, processes: Processes, outside: Outside, composed: str
) -> None:
    space = f"twice_{composed}"
    for _ in range(2):
        for node in file.start(composed=composed, namespace=space, autostart="false"):
            processes.start(node.executable, *node.command, **node.additional_env)

    def lines() -> list[str]:
        return [line for line in processes.output().splitlines() if "another node is" in line]

    names = ("latency", "decode", "inference", "preprocess", "overlay")
    reports = [f"another node is called /{space}/ai/{name}: they share" for name in names]
    outside.spin_until(
        lambda: all(sum(words in line for line in lines()) >= 2 for words in reports),
        processes.output,
    )
    assert all("[ERROR]" in line and "namespace:=<name>" in line for line in lines())


def test_container_passes_on_ros_arguments(processes: Processes, outside: Outside) -> None:
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
    outside.listen(DiagnosticArray, "/diagnostics")
    processes.start("component_container", *arguments)
    outside.spin_until(lambda: "unknown model 'nope'" in processes.output(), processes.output)
    names = outside.node.get_node_names
    outside.spin_until(lambda: {"latency", "overlay", "decode"} <= {*names()}, processes.output)
    # The executor publishes diagnostics when every component is loaded, not before.
    outside.spin_until(lambda: outside.came, processes.output)
    assert processes.interrupt(times=1) == [0], processes.output()
    assert "Traceback" not in processes.output()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pipeline", "nope"], "unknown pipeline 'nope'"),
        (["--pipeline", "perception", "--argument", "modell:=x"], "did you mean 'model'?"),
        (["--pipeline", "perception", "--argument", "model"], "expected name:=value"),
        (
            ["--pipeline", "robot", "--container", "nope"],
            "unknown container 'nope'; expected one of ['perc",
        ),
        (["--container", "voice_container"], "needs --pipeline"),
        (["--ros-args", "--log-level", "loud"], "valid severity level"),
        (["--ros-args", "--params-file", "/no/such.yaml"], "/no/such.yaml"),
    ],
)
def test_container_that_cannot_start_reports_the_reason(arguments: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "component_container", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_secured_container_without_keys_reports_the_reason(tmp_path: Path) -> None:
    """The middleware of the wheels has no security; that of a distribution misses the keys."""
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
