"""``edge-inference diagnose`` as a user runs it, on pipelines of its own and of others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_inference.observe.attribution.cause import Cause

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
# Long, because the machine may be busy; only a test that fails waits for it.
DEADLINE_S = 600
SAMPLE = ("--pipeline", "perception", "--source", "sample")
pytestmark = pytest.mark.usefixtures("alone")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "diagnose", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(*arguments)
    try:
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    return subprocess.CompletedProcess([], process.returncode, out, errors)


def causes_and_summary(out: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *causes, summary = map(json.loads, out.splitlines())
    return causes, summary


def check_json(result: subprocess.CompletedProcess[str], namespace: str) -> None:
    """Check a result, whatever held the frames up on this machine."""
    causes, summary = causes_and_summary(result.stdout)
    assert summary["namespace"] == namespace
    assert summary["frames"] > 5
    assert [each["cause"] for each in causes] == summary["causes"]
    assert [each["ms"] for each in causes] == sorted((each["ms"] for each in causes), reverse=True)
    assert {each["cause"] for each in causes} <= {each.value for each in Cause}
    assert all(each["evidence"] and each["hint"] for each in causes)
    # Everything is known but the state of the machine: each process has a monitor.
    assert [text.partition(":")[0] for text in summary["unknown"]] == ["throttling"]
    assert result.returncode == (3 if causes else 0)


@contextmanager
def running() -> Iterator[subprocess.Popen[str]]:
    """Run a pipeline in another process: that of a long diagnosis, which is interrupted.

    It must then show what it has found so far.
    """
    process = start(*SAMPLE, "--seconds", "3600", "--json")
    try:
        yield process
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode in (0, 3)
    assert causes_and_summary(out)[1]["frames"] > 5


def diagnose_until_found(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Repeat a diagnosis until the pipelines that were just started are there."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        result = run("--seconds", "3", "--json", *arguments)
        if result.returncode in (0, 3) or time.monotonic() > deadline_s:
            return result


def test_a_pipeline_in_this_process() -> None:
    result = run(*SAMPLE, "--seconds", "3", "--json")
    check_json(result, "/ai")


def test_text_for_people() -> None:
    result = run(*SAMPLE, "--seconds", "2")
    assert result.returncode in (0, 3)
    lines = result.stdout.splitlines()
    assert " frames of /ai in " in lines[0]
    is_clean = "nothing held the frames up" in lines
    assert is_clean == (result.returncode == 0)
    assert is_clean or any(line.startswith(" 1. ") for line in lines)
    assert max(map(len, lines[: lines.index("not known:")])) < 400


def test_running_pipelines() -> None:
    with running():
        check_json(diagnose_until_found(), "/ai")
        with running():
            check_json(diagnose_until_found("--namespace", "ai_2"), "/ai_2")
            unclear = run("--seconds", "1")
            assert unclear.returncode == 1
            assert "got 2: /ai, /ai_2; choose one with --namespace /ai" in unclear.stderr
            wrong = run("--seconds", "1", "--namespace", "/nothing")
            assert wrong.returncode == 1
            assert "--namespace /nothing: expected a running pipeline there" in wrong.stderr


def test_no_pipeline() -> None:
    result = run("--seconds", "1")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("edge-inference: no pipeline runs: ")
    assert result.stderr.count("\n") == 1


def test_nothing_arrives() -> None:
    result = run("--pipeline", "perception", "--source", "/camera/nothing", "--seconds", "1")
    assert (result.returncode, result.stdout) == (1, "")
    assert "no stage published its timings on /ai/stage_timing" in result.stderr
    assert "from /camera/nothing" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pipeline", "perception"), "--pipeline perception: expected --source as well"),
        (("--source", "sample"), "--source is for a pipeline that --pipeline starts"),
        (("--model", "nanodet"), "--model is for a pipeline that --pipeline starts"),
        ((*SAMPLE, "--namespace", "/ai"), "--namespace is for a running pipeline"),
        (("--seconds", "0"), "expected a number from 1 to 3600"),
        (("--pipeline", "robot", "--source", "x"), "invalid choice"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_model_that_there_is_not() -> None:
    result = run(*SAMPLE, "--model", "nothing")
    assert (result.returncode, result.stdout) == (1, "")
    assert "nothing" in result.stderr
