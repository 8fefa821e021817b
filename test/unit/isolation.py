"""Keeps the unit tier fast: its tests start no process and open no model and no ROS context.

An audit hook sees every import and every way to start a process, also from C code and below mocks.
An audit hook cannot be removed, so it does nothing while no unit test runs.
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
# The import of each takes longer than most tests, and opening the named class takes even longer.
PACKAGES = {"onnxruntime": "InferenceSession", "rclpy": "context.Context"}

HINT = "a test that needs this belongs in test/process"

_running: list[str] = []
_violations: list[str] = []
_patch = pytest.MonkeyPatch()


def start_watching(test: str) -> None:
    """Refuse processes and heavy packages from now on; ``test`` is the name of the test."""
    for package in PACKAGES:
        forbid_opening(package, _patch)
    # The only way to start a process that raises no audit event.
    violation = "starts a process (multiprocessing)"
    _patch.setattr(multiprocessing.util, "spawnv_passfds", lambda *_: _refuse(violation))
    _violations.clear()
    _running[:] = [test]


def stop_watching() -> list[str]:
    """Stop refusing, and return the violations, whose exceptions the test may have swallowed."""
    _running.clear()
    _patch.undo()
    return take_violations()


def take_violations() -> list[str]:
    """Return the violations since the test began, and clear them."""
    violations = list(_violations)
    _violations.clear()
    return violations


def forbid_opening(package: str, patch: pytest.MonkeyPatch) -> None:
    """Refuse to open the class of ``package`` if the tests of another tier have imported it."""
    class_: Any = sys.modules.get(package)
    for name in PACKAGES[package].split("."):
        class_ = getattr(class_, name, None)
    if class_ is not None:
        patch.setattr(class_, "__init__", lambda *_, **__: _refuse(f"opens {package}.{name}"))


def _refuse(violation: str) -> None:
    _violations.append(violation)
    pytest.fail(f"{_running[0]} {violation}: {HINT}")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _running:
        return
    if event in PROCESSES:
        _refuse(f"starts a process ({event})")
    elif event == "import" and arguments[0].partition(".")[0] in PACKAGES:
        _refuse(f"imports {arguments[0]}")


sys.addaudithook(_audit)
