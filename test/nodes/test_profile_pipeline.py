"""``edge-inference profile`` of a pipeline, in its own process and in others."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trace_format import faults_of, slices_of, thread_names

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
DEADLINE_S = 300
STAGES = ["preprocess", "inference", "decode"]
pytestmark = pytest.mark.usefixtures("alone")


def start(*arguments: str, errors: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
    )


def profile(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = start("profile", *arguments)
    try:
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    return subprocess.CompletedProcess([], process.returncode, out, errors)


@contextmanager
def running() -> Iterator[subprocess.Popen[str]]:
    """Run a pipeline in another process; its first result has come."""
    process = start(
        "run",
        "perception",
        "--source",
        "sample",
        "--rate",
        "2",
        "--real-time",
        "--json",
        errors=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        # A full pipe would slow the pipeline down.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield process
    finally:
        process.kill()
        process.wait()


def lines_of(done: subprocess.CompletedProcess[str], kind: str) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [line for line in map(json.loads, done.stdout.splitlines()) if kind in line]


def test_a_pipeline_in_the_process_of_the_command(tmp_path: Path) -> None:
    file = tmp_path / "run.json.gz"
    options = ["--source", "sample", "--seconds", "4", "--trace", str(file), "--json"]
    done = profile("--pipeline", "perception", *options)
    stages = {line["stage"]: line for line in lines_of(done, "stage")}
    assert set(stages) >= set(STAGES)
    (summary,) = lines_of(done, "summary")
    seconds = summary["summary"]["seconds"]
    for name in STAGES:
        stage = stages[name]
        assert stage["frames"] > 0
        assert stage["process_ms"]["p50"] <= stage["process_ms"]["max"]
        # One thread works for a stage, so it cannot be busy for longer than the run.
        assert 0 < stage["busy"] <= 1.1
    threads = {line["thread"]: line for line in lines_of(done, "thread")}
    assert threads["inference"]["cpu_ms"] > 0
    # The thread of the stage did its work, and little else.
    used_ms = stages["inference"]["cpu_ms"] * stages["inference"]["frames"]
    assert threads["inference"]["cpu_ms"] >= 0.8 * used_ms
    assert all(0 <= line["cpu_ms"] <= seconds * 1.1e3 for line in threads.values())

    trace = json.loads(gzip.decompress(file.read_bytes()))
    assert faults_of(trace) == []
    names = thread_names(trace)
    drawn = slices_of(trace, "stage")
    assert {names[each["pid"], each["tid"]] for each in drawn} >= {
        f"{name} (/ai/{name})" for name in STAGES
    }
    for name in STAGES:
        assert sum(each["name"] == name for each in drawn) == stages[name]["frames"]
        length_us = sum(each["dur"] for each in drawn if each["name"] == name)
        assert length_us / 1e6 / seconds == pytest.approx(stages[name]["busy"], rel=0.02)
    ways: dict[str, list[str]] = {}
    for event in trace["traceEvents"]:
        if event["ph"] in "stf":
            stage_of = names[event["pid"], event["tid"]].split()[0]
            ways.setdefault(event["name"], []).append(stage_of)
    assert STAGES in ways.values()


def test_a_topic_without_images() -> None:
    done = profile("--pipeline", "perception", "--source", "/camera/nothing", "--seconds", "0.5")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no frame came in 0." in done.stderr
    assert "--source /camera/nothing" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_pipeline_runs() -> None:
    done = profile("--live", "--seconds", "1")
    assert done.returncode == 1
    assert "no pipeline runs" in done.stderr
    assert done.stderr.count("\n") == 1


def test_pipelines_in_other_processes(tmp_path: Path) -> None:
    file = tmp_path / "live.html"
    with running():
        done = profile("--live", "--seconds", "4", "--json", "--trace", str(file))
        assert {line["stage"] for line in lines_of(done, "stage")} >= set(STAGES)
        assert "queue of inference" in file.read_text()
        with running():
            two = profile("--live", "--seconds", "1")
            assert two.returncode == 1
            assert "expected one running pipeline, got 2: /ai, /ai_2" in two.stderr
            chosen = profile("--live", "--namespace", "ai_2", "--seconds", "3", "--json")
            nodes = {line["node"] for line in lines_of(chosen, "stage")}
            assert nodes and all(node.startswith("/ai_2/") for node in nodes)
