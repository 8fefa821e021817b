"""Engines are built, exchanged and rolled back during inference."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest

from edge_inference.core.models.model_search import find_model
from edge_inference.engines.serving import engine_opener
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.server import EngineServer
from edge_inference.engines.serving.service_states import Asker
from edge_inference.errors import BackendError, EngineFileError, ModelError
from engine_server_fakes import DEADLINE_S, CallbackRecorder, FakeEngines, answer

# --- opening -------------------------------------------------------------------------


def test_an_existing_engine_is_opened(server: EngineServer, engines: FakeEngines) -> None:
    server.open(engines.request("int8"))
    assert server.engine is not None
    assert (server.engine.precision, server.engine.is_fallback) == ("int8", False)
    assert server.engine.facts()["self-check"] == "fine"
    assert answer(server) == 8


def test_a_missing_engine_is_built_while_a_fallback_serves(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    engines.missing.add("fp16")
    engines.may_finish.clear()
    server.open(engines.request("fp16"))
    assert answer(server) == 32
    assert server.engine is not None and server.engine.is_fallback
    assert engines.making.wait(DEADLINE_S)
    preparation = server.preparation
    assert preparation is not None
    assert (preparation.phase, preparation.fraction) == ("building", 0.5)
    assert "fp16 for the user: building 50%" in preparation.describe()
    engines.may_finish.set()
    recorder.wait_for(lambda: recorder.changes == ["fp32", "fp16"])
    assert answer(server) == 16
    assert engines.open_backends() == ["fp16"]
    assert server.preparation is None
    assert recorder.failures == []


def test_without_a_fallback_it_waits(server: EngineServer, engines: FakeEngines) -> None:
    engines.missing.add("fp16")
    server.open(engines.request("fp16"), allow_fallback=False)
    assert answer(server) == 16
    assert engines.made == ["fp16"]


def test_without_a_fallback_a_failure_is_raised(server: EngineServer, engines: FakeEngines) -> None:
    engines.impossible["fp16"] = BackendError("no driver")
    with pytest.raises(BackendError, match="no driver"):
        server.open(engines.request("fp16"), allow_fallback=False)


def test_a_backend_that_cannot_run_is_reported_once_and_a_fallback_serves(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    engines.impossible["fp16"] = BackendError("no NVIDIA driver")
    server.open(engines.request("fp16"))
    assert answer(server) == 32
    assert recorder.failures == [("no NVIDIA driver", "fp32")]
    assert server.preparation is None


def test_an_error_of_the_model_is_raised(server: EngineServer, engines: FakeEngines) -> None:
    engines.impossible["int8"] = ModelError("no int8 variant")
    with pytest.raises(ModelError, match="no int8 variant"):
        server.open(engines.request("int8"))


def test_an_engine_that_does_not_open_is_rebuilt(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    engines.broken_open["fp16"] = EngineFileError("the plan is cut off")
    server.open(engines.request("fp16"))
    assert answer(server) in (16, 32)
    recorder.wait_for(lambda: recorder.changes == ["fp32", "fp16"])
    assert recorder.failures == [("the plan is cut off", "fp32")]
    assert (engines.discarded, engines.made) == (["fp16"], ["fp16"])
    assert answer(server) == 16


def test_a_file_of_the_model_folder_is_not_rebuilt(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    engines.shipped.add("int8")
    server.open(engines.request("fp32"))
    engines.broken_open["int8"] = EngineFileError("the file is cut off")
    server.ask(engines.request("int8"), Asker.USER)
    recorder.wait_for(lambda: bool(recorder.failures))
    assert recorder.failures == [("the file is cut off", "fp32")]
    assert engines.made == []


def test_an_engine_without_memory_is_not_rebuilt(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    engines.broken_open["fp16"] = BackendError("out of memory")
    server.open(engines.request("fp16"))
    assert answer(server) == 32
    assert recorder.failures == [("out of memory", "fp32")]
    assert (engines.discarded, engines.made) == ([], [])


def test_an_engine_that_drifts_is_not_rebuilt(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    engines.drifting["int8"] = ModelError("agreement 0.4")
    server.open(engines.request("int8"))
    assert answer(server) == 32
    assert recorder.failures == [("agreement 0.4", "fp32")]
    assert engines.made == []


def test_without_any_engine_the_first_error_is_raised(
    server: EngineServer, engines: FakeEngines
) -> None:
    engines.broken_open["fp16"] = BackendError("first")
    engines.broken_open["fp32"] = BackendError("second")
    with pytest.raises(BackendError, match="first"):
        server.open(engines.request("fp16"))


# --- switching -----------------------------------------------------------------------


def test_a_switch_loses_and_repeats_no_work(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp32"))
    answers: list[float] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            answers.append(answer(server))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for count, precision in enumerate(("int8", "fp16", "fp32") * 5, start=2):
            server.ask(engines.request(precision), Asker.USER)
            recorder.wait_for(lambda count=count: len(recorder.changes) == count)  # type: ignore[misc]
    finally:
        stop.set()
        worker.join(DEADLINE_S)
    assert set(answers) <= {8, 16, 32}
    assert answer(server) == 32
    assert engines.open_backends() == ["fp32"]
    assert recorder.failures == []


def test_a_failed_switch_keeps_the_old_engine(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp32"))
    engines.drifting["int8"] = ModelError("SQNR 3 dB")
    server.ask(engines.request("int8"), Asker.USER)
    recorder.wait_for(lambda: bool(recorder.failures))
    assert recorder.failures == [("SQNR 3 dB", "fp32")]
    assert answer(server) == 32
    assert engines.open_backends() == ["fp32"]


def test_a_crash_of_a_library_is_a_failure(
    server: EngineServer,
    engines: FakeEngines,
    recorder: CallbackRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.open(engines.request("fp32"))

    def crash(*_: Any) -> None:
        raise RuntimeError("segment 7")

    monkeypatch.setattr(engine_opener, "select_backend", crash)
    server.ask(engines.request("int8"), Asker.USER)
    recorder.wait_for(lambda: bool(recorder.failures))
    assert recorder.failures == [("RuntimeError: segment 7", "fp32")]


def test_the_latest_switch_wins(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp32"))
    engines.missing.add("int8")
    engines.may_finish.clear()
    server.ask(engines.request("int8"), Asker.USER)
    assert engines.making.wait(DEADLINE_S)
    assert server.preparation is not None
    assert server.preparation.request.precision == "int8"
    server.ask(engines.request("fp16"), Asker.USER)
    recorder.wait_for(lambda: recorder.changes == ["fp32", "fp16"])
    assert answer(server) == 16
    assert engines.made == []
    assert recorder.failures == []


def test_a_switch_can_be_cancelled(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp32"))
    engines.missing.add("int8")
    engines.may_finish.clear()
    server.ask(engines.request("int8"), Asker.USER)
    assert engines.making.wait(DEADLINE_S)
    assert server.ask(engines.request("fp32"), Asker.DIRECTIVE)
    assert server.preparation is None
    engines.may_finish.set()
    server.close()
    assert recorder.changes == ["fp32"]


def test_closing_cancels_a_preparation(server: EngineServer, engines: FakeEngines) -> None:
    server.open(engines.request("fp32"))
    engines.missing.add("int8")
    engines.may_finish.clear()
    server.ask(engines.request("int8"), Asker.USER)
    assert engines.making.wait(DEADLINE_S)
    server.close()
    assert engines.open_backends() == []


# --- failing in service --------------------------------------------------------------


def test_an_engine_that_fails_in_service_costs_no_frame(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp16"))
    server.ask(engines.request("int8"), Asker.USER)
    recorder.wait_for(lambda: recorder.changes == ["fp16", "int8"])
    engines.broken_run["int8"] = BackendError("illegal memory access")
    assert answer(server) == 16
    assert recorder.failures == [("illegal memory access", "fp16")]
    assert engines.open_backends() == ["fp16"]


def test_without_the_previous_engine_onnxruntime_serves(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp16"))
    engines.broken_run["fp16"] = BackendError("illegal memory access")
    assert answer(server) == 32
    assert recorder.failures == [("illegal memory access", "fp32")]


def test_without_another_engine_the_error_passes_through(
    server: EngineServer, engines: FakeEngines
) -> None:
    server.open(engines.request("fp32"))
    engines.broken_run["fp32"] = BackendError("out of memory")
    with pytest.raises(BackendError, match="out of memory"):
        answer(server)
    del engines.broken_run["fp32"]
    assert answer(server) == 32


def test_the_previous_engine_serves_after_its_model_was_read_again(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp16"))
    engines.model = find_model(engines.model.name)
    server.ask(engines.request("int8"), Asker.USER)
    recorder.wait_for(lambda: recorder.changes == ["fp16", "int8"])
    engines.broken_run["int8"] = BackendError("illegal memory access")
    assert answer(server) == 16
    assert server.engine is not None and not server.engine.is_fallback


def test_the_previous_engine_may_differ_in_settings_only(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    with_graph = engines.request("fp16")
    server.open(dataclasses.replace(with_graph, cuda_graph=False))
    server.ask(with_graph, Asker.USER)
    recorder.wait_for(lambda: len(recorder.changes) == 2)

    def work(engine: Engine) -> bool:
        if engine.request.cuda_graph:
            raise BackendError("the graph does not launch")
        return engine.request.cuda_graph

    assert server.run(work) is False
    assert recorder.failures == [("the graph does not launch", "fp16")]


def test_onnxruntime_after_a_failure_is_a_fallback(
    server: EngineServer, engines: FakeEngines
) -> None:
    server.open(engines.request("fp16"))
    engines.broken_run["fp16"] = BackendError("illegal memory access")
    assert answer(server) == 32
    assert server.engine is not None and server.engine.is_fallback


def test_the_previous_engine_of_another_model_does_not_take_over(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder
) -> None:
    server.open(engines.request("fp16"))
    engines.model = find_model("nanodet")
    server.ask(engines.request("int8"), Asker.USER)
    recorder.wait_for(lambda: recorder.changes == ["fp16", "int8"])
    engines.broken_run["int8"] = BackendError("illegal memory access")
    assert answer(server) == 32
    assert server.engine is not None and server.engine.request.model.name == "nanodet"
