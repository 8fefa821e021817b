"""Every command of the guide "Is my robot fast enough?", in its order, beside a pipeline."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from benchmarks import ros_domain
from rig import DEADLINE_S, Outside, wait_for

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "fast_enough.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = """
import sys
from edge_inference.cli.main import main
sys.exit(main(sys.argv[1], sys.argv[2:]))
"""
#: People measure for longer than a test does.
SHORT = {"--seconds": "2", "--frames": "10"}
#: Exit codes that say what was found; all other commands succeed.
FINDINGS = {"doctor": {0, 1}, "validate": {0, 1, 3}, "diagnose": {0, 3}}
#: What each command shows.
SHOWN = {
    "doctor": r"governor",
    "top": r"inference",
    "validate": r"\d+ PASS, \d+ FAIL",
    "run": r"inference",
    "diagnose": r"frames of /ai in",
    "profile": r"inference|Conv",
    "benchmark": r"int8",
}


def blocks(kind: str) -> list[str]:
    return [text for each, text in BLOCK.findall(GUIDE) if each == kind]


#: The words of each command, once; the first one starts the pipeline.
LAUNCH, *STEPS = (
    shlex.split(line, comments=True)
    for line in dict.fromkeys(line for block in blocks("bash") for line in block.splitlines())
)


class Robot(NamedTuple):
    """A node beside the pipeline, and the folder in which the commands run."""

    outside: Outside
    folder: Path


def program(*words: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))}


def start(folder: Path, verb: str, arguments: list[str]) -> subprocess.Popen[str]:
    """Start a command of edge-inference."""
    return subprocess.Popen(
        program("edge-inference", verb, *arguments),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """The pipeline of the first command, in a domain without other pipelines."""
    folder = tmp_path_factory.mktemp("robot")
    (targets,) = blocks("yaml")
    (folder / "my_targets.yaml").write_text(targets)
    assert LAUNCH[:4] == ["ros2", "launch", "edge_inference", "perception.launch.py"]
    given = [word for argument in LAUNCH[4:] for word in ("--argument", argument)]
    domain, lock = ros_domain.reserve_domain()
    with lock, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        log = folder / "container.log"
        with log.open("wb") as output:
            container = subprocess.Popen(
                program("component_container", "--pipeline", "perception", *given),
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(),
            )
        outside = Outside()
        try:
            reports = outside.listen("/ai/latency_report", "edge_inference/LatencyReport")
            wait_for(lambda: any(each["ends"] for each in list(reports)), "the end of a frame")
            outside.reset()
            yield Robot(outside, folder)
            container.send_signal(signal.SIGINT)
            assert container.wait(DEADLINE_S) == 0, log.read_text()
            assert "Traceback" not in log.read_text()
        finally:
            outside.close()
            container.kill()


@pytest.mark.parametrize("words", STEPS, ids=" ".join)
def test_a_command_of_the_guide(robot: Robot, words: list[str]) -> None:
    match words:
        case ["edge-inference", "dashboard"]:
            open_dashboard(robot.folder)
        case ["edge-inference", verb, *arguments]:
            run(robot.folder, verb, arguments)
        case ["ros2", "param", "set", node, name, value]:
            (answer,) = robot.outside.set_parameters(
                node=node, values={name: yaml.safe_load(value)}
            )
            assert answer == [True, ""]
        case _:
            assert words == [*LAUNCH, "targets:=$PWD/my_targets.yaml"]


def run(folder: Path, verb: str, arguments: list[str]) -> None:
    """Run a command for a short time, and look at what it shows."""
    shortened = [SHORT.get(before, word) for before, word in pairwise(["", *arguments])]
    if verb == "top":
        shortened.append("--once")
    process = start(folder, verb, shortened)
    try:
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode in FINDINGS.get(verb, {0}), (out, errors)
    assert re.search(SHOWN[verb], out), (out, errors)
    assert "Traceback" not in errors
    if "--trace" in arguments:
        trace = folder / arguments[arguments.index("--trace") + 1]
        assert trace.read_text().startswith("<!")


def open_dashboard(folder: Path) -> None:
    """Start the dashboard, get its page, and end it."""
    if importlib.util.find_spec("starlette") is None:
        pytest.skip("the extra dashboard is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(folder, "dashboard", ["--port", str(port)])
    try:
        wait_for(lambda: process.poll() is not None or gives_page(port), "the page")
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode in (0, 130), errors
    assert "Traceback" not in errors


def gives_page(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except ConnectionError:
        return False
    finally:
        connection.close()
