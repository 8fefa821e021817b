"""Isolation of the unit tests, and fixtures with an engine server in a workshop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import isolation
from edge_inference.core.models.model import find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving import server as server_module
from edge_inference.engines.serving.server import EngineServer
from engine_workshop import Witness, Workshop

# Imported before the isolation starts: without a library in its wheel, soundfile runs ldconfig.
with contextlib.suppress(ImportError, OSError):
    import soundfile  # noqa: F401


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Start the isolation before the first fixture."""
    isolation.start_watching(item.nodeid)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """End the isolation; fail also if the test swallowed the exception of a violation."""
    try:
        return (yield)
    finally:
        if violations := isolation.stop_watching():
            pytest.fail(f"{item.nodeid} {' and '.join(violations)}: {isolation.HINT}")


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    workshop = Workshop(find_model("efficientnet_lite0"))
    monkeypatch.setattr(server_module, "select_backend", workshop.select)
    monkeypatch.setattr(server_module, "prepare_in_child", workshop.make)
    return workshop


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def server(workshop: Workshop, witness: Witness, tmp_path: Path) -> Iterator[EngineServer]:
    server = EngineServer(ArtifactCache(tmp_path), workshop.check, witness.changed, witness.failed)
    yield server
    workshop.may_finish.set()
    server.close()
    assert workshop.open_backends() == []
