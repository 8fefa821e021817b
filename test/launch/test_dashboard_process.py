"""The command ``edge-inference dashboard`` as a process, with and without a pipeline."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from launch_double import ROOT
from running import DEADLINE_S, RUN, Processes

for _package in ("starlette", "uvicorn", "websockets"):
    pytest.importorskip(_package, reason=f"the dashboard needs {_package}: pip install {_package}")

IMAGE = str(ROOT / "models" / "nanodet" / "golden" / "astronaut.jpg")
PIPELINE = ["--pipeline", "perception"]
for _argument in (f"source:={IMAGE}", "loop:=true", "rate:=5"):
    PIPELINE += ["--argument", _argument]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.kill()


@contextmanager
def dashboard(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command; yield its process and the line that it prints."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "edge-inference", "dashboard", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def open_page(line: str, token: str = "") -> Iterator[Any]:
    from websockets.sync.client import connect

    address = re.search(r"http://([\w.:]+)/", line)[1]
    with connect(f"ws://{address}/ws", origin=f"http://{address}", max_size=None) as page:
        page.send(json.dumps({"type": "hello", "token": token}))
        yield page


def wait_for(page: Any, predicate: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the data of the first snapshot for which the predicate is true."""
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        data = page.recv(timeout=DEADLINE_S)
        message = json.loads(data) if isinstance(data, str) else {}
        if message.get("type") == "snapshot" and predicate(message["data"]):
            return message["data"]
    raise AssertionError(f"it did not happen; the last one was {message}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_with_an_open_page(number: signal.Signals) -> None:
    with dashboard() as (process, line):
        assert line.startswith("dashboard (read-only): http://127.0.0.1:")
        with open_page(line) as page:
            assert "no pipeline runs" in wait_for(page, lambda data: data["status"])["status"]
            process.send_signal(number)
            output, errors = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, output, errors) == (0, "", "")


def test_it_survives_the_pipeline_and_its_restart(processes: Processes) -> None:
    with dashboard("--allow-changes") as (process, line), open_page(line) as page:
        assert line.startswith("dashboard (parameters can be changed): ")
        wait_for(page, lambda data: data["status"])
        for run in range(2):
            processes.start("component_container", *PIPELINE)
            wait_for(page, lambda data: not data["status"] and data["stages"])
            pids = {each["pid"] for each in wait_for(page, lambda d: d["processes"])["processes"]}
            assert processes.pid(run) in pids
            processes.send(signal.SIGKILL, run)
            wait_for(page, lambda data: data["status"])
        assert process.poll() is None


def test_images_and_a_parameter_of_a_real_pipeline(processes: Processes) -> None:
    processes.start("component_container", *PIPELINE)
    with dashboard("--allow-changes") as (_, line), open_page(line) as page:
        wait_for(page, lambda data: data["results"])
        page.send(json.dumps({"type": "image", "on": True}))
        while isinstance(image := page.recv(timeout=DEADLINE_S), str):
            pass
        assert image[8:11] == b"\xff\xd8\xff"
        change = {"type": "set_parameter", "node": "/ai/decode", "name": "confidence", "id": 1}
        for value, is_ok in ((0.99, True), (7.0, False)):
            page.send(json.dumps({**change, "value": value}))
            answer = wait_for_answer(page, "set_result")
            assert answer["ok"] is is_ok, answer
        assert "confidence" in answer["reason"]
        page.send(json.dumps({"type": "parameters", "node": "/ai/decode"}))
        rows = wait_for_answer(page, "parameters")["parameters"]
        assert {row["name"]: row["value"] for row in rows}["confidence"] == 0.99


def wait_for_answer(page: Any, kind: str) -> dict[str, Any]:
    while True:
        data = page.recv(timeout=DEADLINE_S)
        if isinstance(data, str) and (message := json.loads(data))["type"] == kind:
            return message


def test_on_a_network_a_token_is_printed_once() -> None:
    with dashboard("--host", "0.0.0.0") as (_, line):
        token = re.search(r"/#token=([\w-]{20,})\n", line)[1]
        local = line.replace(re.search(r"//([\w.]+):", line)[1], "127.0.0.1")
        with open_page(local, token) as page:
            wait_for(page, lambda data: True)


def test_a_token_file_stays_secret(tmp_path: Path) -> None:
    token = "0123456789abcdef0123"
    file = tmp_path / "token"
    file.write_text(token)
    file.chmod(0o600)
    with dashboard("--token-file", str(file)) as (process, line):
        assert process.stdout is not None
        assert token not in line + process.stdout.readline()
        with open_page(line, token) as page:
            wait_for(page, lambda data: True)


def test_a_second_one_says_that_the_port_is_taken() -> None:
    with dashboard() as (_, line):
        port = re.search(r":(\d+)/", line)[1]
        with dashboard("--port", port) as (process, nothing):
            _, errors = process.communicate(timeout=DEADLINE_S)
            assert (process.returncode, nothing) == (1, "")
            assert errors.startswith(f"edge-inference: port {port} of 127.0.0.1 is taken")
            assert errors.count("\n") == 1
