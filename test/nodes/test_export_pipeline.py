"""``edge-inference export`` as a user runs it, on a pipeline of another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
# Long, because the machine may be busy; only a test that fails waits for it.
DEADLINE_S = 600.0
pytestmark = pytest.mark.usefixtures("alone")


@contextmanager
def running(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command line in a process of its own, which Ctrl-C ends."""
    paths = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths},
        )
    try:
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], Any], log: Path) -> Any:
    """Return the first result that is true."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not (result := condition()):
        assert time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.1)
    return result


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file that may still be written."""
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def page_of(log: Path) -> str:
    """Return the metrics, whose address the command says; empty while there are none."""
    words = [word for word in log.read_text().split() if word.startswith("http://")]
    try:
        return urllib.request.urlopen(words[0], timeout=DEADLINE_S).read().decode() if words else ""
    except (urllib.error.URLError, ConnectionError):
        return ""


RUNNING = (
    "edge_inference_pipeline_running 1.0\n",
    "edge_inference_end_to_end_seconds{",
    'edge_inference_engine_info{backend="',
    'stage="decode"',
)


def test_a_pipeline_is_exported_before_during_and_after_its_run(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
    log, file = tmp_path / "export.log", tmp_path / "robot.jsonl"
    arguments = ("export", "--json", str(file), "--prometheus", "0", "--period-s", "0.2")
    with running(log, *arguments) as export:
        wait_for(lambda: "edge_inference_pipeline_running 0.0\n" in page_of(log), log)
        # A diagnosis repeats the sample until it is interrupted.
        run = ("diagnose", "--pipeline", "perception", "--source", "sample", "--seconds", "3600")
        with running(tmp_path / "run.log", *run):
            # Engines, stages and ends are on topics of their own, and come one after the other.
            wait_for(lambda: all(each in page_of(log) for each in RUNNING), log)
            line = wait_for(
                lambda: next((each for each in lines_of(file) if len(each["stages"]) >= 3), None),
                log,
            )
            assert line["status"] == "" and line["namespace"] == "/ai"
            assert {"preprocess", "inference", "decode"} <= {
                each["stage"] for each in line["stages"]
            }
            wait_for(lambda: any(each["ends"] for each in lines_of(file)), log)
        wait_for(lambda: "edge_inference_pipeline_running 0.0\n" in page_of(log), log)
        assert 'stage="decode"' not in wait_for(
            lambda: page if "stage=" not in (page := page_of(log)) else "", log
        )
    assert export.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()
