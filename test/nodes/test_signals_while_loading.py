"""A signal ends a process whose main thread is blocked in a library."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0
#: Opens a model as if it took hours: without the GIL, and without handling signals. A thread
#: reports when the main thread is blocked there.
BUSY = """
import ctypes, os, sys, threading
from pathlib import Path
from edge_inference.backends.ort import OrtBackend

def tell():
    before = None
    while True:
        status = Path(f"/proc/self/task/{{os.getpid()}}/status").read_text()
        now = [line for line in status.splitlines() if "ctxt" in line]
        frame = sys._current_frames()[threading.main_thread().ident]
        if frame.f_code is busy.__code__ and now == before:
            print("busy", flush=True)
            return
        before = now
        threading.Event().wait(0.2)

def busy(backend):
    threading.Thread(target=tell, daemon=True).start()
    mutex = ctypes.create_string_buffer(256)
    lock = ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex)
    lock(mutex)

OrtBackend._make_session = busy
from edge_inference.cli.main import console, executable
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
        _, output = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    if program == "run":
        # Earlier lines may report other nodes in its domain that have just ended.
        assert output.endswith("edge-inference: interrupted\n")
