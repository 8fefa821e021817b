"""A process that is stopped tells so afterwards, and not that its interpreter lock was held."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from edge_inference.observe.heartbeat import PERIOD_MS

# Long, because the machine may be busy; only a test that fails waits for it.
DEADLINE_S = 120.0
STOP_MS = 400.0

STOPPED = """
import json, sys, time, threading
from edge_inference.observe.heartbeat import Heartbeat
beating = Heartbeat(print)
print("ready", flush=True)
sys.stdin.readline()
time.sleep(0.05)
beating.stop()
print(json.dumps([[h.wait_ms, h.lock_ms, h.is_stopped] for h in beating.take_holds()]))
"""


def test_a_stopped_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGSTOP)
        stopped_s = _stop_time(child.pid)
        while time.monotonic() < stopped_s + STOP_MS / 1e3:
            pass
        child.send_signal(signal.SIGCONT)
        child.stdin.write("\n")
        child.stdin.flush()
        holds = json.loads(child.stdout.readline())
    stops = [wait_ms for wait_ms, _, is_stopped in holds if is_stopped]
    assert max(stops) >= STOP_MS - 2 * PERIOD_MS
    assert all(lock_ms == 0.0 for _, lock_ms, is_stopped in holds if is_stopped)


def _stop_time(pid: int) -> float:
    """Wait until a process is stopped; return the time of that."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return time.monotonic()
    raise AssertionError("the process was not stopped")
