"""Engines are requested, finished, cancelled and closed at the same time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.preparation_thread import run_at_low_priority
from edge_inference.engines.serving.server import EngineFailure, EngineServer
from edge_inference.engines.serving.service_states import Asker, RequestState
from edge_inference.errors import BackendError, ModelError
from engine_server_fakes import DEADLINE_S, CallbackRecorder, FakeEngines, answer, until


def test_a_cancelled_engine_is_not_exchanged(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp32"))

    def work(engine: Engine) -> None:
        server.ask(engines.request("int8"), Asker.USER)
        until(lambda: server.preparation is None)
        assert server.state.request is RequestState.READY
        assert server.ask(engines.request("fp32"), Asker.DIRECTIVE)
        assert server.state.request is RequestState.NONE

    server.run(work)
    assert answer(server) == 32
    assert engines.open_backends() == ["fp32"]
    assert recorder.changes == ["fp32"]


def test_a_failing_engine_is_exchanged_for_the_next(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp32"))

    def work(engine: Engine) -> str:
        if engine.precision == "fp32":
            server.ask(engines.request("int8"), Asker.USER)
            until(lambda: server.preparation is None)
            raise BackendError("illegal memory access")
        return engine.precision

    assert server.run(work) == "int8"
    assert engines.open_backends() == ["int8"]
    assert recorder.failures == [("illegal memory access", "int8")]


def test_closing_cancels_a_check(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp32"))
    engines.checks_until_cancelled.add("int8")
    server.ask(engines.request("int8"), Asker.USER)
    assert engines.checking.wait(DEADLINE_S)
    server.close()
    assert engines.open_backends() == []
    assert recorder.failures == []


def test_closing_waits_for_a_callback(
    engines: FakeEngines, recorder: CallbackRecorder, tmp_path: Path
) -> None:
    calls = []

    def failed(failure: EngineFailure) -> None:
        closing.start()
        closing.join(0.2)
        calls.append(closing.is_alive())

    server = EngineServer(ArtifactCache(tmp_path), engines.check, recorder.changed, failed)
    closing = threading.Thread(target=server.close)
    server.open(engines.request("fp32"))
    engines.drifting["int8"] = ModelError("SQNR 3 dB")
    server.ask(engines.request("int8"), Asker.USER)
    until(lambda: bool(calls))
    closing.join(DEADLINE_S)
    assert calls == [True]


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
