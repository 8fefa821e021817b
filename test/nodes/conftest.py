"""A container that spins in a thread, and stock rclpy in another process."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edge_inference.action import Listen
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity, set_logger_level

import quick_discovery
from benchmarks import ros_domain
from dashboard_view import browser, page  # noqa: F401 - fixtures
from edge_inference.composition import container as container_module
from edge_inference.nodes.voice import command
from edge_inference.nodes.voice.navigation.client import NavigationClient
from edge_inference.speech.actions.limits import VoiceLimits
from installed_extension import installed
from navigation_rig import Navigator
from rig import Outside, Rig, wait_for
from wave_rig import write_package


def pytest_configure() -> None:
    """Set the environment before any ROS context; rclpy checks message fields, as on Humble."""
    quick_discovery.put_in_environment()
    os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"


def pytest_collection_finish() -> None:
    """Freeze imported objects, so that the garbage collection before each rig skips them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Restore the level of the process, which commands set for all nodes."""
    yield
    set_logger_level("", LoggingSeverity.INFO)


@pytest.fixture(params=["best"])
def rig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A spinning container; parametrise indirectly with "single" for the older executor."""
    if request.param == "single":
        monkeypatch.setattr(
            container_module,
            "make_executor",
            lambda context: SingleThreadedExecutor(context=context),
        )
    outside = request.getfixturevalue("_outside") if "outside" in request.fixturenames else None
    rig = Rig()
    yield rig
    rig.close()
    if outside is not None:
        # The publishers of the next test must not match these subscriptions.
        wait_for(lambda: not outside.knows(name=rig.name), "the container to leave")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the processes that a test starts a domain of their own.

    Nodes of earlier tests may be in the graph still, and would be taken for other pipelines.
    """
    domain, lock = ros_domain.reserve_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    yield
    lock.close()


@pytest.fixture(scope="session")
def _outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture
def outside(_outside: Outside) -> Iterator[Outside]:
    """Stock rclpy in another process."""
    yield _outside
    _outside.reset()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow long control cycles, because the test machine may be busy."""
    load_limits = command.load_limits

    def load_patient_limits(file: str) -> VoiceLimits:
        limits = load_limits(file)
        return replace(limits, plan=replace(limits.plan, dead_man_s=30.0))

    monkeypatch.setattr(command, "load_limits", load_patient_limits)


@pytest.fixture
def navigator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Navigator]:
    """An action server that replaces Nav2."""
    package, module = types.ModuleType("nav2_msgs"), types.ModuleType("nav2_msgs.action")
    module.NavigateToPose = Listen
    monkeypatch.setitem(sys.modules, "nav2_msgs", package)
    monkeypatch.setitem(sys.modules, "nav2_msgs.action", module)
    monkeypatch.setattr(
        NavigationClient, "_message", lambda self, place: Listen.Goal(timeout_s=1.0)
    )
    navigator = Navigator()
    yield navigator
    navigator.vanish()


@pytest.fixture
def install_wave(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Provide a function that installs the package of ``wave_rig``; gives its module."""
    with installed(tmp_path):
        modules = []

        def install(*entries: str, **lines: str) -> Any:
            write_package(tmp_path, *entries, **lines)
            modules.append(importlib.import_module("their_wave"))
            return modules[-1]

        yield install
        for module in modules:
            module.is_released.set()
