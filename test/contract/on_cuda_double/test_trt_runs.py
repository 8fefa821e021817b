"""Running a plan: shapes, types, data-dependent outputs, host tensors, threads, graphs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import tensorrt_double
from double_control import INVALID_CONTEXT, NOT_SUPPORTED, OUT_OF_MEMORY, Double
from edge_inference.backends.base import TensorSpec
from edge_inference.backends.trt.backend import TrtBackend
from edge_inference.errors import BackendError, TensorError
from trt_on_double import make_backend

info = helper.make_tensor_value_info
F32 = TensorProto.FLOAT
DEADLINE_S = 60.0

Make = Callable[..., TrtBackend]


@pytest.fixture
def make(double: Double) -> Iterator[Make]:
    """Return a function that opens backends, and check that they free everything."""
    opened: list[TrtBackend] = []

    def open_one(*arguments: Any, **settings: Any) -> TrtBackend:
        opened.append(make_backend(*arguments, **settings))
        opened[-1].open()
        return opened[-1]

    yield open_one
    for backend in opened:
        backend.close()
    assert not any(double.live().values()), double.live()
    assert not any(tensorrt_double.alive.values())


def feed(batch: int = 1, value: float = 1.0) -> dict[str, np.ndarray]:
    return {
        "data": np.full((batch, 3, 4), value, np.float32),
        "more": np.full(1, value, np.float32),
    }


def assert_right(backend: TrtBackend, inputs: dict[str, np.ndarray]) -> None:
    outputs = backend.infer(inputs)
    np.testing.assert_array_equal(outputs["doubled"], inputs["data"] * 2)
    np.testing.assert_array_equal(outputs["total"], inputs["data"] + inputs["more"])


# --- shapes ------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [0, 5])
def test_a_shape_outside_the_profile(make: Make, doubling_onnx: Path, batch: int) -> None:
    backend = make(doubling_onnx)
    with pytest.raises(TensorError) as caught:
        backend.infer(feed(batch))
    assert f"'data': expected a length of 1 to 4 on axis 0, got {batch}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert_right(backend, feed())


def test_shapes_that_do_not_fit_together(make: Make, make_onnx: Any) -> None:
    file = make_onnx(
        [helper.make_node("Add", ["a", "b"], ["c"])],
        [info("a", F32, ["n"]), info("b", F32, ["m"])],
        [info("c", F32, ["k"])],
    )
    backend = make(file)
    two, three = np.ones(2, np.float32), np.ones(3, np.float32)
    with pytest.raises(TensorError, match=r"do not fit together \(a \[2\]; b \[3\]\): shapes"):
        backend.infer({"a": two, "b": three})
    np.testing.assert_array_equal(backend.infer({"a": two, "b": two})["c"], [2, 2])


def test_a_tensor_without_elements(make: Make, doubling_onnx: Path) -> None:
    profiles = {"data": [[0, 3, 4], [1, 3, 4], [4, 3, 4]]}
    backend = make(doubling_onnx, header={"profiles": profiles})
    for _ in range(3):
        assert backend.infer(feed(0))["doubled"].shape == (0, 3, 4)
    assert_right(backend, feed(2))


def test_a_scalar(make: Make, make_onnx: Any) -> None:
    file = make_onnx(
        [helper.make_node("Add", ["a", "a"], ["b"])], [info("a", F32, [])], [info("b", F32, [])]
    )
    assert make(file).infer({"a": np.array(2, np.float32)})["b"] == 4


# --- types -------------------------------------------------------------------------------


def identity(make_onnx: Any, onnx_type: int) -> Path:
    return make_onnx(
        [helper.make_node("Identity", ["a"], ["b"])],
        [info("a", onnx_type, ["n", 2])],
        [info("b", onnx_type, ["n", 2])],
    )


@pytest.mark.parametrize(
    ("onnx_type", "dtype", "engine"),
    [
        (TensorProto.FLOAT, np.float32, "FLOAT"),
        (TensorProto.FLOAT, np.float32, "HALF"),
        (TensorProto.FLOAT, np.float32, "BF16"),
        (TensorProto.FLOAT16, np.float16, "HALF"),
        (TensorProto.INT64, np.int64, "INT64"),
        (TensorProto.INT64, np.int64, "INT32"),
        (TensorProto.INT32, np.int32, "INT32"),
        (TensorProto.INT8, np.int8, "INT8"),
        (TensorProto.UINT8, np.uint8, "UINT8"),
        (TensorProto.BOOL, np.bool_, "BOOL"),
    ],
)
def test_callers_see_the_onnx_types(
    make: Make, make_onnx: Any, onnx_type: int, dtype: type, engine: str
) -> None:
    backend = make(identity(make_onnx, onnx_type), header={"types": {"a": engine, "b": engine}})
    assert backend.inputs == (TensorSpec("a", np.dtype(dtype), (None, 2)),)
    assert backend.outputs == (TensorSpec("b", np.dtype(dtype), (None, 2)),)
    tensor = np.array([[0, 1], [3, 7]], dtype)
    output = backend.infer({"a": tensor})["b"]
    assert output.dtype == dtype
    np.testing.assert_array_equal(output, tensor)


def test_half_precision_rounds_and_overflows_as_numpy(make: Make, make_onnx: Any) -> None:
    backend = make(
        identity(make_onnx, TensorProto.FLOAT), header={"types": {"a": "HALF", "b": "HALF"}}
    )
    tensor = np.array([[1 / 3, 1e6]], np.float32)
    with np.errstate(over="ignore"):
        wanted = tensor.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(backend.infer({"a": tensor})["b"], wanted)


def test_bfloat16_rounds_to_even_and_keeps_nan(make: Make, make_onnx: Any) -> None:
    backend = make(
        identity(make_onnx, TensorProto.FLOAT), header={"types": {"a": "BF16", "b": "BF16"}}
    )
    # One bfloat16 step above 1 is 1/128; halfway rounds to even.
    tensor = np.array([[1 + 1 / 256, 1 + 3 / 256], [np.nan, -np.inf]], np.float32)
    wanted = np.array([[1, 1 + 4 / 256], [np.nan, -np.inf]], np.float32)
    np.testing.assert_array_equal(backend.infer({"a": tensor})["b"], wanted)


def test_a_value_outside_the_plans_type(make: Make, make_onnx: Any) -> None:
    backend = make(
        identity(make_onnx, TensorProto.INT64), header={"types": {"a": "INT32", "b": "INT32"}}
    )
    with pytest.raises(
        TensorError, match=r"'a': expected values .* uses int32, got 0 to 4294967296"
    ):
        backend.infer({"a": np.array([[0, 1 << 32]], np.int64)})
    assert backend.infer({"a": np.array([[0, -5]], np.int64)})["b"][0, 1] == -5


# --- outputs whose shape depends on the data ---------------------------------------------


@pytest.fixture
def nonzero_onnx(make_onnx: Any) -> Path:
    return make_onnx(
        [helper.make_node("NonZero", ["a"], ["b"]), helper.make_node("Neg", ["a"], ["c"])],
        [info("a", F32, ["n"])],
        [info("b", TensorProto.INT64, [1, "k"]), info("c", F32, ["n"])],
    )


LATE = {"late": {"b": [1, -1]}, "profiles": {"a": [[1], [4], [4000]]}, "types": {"b": "INT32"}}


def test_data_dependent_outputs(make: Make, nonzero_onnx: Path, double: Double) -> None:
    backend = make(nonzero_onnx, header=LATE)
    for size in (3, 4000, 3, 3, 0 + 1):
        tensor = np.arange(size, dtype=np.float32)
        outputs = backend.infer({"a": tensor})
        assert outputs["b"].dtype == np.int64
        np.testing.assert_array_equal(outputs["b"], [np.arange(1, size)])
        np.testing.assert_array_equal(outputs["c"], -tensor)
    assert double.count("cuStreamBeginCapture_v2") == 0
    assert "graph off (an output whose shape depends on the data)" in backend.describe()


def test_no_memory_for_a_data_dependent_output(
    make: Make, nonzero_onnx: Path, double: Double
) -> None:
    backend = make(nonzero_onnx, header=LATE)
    tensor = np.ones(1000, np.float32)
    backend.infer({"a": np.zeros(1000, np.float32)})
    double.fail("cuMemAlloc_v2", OUT_OF_MEMORY, times=2)
    with pytest.raises(BackendError, match="cannot allocate"):
        backend.infer({"a": tensor})
    assert backend.infer({"a": tensor})["b"].shape == (1, 1000)


# --- tensors in host memory --------------------------------------------------------------


@pytest.fixture
def reshape_onnx(make_onnx: Any) -> Path:
    return make_onnx(
        [
            helper.make_node("Reshape", ["a", "shape"], ["b"]),
            helper.make_node("Shape", ["b"], ["c"]),
        ],
        [info("a", F32, [6]), info("shape", TensorProto.INT64, [2])],
        [info("b", F32, ["n", "m"]), info("c", TensorProto.INT64, [2])],
    )


def test_shape_tensors_are_on_the_host(make: Make, reshape_onnx: Path) -> None:
    header = {"on_host": ["shape", "c"], "types": {"shape": "INT32", "c": "INT32"}}
    backend = make(reshape_onnx, header=header)
    tensor = np.arange(6, dtype=np.float32)
    for shape in ([2, 3], [3, 2], [2, 3], [2, 3], [2, 3], [6, 1]):
        outputs = backend.infer({"a": tensor, "shape": np.array(shape, np.int64)})
        np.testing.assert_array_equal(outputs["b"], tensor.reshape(shape))
        np.testing.assert_array_equal(outputs["c"], shape)
    assert "graph off (a tensor in host memory)" in backend.describe()


def test_an_impossible_shape(make: Make, reshape_onnx: Path) -> None:
    header = {"on_host": ["shape", "c"]}
    backend = make(reshape_onnx, header=header)
    tensor = np.arange(6, dtype=np.float32)
    with pytest.raises(TensorError, match="do not fit together"):
        backend.infer({"a": tensor, "shape": np.array([4, 4], np.int64)})
    good = {"a": tensor, "shape": np.array([2, 3], np.int64)}
    np.testing.assert_array_equal(backend.infer(good)["c"], [2, 3])


# --- a run that fails --------------------------------------------------------------------


def test_a_failed_run_has_a_reason(make: Make, doubling_onnx: Path) -> None:
    backend = make(doubling_onnx, header={"fails": "the myelin graph is cursed"})
    for _ in range(3):
        with pytest.raises(BackendError, match="failed to run it: the myelin graph is cursed"):
            backend.infer(feed())


@pytest.mark.parametrize("call", ["cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2"])
@pytest.mark.parametrize("skip", [0, 1])
def test_a_copy_that_fails_and_the_next_call(
    make: Make, doubling_onnx: Path, double: Double, call: str, skip: int
) -> None:
    backend = make(doubling_onnx)
    double.fail(call, INVALID_CONTEXT, skip=skip)
    with pytest.raises(BackendError, match=f"failed in {call}"):
        backend.infer(feed())
    assert_right(backend, feed(2, 5.0))


# --- threads -----------------------------------------------------------------------------


@pytest.mark.parametrize("contexts", [1, 2, 3])
def test_threads_with_their_own_shapes(make: Make, doubling_onnx: Path, contexts: int) -> None:
    backend = make(doubling_onnx, contexts=contexts)
    wrong: list[str] = []
    start = threading.Barrier(4)

    def work(worker: int) -> None:
        start.wait(DEADLINE_S)
        for turn in range(50):
            try:
                assert_right(backend, feed(1 + (turn + worker) % 4, worker * 100 + turn))
            except Exception as error:  # a thread's error must reach the test
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert "graph on" in backend.describe()


# --- graphs ------------------------------------------------------------------------------


def test_a_graph_for_each_shape(make: Make, doubling_onnx: Path, double: Double) -> None:
    backend = make(doubling_onnx)
    for turn in range(6):
        for batch in (1, 2, 3):
            assert_right(backend, feed(batch, turn + 10 * batch))
    assert double.count("graphs") == 3
    assert double.count("cuStreamBeginCapture_v2") == 3
    assert double.count("cuGraphLaunch") == 3 * 5
    assert tensorrt_double.alive["IExecutionContext"] == 3
    assert double.count("plans") == 0


def test_the_number_of_contexts_and_graphs_is_limited(
    make: Make, doubling_onnx: Path, double: Double
) -> None:
    profiles = {"data": [[1, 3, 4], [1, 3, 4], [50, 3, 4]]}
    backend = make(doubling_onnx, header={"profiles": profiles})
    for _ in range(2):
        for batch in range(50, 0, -1):
            for turn in range(3):
                assert_right(backend, feed(batch, turn))
    assert tensorrt_double.alive["IExecutionContext"] == 4
    assert double.count("graphs") == 4


def test_one_context_without_memory_for_more(make: Make, doubling_onnx: Path) -> None:
    backend = make(doubling_onnx, header={"contexts": 1})
    for turn in range(4):
        for batch in (1, 2, 2, 2):
            assert_right(backend, feed(batch, turn))
    assert "graph on" in backend.describe()


def test_one_context_without_graphs(make: Make, doubling_onnx: Path, double: Double) -> None:
    backend = make(doubling_onnx, use_graph=False)
    for batch in (1, 2, 3, 1):
        assert_right(backend, feed(batch))
    assert tensorrt_double.alive["IExecutionContext"] == 1
    assert double.count("cuStreamBeginCapture_v2") == 0
    assert "graph off (by setting)" in backend.describe()


def test_larger_buffers_need_new_graphs(make: Make, doubling_onnx: Path, double: Double) -> None:
    profiles = {"data": [[1, 3, 4], [1, 3, 4], [100, 3, 4]]}
    backend = make(doubling_onnx, header={"profiles": profiles})
    for turn in range(3):
        assert_right(backend, feed(1, turn))
    assert_right(backend, feed(100))
    assert double.count("graphs") == 0
    for turn in range(3):
        assert_right(backend, feed(1, turn))
        assert_right(backend, feed(100, turn))
    assert double.count("graphs") == 2


@pytest.mark.parametrize(
    "call",
    [
        "cuStreamBeginCapture_v2",
        "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags",
        "cuGraphLaunch",
        "cuMemcpyHtoDAsync_v2",
    ],
)
def test_a_failed_graph_call_turns_graphs_off(
    make: Make, doubling_onnx: Path, double: Double, call: str
) -> None:
    backend = make(doubling_onnx, contexts=2)
    assert_right(backend, feed())
    double.fail(call, NOT_SUPPORTED)
    for turn in range(3):
        assert_right(backend, feed(1, turn))
    assert "graph off (the GPU driver failed in " + call in backend.describe()
    assert double.count("graphs") == double.count("plans") == 0
    tries = double.count("cuStreamBeginCapture_v2")
    assert_right(backend, feed())
    assert double.count("cuStreamBeginCapture_v2") == tries


def test_a_context_that_cannot_be_recorded_yet(
    make: Make, doubling_onnx: Path, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT-RTX compiles during its first runs, and reports the end."""
    answers = iter([False, False, True, True, True])
    monkeypatch.setattr(
        tensorrt_double.IExecutionContext,
        "is_stream_capturable",
        lambda context, stream: next(answers),
        raising=False,
    )
    backend = make(doubling_onnx)
    for turn in range(5):
        assert_right(backend, feed(1, turn))
    assert double.count("cuGraphLaunch") == 2
