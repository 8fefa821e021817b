"""Engines are wanted, finished, given up and closed at the same moment."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.preparation_thread import run_at_low_priority
from edge_inference.engines.serving.server import EngineServer
from edge_inference.errors import BackendError, EdgeInferenceError, ModelError
from engine_workshop import DEADLINE_S, Witness, Workshop, answer, until


def test_a_cancelled_engine_is_not_exchanged(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    server.open(workshop.request("fp32"))

    def work(engine: Engine) -> None:
        server.switch(workshop.request("int8"))
        until(lambda: server.preparation is None)
        assert server.target_request.precision == "int8"
        assert server.keep(engine)
        assert server.target_request.precision == "fp32"

    server.run(work)
    assert answer(server) == 32
    assert workshop.open_backends() == ["fp32"]
    assert witness.changes == ["fp32"]


def test_an_engine_out_of_service_cannot_be_kept(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    server.open(workshop.request("fp32"))
    old = server.engine
    assert old is not None
    server.switch(workshop.request("int8"))
    witness.wait_for(lambda: witness.changes == ["fp32", "int8"])
    assert not server.keep(old)


def test_a_failing_engine_is_exchanged_for_the_next(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    server.open(workshop.request("fp32"))

    def work(engine: Engine) -> str:
        if engine.precision == "fp32":
            server.switch(workshop.request("int8"))
            until(lambda: server.preparation is None)
            raise BackendError("illegal memory access")
        return engine.precision

    assert server.run(work) == "int8"
    assert workshop.open_backends() == ["int8"]
    assert witness.failures == [("illegal memory access", "int8")]


def test_closing_cancels_a_check(
    server: EngineServer, workshop: Workshop, witness: Witness
) -> None:
    server.open(workshop.request("fp32"))
    workshop.checks_until_cancelled.add("int8")
    server.switch(workshop.request("int8"))
    assert workshop.checking.wait(DEADLINE_S)
    server.close()
    assert workshop.open_backends() == []
    assert witness.failures == []


def test_closing_waits_for_a_callback(workshop: Workshop, witness: Witness, tmp_path: Path) -> None:
    told = []

    def failed(error: EdgeInferenceError, engine: Engine) -> None:
        closing.start()
        closing.join(0.2)
        told.append(closing.is_alive())

    server = EngineServer(ArtifactCache(tmp_path), workshop.check, witness.changed, failed)
    closing = threading.Thread(target=server.close)
    server.open(workshop.request("fp32"))
    workshop.drifting["int8"] = ModelError("SQNR 3 dB")
    server.switch(workshop.request("int8"))
    until(lambda: bool(told))
    closing.join(DEADLINE_S)
    assert told == [True]


def test_a_check_keeps_a_lower_priority_of_the_process() -> None:
    found: list[int] = []

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def work() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        run_at_low_priority(lambda: found.append(priority()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(DEADLINE_S)
    run_at_low_priority(lambda: found.append(priority()))
    assert found[0] == 15
    assert found[1] >= 10
