"""Isolation of the unit tests, and fixtures with an engine server with fake engines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import isolation
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving import engine_opener
from edge_inference.engines.serving.server import EngineServer
from engine_server_fakes import CallbackRecorder, FakeEngines
from service_rig import Edge, ServiceRig, SteppedEngines

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
def engines(monkeypatch: pytest.MonkeyPatch) -> FakeEngines:
    engines = FakeEngines(find_model("efficientnet_lite0"))
    monkeypatch.setattr(engine_opener, "select_backend", engines.select)
    monkeypatch.setattr(engine_opener, "prepare_in_child", engines.make)
    return engines


@pytest.fixture
def recorder() -> CallbackRecorder:
    return CallbackRecorder()


@pytest.fixture
def server(
    engines: FakeEngines, recorder: CallbackRecorder, tmp_path: Path
) -> Iterator[EngineServer]:
    server = EngineServer(ArtifactCache(tmp_path), engines.check, recorder.changed, recorder.failed)
    recorder.server = server
    yield server
    engines.may_finish.set()
    server.close()
    assert engines.open_backends() == []


@pytest.fixture(scope="module")
def model() -> ModelDescription:
    return find_model("efficientnet_lite0")


@pytest.fixture
def edges() -> set[Edge]:
    return set()


@pytest.fixture
def make_rig(
    model: ModelDescription, edges: set[Edge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], ServiceRig]:
    def make() -> ServiceRig:
        engines = SteppedEngines(model)
        monkeypatch.setattr(engine_opener, "select_backend", engines.select)
        monkeypatch.setattr(engine_opener, "prepare_in_child", engines.make)
        return ServiceRig(engines, tmp_path, edges)

    return make


@pytest.fixture
def rig(make_rig: Callable[[], ServiceRig]) -> Iterator[ServiceRig]:
    rig = make_rig()
    yield rig
    rig.close()
