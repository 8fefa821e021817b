"""A signal ends a command quickly and without a traceback, at any stage of its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_inference.cli.models import check_models
from edge_inference.cli.perception import run
from edge_inference.cli.perception.run_options import RunOptions
from edge_inference.engines.serving import selection

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "models" / "nanodet" / "golden" / "astronaut.jpg"
DEADLINE_S = 120.0
#: Time for a command to end on a busy machine; its work would take longer.
END_S = 30.0
RUN = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
COMMANDS = {
    "models": ["models"],
    "check": ["models", "check", "nanodet"],
    "compare": ["compare", "nanodet"],
    "show": ["platform", "show"],
}


class Command:
    """A command in a process, and the stage that it has reached."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "EDGE_INFERENCE_CACHE": str(folder),
                "PYTHONUNBUFFERED": "1",
            },
        )

    def has_mapped(self, name: str) -> bool:
        """Tell whether a library is mapped by the command, or by the child that does its work."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            maps = [Path(f"/proc/{each}/maps").read_text() for each in (pid, *children)]
        except OSError:
            return False
        return any(name in text for text in maps)

    def has_written(self) -> bool:
        """Read a line of output; return whether there was one."""
        return bool(self.process.stdout.readline())

    def reach(self, stage: str) -> None:
        """Wait until a library is mapped, for the first output, or for the end."""
        if stage == "output":
            self.has_written()
            return
        end = time.monotonic() + DEADLINE_S
        while not self.has_mapped(stage) and self.process.poll() is None:
            assert time.monotonic() < end, f"{stage} has not been mapped"
            threading.Event().wait(0.001)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("command", "stage"),
    [
        ("models", "_json"),  # one of the first, and not built into any Python
        ("models", "numpy"),
        ("check", "numpy"),
        ("check", "cv2"),
        ("check", "onnxruntime"),
        ("check", "output"),
        ("compare", "numpy"),
        ("compare", "onnxruntime"),
        ("show", "_json"),
        ("show", "output"),
    ],
)
def test_a_signal_at_any_stage(
    tmp_path: Path, command: str, stage: str, number: signal.Signals
) -> None:
    run = Command(COMMANDS[command], tmp_path)
    try:
        run.reach(stage)
        run.process.send_signal(number)
        _, said = run.process.communicate(timeout=END_S)
    finally:
        run.close()
    assert "Traceback" not in said and "Error" not in said, said
    assert run.process.returncode in (128 + number, -number, 0), said
    if run.process.returncode == 128 + number:
        assert said == "edge-inference: interrupted\n"


@pytest.fixture
def made_too_late(request: pytest.FixtureRequest) -> Callable[..., bool]:
    """Replaces the making of an engine: it finishes just after a signal."""

    def make(*arguments: Any, **named: Any) -> bool:
        signal.raise_signal(request.getfixturevalue("number"))
        return True

    return make


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_during_the_preparation_ends_a_check(
    monkeypatch: pytest.MonkeyPatch, made_too_late: Callable[..., bool], number: signal.Signals
) -> None:
    monkeypatch.setattr(selection, "prepare", made_too_late)
    with pytest.raises(KeyboardInterrupt) as caught:
        check_models.check_models(["nanodet"], "", "ort", "fp16", None)
    assert caught.value.args == (number,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_during_the_preparation_ends_a_run(
    monkeypatch: pytest.MonkeyPatch, made_too_late: Callable[..., bool], number: signal.Signals
) -> None:
    monkeypatch.setattr(run, "_prepare_engine", made_too_late)
    options = RunOptions(str(IMAGE), backend="ort")
    assert run.run_perception(options, time.monotonic()) == 128 + number
