"""A signal ends a process whose main thread is in a library that does not come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0
#: Opens a model as one does that takes hours: without Python's lock, and deaf to signals.
BUSY = """
import hashlib, sys
from edge_inference.backends.ort import OrtBackend
def busy(backend):
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", (1 << 31) - 1)
OrtBackend._make_session = busy
from edge_inference.tools.main import console, executable
sys.exit({})
"""
PROGRAMS = {
    "run": ("console()", ["run", "perception", "--source", "sample", "--json"]),
    "node": ("executable('inference')", ["--ros-args", "-p", "model:=nanodet"]),
    "container": ("executable('component_container')", ["--pipeline", "perception"]),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_signal_while_a_model_opens(tmp_path: Path, program: str, number: signal.Signals) -> None:
    code, words = PROGRAMS[program]
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY.format(code), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "EDGE_INFERENCE_CACHE": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while (line := process.stdout.readline()) != "busy\n":
            assert line, process.stderr.read()
        process.send_signal(number)
        _, said = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    if program == "run":
        assert said == "edge-inference: interrupted\n"
