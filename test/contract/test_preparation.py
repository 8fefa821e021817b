"""A child process makes the files of an engine, and always ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving import preparation
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.preparation import prepare_in_child
from edge_inference.errors import BackendError, CancelledError

DEADLINE_S = 60.0


@pytest.fixture
def model() -> ModelDescription:
    return find_model("efficientnet_lite0")


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


def never() -> bool:
    return False


def script(tmp_path: Path, text: str) -> str:
    """Make a program that replaces the child."""
    file = tmp_path / "child"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_it_makes_a_missing_file_and_reports_progress(
    model: ModelDescription, cache: ArtifactCache
) -> None:
    reports = []
    prepare_in_child(
        EngineRequest(model, "ort", "fp16"),
        cache,
        lambda *progress: reports.append(progress),
        never,
    )
    assert reports == [("deriving fp16", None)]
    (entry,) = cache.entries()
    assert entry.folder.name.startswith("efficientnet_lite0-fp16-onnxruntime-")
    entry.verify()


def test_the_error_of_the_child_is_raised(model: ModelDescription, cache: ArtifactCache) -> None:
    with pytest.raises(BackendError, match=r"^backend 'trt' cannot run model .* here: trt not"):
        prepare_in_child(EngineRequest(model, "trt"), cache, lambda *progress: None, never)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kill -9 $$", "was killed by signal 9 .no output.; the usual cause is a lack of memory"),
        ("echo 'no room' >&2; exit 3", "ended with exit code 3 .no room."),
        ("echo '{}'; echo 'not JSON'; exit 0", "ended with exit code 0"),
        (
            """echo 7; echo '{"error": "efficientnet_lite0 for ort in fp16: no room"}'; exit 1""",
            "no room",
        ),
        ("printf '\\377 no room\\n' >&2; exit 3", "ended with exit code 3 .\ufffd no room."),
    ],
)
def test_a_child_that_ends_without_a_result(
    model: ModelDescription,
    cache: ArtifactCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    words: str,
) -> None:
    monkeypatch.setattr(preparation.sys, "executable", script(tmp_path, text))
    with pytest.raises(BackendError, match=f"efficientnet_lite0 for ort in fp16.*{words}"):
        prepare_in_child(EngineRequest(model, "ort", "fp16"), cache, lambda *progress: None, never)


def test_cancelling_ends_the_child(
    model: ModelDescription, cache: ArtifactCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    popen = subprocess.Popen

    def note(*arguments, **named):
        started.append(popen(*arguments, **named))
        return started[-1]

    # Ends with its input, or never.
    monkeypatch.setattr(preparation.sys, "executable", script(tmp_path, "exec cat >/dev/null"))
    monkeypatch.setattr(preparation.subprocess, "Popen", note)
    with pytest.raises(CancelledError, match="cancelled"):
        prepare_in_child(
            EngineRequest(model, "ort", "fp16"), cache, lambda *progress: None, lambda: True
        )
    assert started[0].poll() is not None
    assert cache.entries() == []


def test_ctrl_c_reaches_the_child_through_its_parent_only(
    model: ModelDescription, cache: ArtifactCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import os, sys; sys.stderr.write(str(os.getpgrp()))"
    text = f"exec {sys.executable} -c '{program}'"
    monkeypatch.setattr(preparation.sys, "executable", script(tmp_path, text))
    with pytest.raises(BackendError) as raised:
        prepare_in_child(EngineRequest(model, "ort", "fp16"), cache, lambda *progress: None, never)
    (group,) = re.findall(r"ended with exit code 0 \((\d+)\)", str(raised.value))
    assert int(group) != os.getpgrp()


def test_the_child_ends_with_its_parent(model: ModelDescription, cache: ArtifactCache) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_inference.engines.serving.preparation"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**preparation.os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    try:
        asked = preparation._to_json(EngineRequest(model, "ort", "fp16"), cache)
        child.stdin.write(json.dumps(asked) + "\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["phase"] == "deriving fp16"
        child.stdin.close()  # as at the end of the parent
        assert child.wait(DEADLINE_S) == 1
        assert "done" not in child.stdout.read()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert cache.entries() == []
