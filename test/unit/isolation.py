"""What keeps the unit tier quick: its tests start no process, open no model and no ROS graph.

An audit hook sees every way to start a process, also from C code and below mocks, and every
import. It cannot be taken out again, so it heeds only what happens while a unit test runs.
"""

from __future__ import annotations

import multiprocessing.util
import sys
from typing import Any

import pytest

PROCESSES = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
}
# Imported, each costs more than most tests; what is opened in it costs more still.
PACKAGES = {"onnxruntime": "InferenceSession", "rclpy": "context.Context"}

ADVICE = "a test that needs this belongs in test/process"

_running: list[str] = []
_seen: list[str] = []
_patch = pytest.MonkeyPatch()


def start_watching(test: str) -> None:
    """Refuse, from now on, what is no part of a unit test."""
    for package in PACKAGES:
        forbid_opening(package, _patch)
    # The one way to start a process that raises no event.
    started = "starts a process (multiprocessing)"
    _patch.setattr(multiprocessing.util, "spawnv_passfds", lambda *_: _refuse(started))
    _seen.clear()
    _running[:] = [test]


def stop_watching() -> list[str]:
    """Stop refusing and return what was refused, which the test may have swallowed."""
    _running.clear()
    _patch.undo()
    return take_violations()


def take_violations() -> list[str]:
    """Return what was refused since the test began, and forget it."""
    found = list(_seen)
    _seen.clear()
    return found


def forbid_opening(package: str, patch: pytest.MonkeyPatch) -> None:
    """Refuse to open something of ``package``, where another tier's tests have imported it."""
    found: Any = sys.modules.get(package)
    for name in PACKAGES[package].split("."):
        found = getattr(found, name, None)
    if found is not None:
        patch.setattr(found, "__init__", lambda *_, **__: _refuse(f"opens {package}.{name}"))


def _refuse(what: str) -> None:
    _seen.append(what)
    pytest.fail(f"{_running[0]} {what}: {ADVICE}")


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _running:
        return
    if event in PROCESSES:
        _refuse(f"starts a process ({event})")
    elif event == "import" and arguments[0].partition(".")[0] in PACKAGES:
        _refuse(f"imports {arguments[0]}")


sys.addaudithook(_hear)
