"""Tests of every backend. For a new backend add a row to MAKERS.

Each row makes a closed backend of one small model: inputs ``data``
``[any, 3, 4]`` and ``more`` ``[1]``; outputs ``doubled`` (twice ``data``) and
``total`` (``data`` plus ``more``); all float32.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from edge_inference.backends.base import Backend, TensorSpec
from edge_inference.backends.null import NullBackend
from edge_inference.backends.ort import OrtBackend
from edge_inference.errors import BackendError, TensorError

F32 = np.dtype(np.float32)
INPUTS = (TensorSpec("data", F32, (None, 3, 4)), TensorSpec("more", F32, (1,)))
OUTPUTS = (TensorSpec("doubled", F32, (None, 3, 4)), TensorSpec("total", F32, (None, 3, 4)))

DEADLINE_S = 60.0


def _double(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"doubled": inputs["data"] * 2, "total": inputs["data"] + inputs["more"]}


MAKERS: dict[str, Callable[[Path], Backend]] = {
    "null": lambda onnx_file: NullBackend(INPUTS, OUTPUTS, _double),
    "ort": lambda onnx_file: OrtBackend(onnx_file),
    "ort, 2 threads": lambda onnx_file: OrtBackend(onnx_file, threads=2),
}


@pytest.fixture(params=list(MAKERS))
def closed(request: pytest.FixtureRequest, doubling_onnx: Path) -> Backend:
    return MAKERS[request.param](doubling_onnx)


@pytest.fixture
def opened(closed: Backend) -> Backend:
    return closed.open()


def feed(seed: int = 0, batch: int = 1) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(seed)
    return {
        "data": numbers.standard_normal((batch, 3, 4), np.float32),
        "more": numbers.standard_normal(1, np.float32),
    }


def assert_right(outputs: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]) -> None:
    wanted = _double(inputs)
    assert set(outputs) == set(wanted)
    for name, tensor in wanted.items():
        assert outputs[name].dtype == np.float32
        np.testing.assert_allclose(outputs[name], tensor, rtol=1e-6)


# --- open, infer, close ------------------------------------------------------------


def test_open_sets_the_tensor_specs(opened: Backend) -> None:
    assert opened.inputs == INPUTS
    assert opened.outputs == OUTPUTS


@pytest.mark.parametrize("batch", [1, 3])
def test_infer_returns_the_models_outputs(opened: Backend, batch: int) -> None:
    inputs = feed(batch=batch)
    assert_right(opened.infer(inputs), inputs)


def test_an_array_need_not_be_contiguous(opened: Backend) -> None:
    inputs = {**feed(), "data": np.arange(24, dtype=np.float32).reshape(4, 3, 2).T[::2]}
    assert not inputs["data"].flags.c_contiguous
    assert_right(opened.infer(inputs), inputs)


def test_an_input_may_be_read_only_and_is_unchanged(opened: Backend) -> None:
    inputs = feed()
    before = {name: tensor.copy() for name, tensor in inputs.items()}
    for tensor in inputs.values():
        tensor.flags.writeable = False
    opened.infer(inputs)
    for name, tensor in before.items():
        np.testing.assert_array_equal(inputs[name], tensor)


def test_infer_needs_an_open_backend(closed: Backend) -> None:
    with pytest.raises(BackendError, match="not open"):
        closed.infer(feed())


def test_a_closed_backend_does_not_infer(opened: Backend) -> None:
    opened.close()
    with pytest.raises(BackendError, match="not open"):
        opened.infer(feed())


def test_opening_twice_is_an_error(opened: Backend) -> None:
    with pytest.raises(BackendError, match="open already"):
        opened.open()
    inputs = feed()
    assert_right(opened.infer(inputs), inputs)


def test_closing_twice_does_nothing(opened: Backend) -> None:
    opened.close()
    opened.close()


def test_closing_before_opening_does_nothing(closed: Backend) -> None:
    closed.close()


def test_a_closed_backend_opens_again(opened: Backend) -> None:
    opened.close()
    opened.open()
    inputs = feed()
    assert_right(opened.infer(inputs), inputs)


def test_it_is_a_context_manager(closed: Backend) -> None:
    with closed as backend:
        inputs = feed()
        assert_right(backend.infer(inputs), inputs)
    with pytest.raises(BackendError, match="not open"):
        closed.infer(feed())


def test_describe_works_open_or_closed(closed: Backend) -> None:
    assert closed.describe()
    assert closed.open().describe()


# --- bad tensors ---------------------------------------------------------------------

GOOD = feed()
BAD = {
    "nothing": ({}, "'data' is missing"),
    "wrong name": ({"Data": GOOD["data"], "more": GOOD["more"]}, "'data' is missing"),
    "too few": ({"data": GOOD["data"]}, "'more' is missing"),
    "extra": ({**GOOD, "extra": GOOD["more"]}, "'extra' is unknown"),
    "rank": ({**GOOD, "data": GOOD["data"][0]}, "got float32 [3, 4]"),
    "length": ({**GOOD, "data": GOOD["data"][:, :2]}, "got float32 [1, 2, 4]"),
    "dtype": ({**GOOD, "data": GOOD["data"].astype(np.float64)}, "got float64 [1, 3, 4]"),
    "byte order": ({**GOOD, "data": GOOD["data"].astype(">f4")}, "got >f4"),
    "no array": ({**GOOD, "data": GOOD["data"].tolist()}, "got a list"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_the_call_after_a_bad_tensor_works(opened: Backend, case: str) -> None:
    inputs, message = BAD[case]
    with pytest.raises(TensorError) as caught:
        opened.infer(inputs)
    assert message in str(caught.value)
    assert_right(opened.infer(GOOD), GOOD)


def test_the_message_says_the_expected_tensor(opened: Backend) -> None:
    with pytest.raises(TensorError, match=r"expected data: float32 \[any, 3, 4\]"):
        opened.infer({**GOOD, "data": GOOD["data"][0]})


# --- whose memory --------------------------------------------------------------------


def test_outputs_belong_to_the_caller(opened: Backend) -> None:
    first_inputs = feed(1)
    first = opened.infer(first_inputs)
    second = opened.infer(feed(2))
    assert_right(first, first_inputs)
    for name, tensor in first.items():
        assert not np.shares_memory(tensor, second[name])
        tensor[...] = 0  # writeable
    assert np.any(second["doubled"])


def test_outputs_do_not_change_with_the_inputs(opened: Backend) -> None:
    inputs = feed(1)
    outputs = opened.infer(inputs)
    wanted = {name: tensor.copy() for name, tensor in outputs.items()}
    for tensor in inputs.values():
        tensor[...] = -1
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(outputs[name], tensor)


def test_outputs_outlive_the_backend(opened: Backend) -> None:
    inputs = feed(1)
    outputs = opened.infer(inputs)
    opened.close()
    del opened
    assert_right(outputs, inputs)


# --- threads -------------------------------------------------------------------------


def test_threads_get_their_own_results(opened: Backend) -> None:
    wrong: list[str] = []
    start = threading.Barrier(4)

    def work(worker: int) -> None:
        start.wait(DEADLINE_S)
        for turn in range(20):
            inputs = feed(100 * worker + turn)
            try:
                assert_right(opened.infer(inputs), inputs)
            except Exception as error:  # a thread's error must reach the test
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
