"""Engines are made, exchanged and rolled back while somebody infers."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.backends.base import Backend, TensorSpec
from edge_inference.backends.null import NullBackend
from edge_inference.core.model import ModelDescription, find_model
from edge_inference.engines import server as server_module
from edge_inference.engines.preparation import PreparationCancelledError
from edge_inference.engines.select import Request, Selection
from edge_inference.engines.server import Engine, EngineServer
from edge_inference.engines.store import Store
from edge_inference.engines.supply import ShippedFile
from edge_inference.errors import (
    BackendError,
    EdgeInferenceError,
    EngineFileError,
    ModelError,
)

DEADLINE_S = 20.0
X = TensorSpec("x", np.dtype(np.float32), (1,))
ONE = {"x": np.ones(1, np.float32)}


class Workshop:
    """Stands for the choice and the making of engines; what it hands out is counted."""

    def __init__(self, model: ModelDescription) -> None:
        self.model = model
        self.missing: set[str] = set()
        self.impossible: dict[str, EdgeInferenceError] = {}
        self.broken_run: dict[str, EdgeInferenceError] = {}
        self.broken_open: dict[str, EdgeInferenceError] = {}
        self.drifting: dict[str, EdgeInferenceError] = {}
        self.discarded: list[str] = []
        self.making = threading.Event()
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.made: list[str] = []
        self.backends: list[Backend] = []

    def request(self, precision: str, backend: str = "ort") -> Request:
        return Request(self.model, backend, precision, origin=precision)

    def select(self, request: Request, store: Store) -> Selection:
        precision = "fp32" if request.precision == "auto" else request.precision
        if precision in self.impossible:
            raise self.impossible[precision]
        backend = None
        if precision not in self.missing:
            backend = _Numbered(precision, self)
            self.backends.append(backend)
        recipe = _Recipe(self.model.variants["fp32"], self, precision)
        return Selection(request, request.backend, precision, "why", recipe, backend)

    def make(self, request: Request, store: Store, progress: Any, cancelled: Any) -> None:
        progress("building", 0.5)
        self.making.set()
        while not self.may_finish.wait(0.01):
            if cancelled():
                raise PreparationCancelledError("cancelled")
        self.made.append(request.precision)
        self.missing.discard(request.precision)
        self.broken_open.pop(request.precision, None)

    def check(self, selection: Selection, backend: Backend) -> Mapping[str, str]:
        if selection.precision in self.drifting:
            raise self.drifting[selection.precision]
        return {"self-check": "fine"}

    def open_backends(self) -> list[str]:
        return [each.precision for each in self.backends if each._is_open]  # type: ignore[attr-defined]


class _Numbered(NullBackend):
    """Answers with its precision in figures, unless it is to break."""

    def __init__(self, precision: str, workshop: Workshop) -> None:
        super().__init__((X,), (X,), self._answer)
        self.precision = precision
        self._workshop = workshop

    def _open(self) -> Any:
        if self.precision in self._workshop.broken_open:
            raise self._workshop.broken_open[self.precision]
        return super()._open()

    def _answer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if self.precision in self._workshop.broken_run:
            raise self._workshop.broken_run[self.precision]
        return {"x": inputs["x"] * int(self.precision[-2:].strip("tp"))}


@dataclasses.dataclass(frozen=True)
class _Recipe(ShippedFile):
    workshop: Any = None
    precision: str = ""

    def discard(self, store: Store) -> bool:
        self.workshop.discarded.append(self.precision)
        self.workshop.missing.add(self.precision)
        return True


class Witness:
    """Remembers what the server tells, and waits for it."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self._told = threading.Condition()

    def changed(self, engine: Engine) -> None:
        with self._told:
            self.changes.append(engine.precision)
            self._told.notify_all()

    def failed(self, error: EdgeInferenceError, engine: Engine) -> None:
        with self._told:
            self.failures.append((str(error), engine.precision))
            self._told.notify_all()

    def wait_for(self, true: Callable[[], bool]) -> None:
        with self._told:
            assert self._told.wait_for(true, DEADLINE_S), (self.changes, self.failures)


