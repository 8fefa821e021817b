"""For how long the GPU worked in a run: between two events, without it unknown."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorrt_double
from double_control import NOT_SUPPORTED, Double
from edge_inference.backends.trt.backend import TrtBackend
from trt_on_double import make_backend

WORK_S = 0.02
FEED = {"data": np.ones((1, 3, 4), np.float32), "more": np.ones(1, np.float32)}


@pytest.fixture
def work_s(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Let the GPU work for a time in each run."""
    taken = {"least": WORK_S}
    compute = tensorrt_double.IExecutionContext._computed

    def computed(context: Any, *arguments: Any) -> Any:
        end = time.monotonic() + taken["least"]
        while time.monotonic() < end:
            pass
        return compute(context, *arguments)

    monkeypatch.setattr(tensorrt_double.IExecutionContext, "_computed", computed)
    return taken


@pytest.fixture
def backend(doubling_onnx: Path, double: Double) -> Iterator[TrtBackend]:
    opened = make_backend(doubling_onnx, contexts=2)
    yield opened.open()
    opened.close()
    assert not any(double.live().values()), double.live()


def run_ms(backend: TrtBackend) -> float:
    """Run once, and return the milliseconds of the whole call."""
    started = time.monotonic()
    outputs = backend.infer(FEED)
    np.testing.assert_array_equal(outputs["doubled"], FEED["data"] * 2)
    return (time.monotonic() - started) * 1e3


def test_the_time_is_that_of_the_work_on_the_gpu(
    backend: TrtBackend, work_s: dict[str, float], double: Double
) -> None:
    assert backend.device_ms is None
    for _ in range(4):  # plain, recorded, and launched as a graph
        whole_ms = run_ms(backend)
        assert backend.device_ms is not None
        assert WORK_S * 1e3 <= backend.device_ms <= whole_ms
    assert double.count("cuGraphLaunch") == 3
    assert double.count("cuEventRecord") == 2 * 4


def test_each_thread_has_the_time_of_its_own_run(
    backend: TrtBackend, work_s: dict[str, float]
) -> None:
    run_ms(backend)
    own = backend.device_ms
    others: list[float | None] = [backend.device_ms]

    def run() -> None:
        others.append(backend.device_ms)
        work_s["least"] = 2 * WORK_S
        run_ms(backend)
        others.append(backend.device_ms)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert others[1] is None
    assert others[2] is not None
    assert others[2] >= 2 * WORK_S * 1e3
    assert backend.device_ms == own


@pytest.mark.parametrize("call", ["cuEventRecord", "cuEventElapsedTime"])
@pytest.mark.parametrize("runs_before", [0, 1])
def test_an_event_that_fails_makes_the_time_unknown_and_the_run_goes_on(
    backend: TrtBackend, double: Double, call: str, runs_before: int
) -> None:
    for _ in range(runs_before):
        run_ms(backend)
    # Both workers of the backend have their own events.
    double.fail(call, NOT_SUPPORTED, times=2)
    for _ in range(3):
        run_ms(backend)
    assert backend.device_ms is None
    assert "CUDA graph on" in backend.describe()


@pytest.mark.parametrize("skip", [0, 1])
def test_without_events_the_time_is_unknown(doubling_onnx: Path, double: Double, skip: int) -> None:
    double.fail("cuEventCreate", NOT_SUPPORTED, skip=skip)
    with make_backend(doubling_onnx) as backend:
        run_ms(backend)
        assert backend.device_ms is None
    assert not any(double.live().values()), double.live()
