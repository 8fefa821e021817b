"""An engine server in a workshop, for the tests of engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_inference.core.model import find_model
from edge_inference.engines import server as server_module
from edge_inference.engines.server import EngineServer
from edge_inference.engines.store import Store
from engine_workshop import Witness, Workshop


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop(find_model("efficientnet_lite0"))
    monkeypatch.setattr(server_module, "select_backend", made.select)
    monkeypatch.setattr(server_module, "prepare_beside", made.make)
    return made


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def server(workshop: Workshop, witness: Witness, tmp_path: Path) -> Iterator[EngineServer]:
    made = EngineServer(Store(tmp_path), workshop.check, witness.changed, witness.failed)
    yield made
    workshop.may_finish.set()
    made.close()
    assert workshop.open_backends() == []
