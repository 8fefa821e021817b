"""Opening and closing a plan: the errors, and that everything is freed."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pycuda.driver
import pytest

import tensorrt_double
from double_control import LAUNCH_FAILED, NOT_SUPPORTED, OUT_OF_MEMORY, Double
from edge_inference.backends.trt.backend import TrtBackend
from edge_inference.backends.trt.metadata import (
    Environment,
    read_sidecar,
    sidecar_of,
    write_sidecar,
)
from edge_inference.errors import BackendError
from trt_on_double import MODULE, make_backend, vendor, write_plan

FEED = {
    "data": np.arange(12, dtype=np.float32).reshape(1, 3, 4),
    "more": np.ones(1, np.float32),
}


def assert_nothing_left(double: Double) -> None:
    gc.collect()
    assert not any(double.live().values()), double.live()
    assert not any(tensorrt_double.alive.values()), tensorrt_double.alive


def assert_works(backend: TrtBackend) -> None:
    np.testing.assert_array_equal(backend.infer(FEED)["doubled"], FEED["data"] * 2)


def refused(backend: TrtBackend) -> str:
    """Return the error with which a backend refuses to open."""
    with pytest.raises(BackendError) as caught:
        backend.open()
    sentence = str(caught.value)
    assert "\n" not in sentence
    with pytest.raises(BackendError, match="not open"):
        backend.infer(FEED)
    return sentence


# --- settings and words ----------------------------------------------------------------


@pytest.mark.parametrize("contexts", [0, -1])
def test_contexts_are_at_least_one(tmp_path: Path, contexts: int) -> None:
    with pytest.raises(BackendError, match=f"at least 1, got {contexts}"):
        TrtBackend(tmp_path / "x.plan", contexts=contexts)


def test_a_priority_is_one_of_three(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="low, normal, high, got 'urgent'"):
        TrtBackend(tmp_path / "x.plan", stream_priority="urgent")


@pytest.mark.parametrize(("priority", "level"), [("low", 0), ("normal", 0), ("high", -5)])
def test_the_stream_has_the_priority(
    doubling_onnx: Path, monkeypatch: pytest.MonkeyPatch, priority: str, level: int
) -> None:
    seen: list[int] = []
    execute = tensorrt_double.IExecutionContext.execute_async_v3

    def watch(context: object, stream: int) -> bool:
        seen.append(tensorrt_double.double.priority(stream))
        return execute(context, stream)

    monkeypatch.setattr(tensorrt_double.IExecutionContext, "execute_async_v3", watch)
    with make_backend(doubling_onnx, stream_priority=priority) as backend:
        assert_works(backend)
    assert seen == [level]


def test_describe_names_what_really_runs(doubling_onnx: Path) -> None:
    layers = {"Layers": [{"Name": "a", "LayerType": "Conv", "Weights": {"Type": "Half"}}]}
    backend = make_backend(doubling_onnx, header={"layers": layers}, contexts=2)
    assert "not open" in backend.describe()
    with backend:
        assert backend.precision_in_use == "fp16"
        for word in ("TensorRT 10.3.0", "Double", "fp16", "2 context", "graph on", "tiny.plan"):
            assert word in backend.describe()
    assert "not open" in backend.describe()


def test_the_precision_comes_from_the_sidecar_without_an_inspector(doubling_onnx: Path) -> None:
    plan = write_plan(doubling_onnx, metadata={"layer_precisions": {"int8": 5, "fp32": 1}})
    with TrtBackend(plan, vendor=vendor()) as backend:
        assert backend.precision_in_use == "int8"


# --- refusals ----------------------------------------------------------------------------


def test_a_plan_without_sidecar(double: Double, doubling_onnx: Path) -> None:
    plan = write_plan(doubling_onnx)
    sidecar_of(plan).unlink()
    assert "sidecar cannot be read" in refused(TrtBackend(plan, vendor=vendor()))
    assert_nothing_left(double)


def test_an_altered_sidecar(double: Double, doubling_onnx: Path) -> None:
    plan = write_plan(doubling_onnx)
    content = json.loads(sidecar_of(plan).read_text())
    content["environment"]["compute_capability"] = "9.9"
    sidecar_of(plan).write_text(json.dumps(content))
    assert "altered" in refused(TrtBackend(plan, vendor=vendor()))
    assert_nothing_left(double)


def test_a_truncated_plan(double: Double, doubling_onnx: Path) -> None:
    plan = write_plan(doubling_onnx)
    plan.write_bytes(plan.read_bytes()[:-10])
    assert "cut off or replaced; rebuild" in refused(TrtBackend(plan, vendor=vendor()))
    assert_nothing_left(double)


def test_a_replaced_plan(double: Double, doubling_onnx: Path) -> None:
    plan = write_plan(doubling_onnx)
    content = plan.read_bytes()
    plan.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "expected the plan of its sidecar" in refused(TrtBackend(plan, vendor=vendor()))
    assert_nothing_left(double)


def test_a_file_that_is_not_a_plan(double: Double, doubling_onnx: Path) -> None:
    """TensorRT itself refuses, with its own reason."""
    plan = write_plan(doubling_onnx)
    plan.write_bytes(b"x" * plan.stat().st_size)
    digest = hashlib.sha256(plan.read_bytes()).hexdigest()
    write_sidecar(plan, dataclasses.replace(read_sidecar(plan), plan_sha256=digest))
    sentence = refused(TrtBackend(plan, vendor=vendor()))
    assert "cannot load the plan: the magic tag does not match; rebuild" in sentence
    assert_nothing_left(double)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "8.6.1"}, f"built by {MODULE} 8.6.1, this machine has 10.3.0"),
        ({"library": "tensorrt_rtx"}, f"built by tensorrt_rtx, this machine has {MODULE}"),
        ({"machine": "pdp11"}, "pdp11"),
        (
            {"compute_capability": "11.0", "device": "Thor"},
            "built for Thor (compute 11.0), this GPU is Double (compute 8.7)",
        ),
    ],
)
def test_a_plan_of_another_machine(
    double: Double, doubling_onnx: Path, change: dict[str, str], words: str
) -> None:
    here = Environment.here(MODULE, tensorrt_double.__version__, "Double", "8.7")
    plan = write_plan(doubling_onnx, metadata={"environment": dataclasses.replace(here, **change)})
    sentence = refused(TrtBackend(plan, vendor=vendor()))
    assert words in sentence
    assert "rebuild" in sentence
    assert_nothing_left(double)


def test_a_tensor_in_blocks_of_channels(double: Double, doubling_onnx: Path) -> None:
    backend = make_backend(doubling_onnx, header={"formats": {"data": "CHW32"}})
    assert "'data' of this plan: expected a linear layout" in refused(backend)
    assert_nothing_left(double)


def test_no_device(double: Double, doubling_onnx: Path) -> None:
    double.set_devices(0)
    assert "no CUDA device is usable" in refused(make_backend(doubling_onnx))
    assert_nothing_left(double)


def test_an_unknown_device(double: Double, doubling_onnx: Path) -> None:
    sentence = refused(make_backend(doubling_onnx, device=3))
    assert "device: expected 0, got 3" in sentence
    assert_nothing_left(double)


def test_a_repaired_plan_opens(doubling_onnx: Path) -> None:
    plan = write_plan(doubling_onnx)
    content = plan.read_bytes()
    plan.write_bytes(content[:-10])
    backend = TrtBackend(plan, vendor=vendor())
    refused(backend)
    plan.write_bytes(content)
    with backend:
        assert_works(backend)


# --- failures half-way ---------------------------------------------------------------------

HALF_WAY = [
    ("cuDevicePrimaryCtxRetain", 0, OUT_OF_MEMORY),
    ("cuStreamCreateWithPriority", 0, OUT_OF_MEMORY),
    ("cuStreamCreateWithPriority", 1, OUT_OF_MEMORY),
    ("cuCtxPushCurrent_v2", 0, NOT_SUPPORTED),
]


@pytest.mark.parametrize(("call", "skip", "code"), HALF_WAY)
def test_a_failed_open_frees_everything(
    double: Double, doubling_onnx: Path, call: str, skip: int, code: int
) -> None:
    backend = make_backend(doubling_onnx, contexts=2)
    double.fail(call, code, skip=skip)
    refused(backend)
    assert_nothing_left(double)
    with backend:
        assert_works(backend)
    assert_nothing_left(double)


def test_no_memory_for_the_second_context(double: Double, doubling_onnx: Path) -> None:
    backend = make_backend(doubling_onnx, header={"contexts": 1}, contexts=2)
    sentence = refused(backend)
    assert "another execution context: out of memory for one more context" in sentence
    assert_nothing_left(double)


# --- memory ------------------------------------------------------------------------------------


def test_out_of_memory_names_the_size_and_the_next_call_works(
    double: Double, doubling_onnx: Path
) -> None:
    with make_backend(doubling_onnx) as backend:
        double.set_memory(300)
        with pytest.raises(BackendError, match=r"cannot allocate 0\.0 MiB of GPU memory, 0\.0 MiB"):
            backend.infer(FEED)
        double.set_memory(1 << 20)
        assert_works(backend)
    assert_nothing_left(double)


@pytest.mark.parametrize("call", ["cuMemAlloc_v2", "cuMemHostAlloc"])
@pytest.mark.parametrize("skip", range(4))
def test_no_memory_for_larger_buffers(
    double: Double, doubling_onnx: Path, call: str, skip: int
) -> None:
    large = {"data": np.ones((4, 3, 4), np.float32) * 7, "more": FEED["more"]}
    profiles = {"data": [[1, 3, 4], [1, 3, 4], [400, 3, 4]]}
    with make_backend(doubling_onnx, header={"profiles": profiles}) as backend:
        for _ in range(3):
            assert_works(backend)
        large["data"] = np.ones((400, 3, 4), np.float32)
        # For GPU memory, pycuda collects garbage and tries again.
        times = 2 if call == "cuMemAlloc_v2" else 1
        double.fail(call, OUT_OF_MEMORY, skip=skip, times=times)
        if skip < 3:
            with pytest.raises(BackendError, match="cannot allocate"):
                backend.infer(large)
        assert_works(backend)
        double.reset()
        np.testing.assert_array_equal(backend.infer(large)["doubled"], large["data"] * 2)
        assert_works(backend)
    assert_nothing_left(double)


def test_buffers_grow_once_and_are_kept(double: Double, doubling_onnx: Path) -> None:
    profiles = {"data": [[1, 3, 4], [1, 3, 4], [100, 3, 4]]}
    large = {"data": np.ones((100, 3, 4), np.float32), "more": FEED["more"]}
    with make_backend(doubling_onnx, header={"profiles": profiles}) as backend:
        backend.infer(FEED)
        backend.infer(large)
        before = double.count("allocations")
        for _ in range(5):
            backend.infer(FEED)
            backend.infer(large)
        assert double.count("allocations") == before


# --- a lost context --------------------------------------------------------------------------


def test_the_hint_for_a_lost_context_is_a_restart(
    double: Double, doubling_onnx: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = make_backend(doubling_onnx)
    backend.open()
    assert_works(backend)
    double.fail("cuStreamSynchronize", LAUNCH_FAILED)
    with pytest.raises(
        BackendError, match="GPU context of this process is lost; restart the process"
    ):
        backend.infer(FEED)
    backend.close()
    assert "a resource could not be freed" in caplog.text
    double.reset()  # the queued work refers to the double's objects
    tensorrt_double.errors.clear()
    assert_nothing_left(double)


def test_a_context_popped_by_other_code_does_not_abort(double: Double, doubling_onnx: Path) -> None:
    with make_backend(doubling_onnx) as backend:
        assert_works(backend)
        double.fail("cuCtxPopCurrent_v2", NOT_SUPPORTED)
        # The failed pop left the driver's entry, and another one was pushed.
        backend.infer(FEED)
        assert double.count("stack") == 1
        double.pop()
        assert_works(backend)


# --- several users of the primary context ---------------------------------------------------


def test_two_backends_share_the_primary_context(double: Double, doubling_onnx: Path) -> None:
    first, second = make_backend(doubling_onnx), make_backend(doubling_onnx)
    with first:
        with second:
            assert double.count("retained") == 1
            assert_works(second)
        assert double.count("retained") == 1
        assert_works(first)
    assert_nothing_left(double)


def test_another_thread_can_close_it(double: Double, doubling_onnx: Path) -> None:
    backend = make_backend(doubling_onnx).open()
    assert_works(backend)
    thread = threading.Thread(target=backend.close)
    thread.start()
    thread.join()
    assert_nothing_left(double)


def test_it_works_below_a_pycuda_context(double: Double, doubling_onnx: Path) -> None:
    pycuda.driver.init()
    own = pycuda.driver.Device(0).retain_primary_context()
    own.push()
    try:
        with make_backend(doubling_onnx) as backend:
            assert_works(backend)
        assert pycuda.driver.Context.get_current() == own
        assert double.count("stack") == 1
    finally:
        own.detach()  # which leaves it on the driver's stack
        double.pop()
