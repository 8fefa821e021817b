"""Nothing but functions runs here; and an engine server in a workshop, for the tests of engines."""

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

# Where its wheel brings no library it asks ldconfig, in a process, where the system has one.
with contextlib.suppress(ImportError, OSError):
    import soundfile  # noqa: F401


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Refuse what is no unit test's, from the first fixture on."""
    isolation.start_watching(item.nodeid)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Fail also where the refusal was swallowed."""
    try:
        return (yield)
    finally:
        if found := isolation.stop_watching():
            pytest.fail(f"{item.nodeid} {' and '.join(found)}: {isolation.ADVICE}")


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop(find_model("efficientnet_lite0"))
    monkeypatch.setattr(server_module, "select_backend", made.select)
    monkeypatch.setattr(server_module, "prepare_in_child", made.make)
    return made


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def server(workshop: Workshop, witness: Witness, tmp_path: Path) -> Iterator[EngineServer]:
    made = EngineServer(ArtifactCache(tmp_path), workshop.check, witness.changed, witness.failed)
    yield made
    workshop.may_finish.set()
    made.close()
    assert workshop.open_backends() == []