@pytest.fixture(scope="module")
def model() -> ModelDescription:
    return find_model("efficientnet_lite0")


@pytest.fixture
def workshop(model: ModelDescription, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop(model)
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


def answer(server: EngineServer) -> float:
    return float(server.run(lambda engine: engine.backend.infer(ONE))["x"][0])


# --- opening -------------------------------------------------------------------------


def test_what_is_there_is_opened(server: EngineServer, workshop: Workshop) -> None:
    server.open(workshop.request("int8"))
    assert server.engine is not None
    assert (server.engine.precision, server.engine.is_stand_in) == ("int8", False)
    assert server.engine.facts()["self-check"] == "fine"
    assert answer(server) == 8


def test_what_is_missing_is_made_while_another_serves(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    workshop.missing.add("fp16")
    workshop.may_finish.clear()
    server.open(workshop.request("fp16"))
    assert answer(server) == 32
    assert server.engine is not None and server.engine.is_stand_in
    assert workshop.making.wait(DEADLINE_S)
    preparation = server.preparation
    assert preparation is not None
    assert (preparation.phase, preparation.fraction) == ("building", 0.5)
    assert "fp16: building 50%" in preparation.words()
    workshop.may_finish.set()
    witness.wait_for(lambda: witness.changes == ["fp32", "fp16"])
    assert answer(server) == 16
    assert workshop.open_backends() == ["fp16"]
    assert server.preparation is None
    assert witness.failures == []


def test_without_a_stand_in_it_waits(server: EngineServer, workshop: Workshop) -> None:
    workshop.missing.add("fp16")
    server.open(workshop.request("fp16"), may_stand_in=False)
    assert answer(server) == 16
    assert workshop.made == ["fp16"]


def test_without_a_stand_in_a_failure_is_raised(server: EngineServer, workshop: Workshop) -> None:
    workshop.impossible["fp16"] = BackendError("no driver")
    with pytest.raises(BackendError, match="no driver"):
        server.open(workshop.request("fp16"), may_stand_in=False)


def test_what_cannot_run_here_is_told_once_and_another_serves(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    workshop.impossible["fp16"] = BackendError("no NVIDIA driver")
    server.open(workshop.request("fp16"))
    assert answer(server) == 32
    assert witness.failures == [("no NVIDIA driver", "fp32")]
    assert server.preparation is None


def test_a_mistake_in_the_model_is_raised(server: EngineServer, workshop: Workshop) -> None:
    workshop.impossible["int8"] = ModelError("no int8 variant")
    with pytest.raises(ModelError, match="no int8 variant"):
        server.open(workshop.request("int8"))


def test_an_engine_that_does_not_open_is_made_anew(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    workshop.broken_open["fp16"] = EngineFileError("the plan is cut off")
    server.open(workshop.request("fp16"))
    assert answer(server) in (16, 32)
    witness.wait_for(lambda: witness.changes == ["fp32", "fp16"])
    assert witness.failures == [("the plan is cut off", "fp32")]
    assert (workshop.discarded, workshop.made) == (["fp16"], ["fp16"])
    assert answer(server) == 16


def test_an_engine_that_finds_no_memory_is_not_made_anew(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    workshop.broken_open["fp16"] = BackendError("out of memory")
    server.open(workshop.request("fp16"))
    assert answer(server) == 32
    assert witness.failures == [("out of memory", "fp32")]
    assert (workshop.discarded, workshop.made) == ([], [])


def test_an_engine_that_drifts_is_not_made_anew(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    workshop.drifting["int8"] = ModelError("agreement 0.4")
    server.open(workshop.request("int8"))
    assert answer(server) == 32
    assert witness.failures == [("agreement 0.4", "fp32")]
    assert workshop.made == []


def test_where_nothing_opens_the_first_reason_is_raised(
    server: EngineServer, workshop: Workshop
) -> None:
    workshop.broken_open["fp16"] = BackendError("first")
    workshop.broken_open["fp32"] = BackendError("second")
    with pytest.raises(BackendError, match="first"):
        server.open(workshop.request("fp16"))


# --- switching -----------------------------------------------------------------------


def test_a_switch_loses_and_doubles_nothing(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    server.open(workshop.request("fp32"))
    answers: list[float] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            answers.append(answer(server))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for count, precision in enumerate(("int8", "fp16", "fp32") * 5, start=2):
            server.switch(workshop.request(precision))
            witness.wait_for(lambda count=count: len(witness.changes) == count)  # type: ignore[misc]
    finally:
        stop.set()
        worker.join(DEADLINE_S)
    assert set(answers) <= {8, 16, 32}
    assert answer(server) == 32
    assert workshop.open_backends() == ["fp32"]
    assert witness.failures == []


def test_a_switch_that_fails_leaves_the_old_one(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    server.open(workshop.request("fp32"))
    workshop.drifting["int8"] = ModelError("SQNR 3 dB")
    server.switch(workshop.request("int8"))
    witness.wait_for(lambda: bool(witness.failures))
    assert witness.failures == [("SQNR 3 dB", "fp32")]
    assert answer(server) == 32
    assert workshop.open_backends() == ["fp32"]


def test_a_crash_of_a_library_is_a_failure_like_any_other(
    server: EngineServer, workshop: Workshop, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.open(workshop.request("fp32"))

    def crash(*_: Any) -> None:
        raise RuntimeError("segment 7")

    monkeypatch.setattr(server_module, "select_backend", crash)
    server.switch(workshop.request("int8"))
    witness.wait_for(lambda: bool(witness.failures))
    assert witness.failures == [("RuntimeError: segment 7", "fp32")]


def test_the_latest_switch_wins(server: EngineServer, workshop: Workshop, witness: Witness) -> None:
    server.open(workshop.request("fp32"))
    workshop.missing.add("int8")
    workshop.may_finish.clear()
    server.switch(workshop.request("int8"))
    assert workshop.making.wait(DEADLINE_S)
    assert server.aim.precision == "int8"
    server.switch(workshop.request("fp16"))
    witness.wait_for(lambda: witness.changes == ["fp32", "fp16"])
    assert answer(server) == 16
    assert workshop.made == []
    assert witness.failures == []


def test_a_switch_can_be_given_up(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    server.open(workshop.request("fp32"))
    workshop.missing.add("int8")
    workshop.may_finish.clear()
    server.switch(workshop.request("int8"))
    assert workshop.making.wait(DEADLINE_S)
    server.keep()
    assert server.preparation is None
    workshop.may_finish.set()
    server.close()
    assert witness.changes == ["fp32"]


def test_closing_ends_a_preparation(server: EngineServer, workshop: Workshop) -> None:
    server.open(workshop.request("fp32"))
    workshop.missing.add("int8")
    workshop.may_finish.clear()
    server.switch(workshop.request("int8"))
    assert workshop.making.wait(DEADLINE_S)
    server.close()
    assert workshop.open_backends() == []


# --- failing in service --------------------------------------------------------------


def test_an_engine_that_fails_in_service_costs_no_frame(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    server.open(workshop.request("fp16"))
    server.switch(workshop.request("int8"))
    witness.wait_for(lambda: witness.changes == ["fp16", "int8"])
    workshop.broken_run["int8"] = BackendError("illegal memory access")
    assert answer(server) == 16
    assert witness.failures == [("illegal memory access", "fp16")]
    assert workshop.open_backends() == ["fp16"]


def test_where_the_one_before_is_gone_too_onnxruntime_serves(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    server.open(workshop.request("fp16"))
    workshop.broken_run["fp16"] = BackendError("illegal memory access")
    assert answer(server) == 32
    assert witness.failures == [("illegal memory access", "fp32")]


def test_where_nothing_else_is_left_the_error_passes_through(
    server: EngineServer, workshop: Workshop
) -> None:
    server.open(workshop.request("fp32"))
    workshop.broken_run["fp32"] = BackendError("out of memory")
    with pytest.raises(BackendError, match="out of memory"):
        answer(server)
    del workshop.broken_run["fp32"]
    assert answer(server) == 32
