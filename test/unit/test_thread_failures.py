"""Threads outside of the nodes: exceptions in them are reported, and the work continues."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.cli.perception.overlay_files import OverlayFiles
from edge_inference.core.images.frame import Frame
from edge_inference.core.reading import ReadingStatus
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving import preparation
from edge_inference.engines.serving import service_costs as service_costs_module
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.server import EngineServer
from edge_inference.engines.serving.service_costs import RUNS, ServiceCosts
from edge_inference.engines.serving.service_states import Asker
from edge_inference.platforms.actuators.actuator import ActuatorResult
from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.recording.capture import _Worker as Reader
from edge_inference.platforms.recording.recording import UnreadableFile
from engine_server_fakes import CallbackRecorder, FakeEngines, answer
from test_sampler import Bench

DEADLINE_S = 60.0
FAILURES = [RuntimeError("injected"), SystemExit("injected")]
failing = pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)


def raising(failure: BaseException) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        raise failure

    return call


# Engines ----------------------------------------------------------------------------------------


@failing
def test_a_preparation_that_breaks_is_given_up(
    server: EngineServer, engines: FakeEngines, recorder: CallbackRecorder, failure: BaseException
) -> None:
    server.open(engines.request("fp32"))
    engines.broken_open["int8"] = failure  # type: ignore[assignment]
    server.ask(engines.request("int8"), Asker.USER)
    recorder.wait_for(lambda: bool(recorder.failures))
    ((error, served),) = recorder.failures
    assert error.endswith(f"{type(failure).__name__}: injected")
    assert served == "fp32"
    assert server.preparation is None and answer(server) == 32
    del engines.broken_open["int8"]
    server.ask(engines.request("int8"), Asker.USER)
    recorder.wait_for(lambda: "int8" in recorder.changes)
    assert answer(server) == 8


@failing
def test_costs_that_cannot_be_written_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    monkeypatch.setattr(service_costs_module, "configuration_of", raising(failure))
    monkeypatch.setattr(service_costs_module, "is_timed_by_cpu", lambda selection: False)
    reported: list[str] = []
    costs = ServiceCosts(ArtifactCache(tmp_path), reported.append)
    engine = Engine(None, None, None)  # type: ignore[arg-type]
    for _ in range(RUNS):
        costs.add(engine, 1, 0.05, 0.02)
    costs.save_if_due(0, is_free=True)
    costs.close()
    assert reported == [f"the measured costs are not saved: {type(failure).__name__}: injected"]


@failing
def test_a_failing_progress_callback_does_not_block_the_child(failure: BaseException) -> None:
    connection = object.__new__(preparation._ChildConnection)
    connection._progress = raising(failure)
    connection._outcome, connection._stderr_lines = preparation._Outcome(), []
    said = '{"phase": "building", "fraction": 0.5}\n{"phase": "odd"}\n{"done": {"notes": 1}}\n'
    connection._read_progress(io.StringIO(said))
    assert connection._outcome.done == {"notes": 1}
    assert connection._stderr_lines == [
        f"{type(failure).__name__}: injected",
        "KeyError: 'fraction'",
    ]


# Sensors and actuators --------------------------------------------------------------------------


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.release_all()
    made.sampler.close()


@failing
def test_sensor_is_read_again_after_an_exception(bench: Bench, failure: BaseException) -> None:
    bench.read()
    bench.sensors[0].error = failure  # type: ignore[assignment]
    found = bench.read()
    assert found["a"].status is ReadingStatus.INVALID and "injected" in found["a"].problem
    assert found["b"].status is ReadingStatus.OK
    bench.sensors[0].error = None
    assert bench.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    assert bench.threads() == 1


@failing
@pytest.mark.parametrize("where", ["find", "name"])
def test_probe_is_repeated_after_an_exception(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, failure: BaseException, where: str
) -> None:
    class Nameless:
        @property
        def name(self) -> str:
            raise failure

    assert bench.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    with monkeypatch.context() as patch:
        if where == "find":
            patch.setattr(bench, "probe_error", failure)
        else:
            patch.setattr(bench, "sensors", [*bench.sensors, Nameless()])
        bench.clock.forward(61.0)
        # The sensors that were found before stay in use.
        assert bench.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
        assert "injected" in bench.sampler.problem
    bench.clock.forward(61.0)
    assert bench.statuses() == dict.fromkeys("abc", ReadingStatus.OK)
    assert bench.sampler.problem == "" and bench.threads() == 1


@failing
def test_actuator_exception_is_reported_and_the_next_request_is_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    file = tmp_path / "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
    file.parent.mkdir(parents=True)
    file.write_text("schedutil\n")
    actuators = Actuators(["cpu_governor"], machine=Machine(tmp_path), dry_run=True)
    with monkeypatch.context() as patch:
        patch.setattr(actuators, "_dry_run_outcome", raising(failure))
        actuators.request("cpu_governor", "performance")
        assert actuators.wait_until_idle(DEADLINE_S)
    (outcome,) = actuators.take_outcomes()
    assert outcome.result is ActuatorResult.FAILED and "injected" in outcome.message
    actuators.request("cpu_governor", "performance")
    assert actuators.wait_until_idle(DEADLINE_S)
    assert "cpu_governor" in {each.actuator for each in actuators.outcomes()}
    assert actuators.close(DEADLINE_S)


@failing
def test_a_file_whose_reading_breaks_is_unreadable_and_the_next_is_read(
    failure: BaseException,
) -> None:
    class Tree:
        def read(self, path: str) -> bytes:
            if path == "odd":
                raise failure
            return b"fine"

    reader = Reader(Tree())  # type: ignore[arg-type]
    assert isinstance(reader.read("odd", DEADLINE_S), UnreadableFile)
    assert reader.read("even", DEADLINE_S) == b"fine"
    reader.end()


# Commands ---------------------------------------------------------------------------------------


@failing
def test_a_failing_overlay_writer_does_not_block(tmp_path: Path, failure: BaseException) -> None:
    reported: list[str] = []
    files = OverlayFiles(tmp_path, raising(failure), reported.append)
    frame = Frame.from_array(np.zeros((2, 2, 3), np.uint8), "bgr8", 1, "camera", "")
    receiving = threading.Thread(target=lambda: [files.receive(frame) for _ in range(20)])
    receiving.start()
    receiving.join(DEADLINE_S)
    assert not receiving.is_alive()
    files.finish()
    assert reported == [f"an overlay is not written: {type(failure).__name__}: injected"]
    assert (files.written, files.failed) == (0, 20)
