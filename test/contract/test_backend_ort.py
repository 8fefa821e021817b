"""Tests of ONNX Runtime only: files, providers, types, a failed run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.backends.base import TensorSpec
from edge_inference.backends.ort import CPU, OrtBackend
from edge_inference.core.runtime.child_process import python_command, python_environment
from edge_inference.errors import BackendError

info = helper.make_tensor_value_info


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "an empty file"), (b"not an onnx file", "text"), (None, "it was cut off")],
)
def test_the_error_for_a_corrupt_file_is_one_sentence(
    tmp_path: Path, doubling_onnx: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(doubling_onnx.read_bytes()[:-40] if content is None else content)
    backend = OrtBackend(file)
    with pytest.raises(BackendError, match=rf"broken\.onnx: expected an ONNX .*{words}") as caught:
        backend.open()
    assert "\n" not in str(caught.value)
    with pytest.raises(BackendError, match="not open"):
        backend.infer({})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no such file"):
        OrtBackend(tmp_path / "gone.onnx").open()


def test_a_repaired_file_opens(tmp_path: Path, doubling_onnx: Path) -> None:
    file = tmp_path / "x.onnx"
    file.write_bytes(b"broken")
    backend = OrtBackend(file)
    with pytest.raises(BackendError):
        backend.open()
    file.write_bytes(doubling_onnx.read_bytes())
    with backend:
        assert len(backend.inputs) == 2


@pytest.mark.parametrize("providers", [("NoSuchProvider",), (CPU, "NoSuchProvider")])
def test_an_unknown_provider_is_an_error_with_the_known_ones(
    doubling_onnx: Path, providers: tuple[str, ...]
) -> None:
    with pytest.raises(BackendError, match=f"with NoSuchProvider, got one with .*{CPU}"):
        OrtBackend(doubling_onnx, providers).open()


def test_a_silent_fallback_is_refused(doubling_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that is present but cannot start: ONNX Runtime then uses the CPU."""
    available = [*onnxruntime.get_available_providers(), "CUDAExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    with pytest.raises(BackendError, match="CUDAExecutionProvider"):
        OrtBackend(doubling_onnx, ("CUDAExecutionProvider", CPU)).open()


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_at_least_one(doubling_onnx: Path, threads: int) -> None:
    with pytest.raises(BackendError, match=f"at least 1, got {threads}"):
        OrtBackend(doubling_onnx, threads=threads)


def test_providers_are_at_least_one(doubling_onnx: Path) -> None:
    with pytest.raises(BackendError, match="expected at least one"):
        OrtBackend(doubling_onnx, ())


def test_describe_names_what_really_runs(doubling_onnx: Path) -> None:
    backend = OrtBackend(doubling_onnx, threads=2, precision="fp32")
    assert "not open" in backend.describe()
    with backend:
        for word in (CPU, "2 thread", "fp32", "tiny.onnx"):
            assert word in backend.describe()


@pytest.mark.parametrize(
    ("onnx_type", "dtype"),
    [
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.DOUBLE, np.float64),
        (TensorProto.UINT8, np.uint8),
        (TensorProto.INT8, np.int8),
        (TensorProto.INT32, np.int32),
        (TensorProto.INT64, np.int64),
        (TensorProto.BOOL, np.bool_),
    ],
)
def test_types_are_preserved(make_onnx, onnx_type: int, dtype: type) -> None:
    file = make_onnx(
        [helper.make_node("Identity", ["a"], ["b"])],
        [info("a", onnx_type, ["n", 2])],
        [info("b", onnx_type, ["n", 2])],
    )
    tensor = np.array([[0, 1], [1, 0]], dtype)
    with OrtBackend(file) as backend:
        assert backend.inputs == (TensorSpec("a", np.dtype(dtype), (None, 2)),)
        output = backend.infer({"a": tensor})["b"]
    assert output.dtype == dtype
    np.testing.assert_array_equal(output, tensor)


def test_a_type_without_numpy_type_is_refused(make_onnx) -> None:
    file = make_onnx(
        [helper.make_node("Identity", ["a"], ["b"])],
        [info("a", TensorProto.STRING, [1])],
        [info("b", TensorProto.STRING, [1])],
    )
    with pytest.raises(BackendError, match=r"'a': expected .*, got tensor\(string\)"):
        OrtBackend(file).open()


def test_a_sequence_output_is_refused(make_onnx) -> None:
    file = make_onnx(
        [helper.make_node("SequenceConstruct", ["a"], ["b"])],
        [info("a", TensorProto.FLOAT, [1])],
        [helper.make_tensor_sequence_value_info("b", TensorProto.FLOAT, [1])],
    )
    with pytest.raises(BackendError, match=r"'b': expected .*, got seq\("):
        OrtBackend(file).open()


def test_a_run_that_fails_is_a_backend_error_and_the_next_works(make_onnx) -> None:
    file = make_onnx(
        [helper.make_node("Add", ["a", "b"], ["c"])],
        [info("a", TensorProto.FLOAT, ["n"]), info("b", TensorProto.FLOAT, ["m"])],
        [info("c", TensorProto.FLOAT, ["k"])],
    )
    two, three = np.ones(2, np.float32), np.ones(3, np.float32)
    with OrtBackend(file) as backend:
        with pytest.raises(BackendError, match=r"tiny\.onnx: ONNX Runtime failed") as caught:
            backend.infer({"a": two, "b": three})
        assert "\n" not in str(caught.value)
        np.testing.assert_array_equal(backend.infer({"a": two, "b": two})["c"], [2, 2])


@pytest.mark.parametrize(
    ("operator", "value", "reason"),
    [
        (
            "Add",
            np.ones(3, np.float32),
            "Attempting to broadcast an axis by a dimension other than 1. 2 by 3; set input.width "
            "and input.height to the size of the export, or export it with the size that it shall "
            "run with",
        ),
        (
            "Reshape",
            np.int64([7]),
            "The input tensor cannot be reshaped to the requested shape. Input shape:{2}, "
            "requested shape:{7}; set input.width and input.height to the size of the export, or "
            "export it with the size that it shall run with",
        ),
        (
            "Gather",
            np.int64([7]),
            "indices element out of data bounds, idx=7 must be within the inclusive range [-2,1]",
        ),
    ],
)
def test_a_failed_run_names_node_and_reason_only(
    make_onnx, operator: str, value: np.ndarray, reason: str
) -> None:
    file = make_onnx(
        [helper.make_node(operator, ["a", "b"], ["c"], "here")],
        [
            info("a", TensorProto.FLOAT, ["n"]),
            info("b", helper.np_dtype_to_tensor_dtype(value.dtype), ["m"]),
        ],
        [info("c", TensorProto.FLOAT, ["k"])],
    )
    with OrtBackend(file) as backend, pytest.raises(BackendError) as caught:
        backend.infer({"a": np.ones(2, np.float32), "b": value})
    assert str(caught.value) == (
        f"{file}: ONNX Runtime failed to run it: the node 'here' ({operator}): {reason}"
    )


def test_products_of_bytes_are_exact_on_every_cpu(make_onnx) -> None:
    weights = np.random.default_rng(0).integers(-128, 128, (64, 8), np.int8)
    file = make_onnx(
        [helper.make_node("MatMulInteger", ["a", "w"], ["c"])],
        [info("a", TensorProto.UINT8, ["n", 64])],
        [info("c", TensorProto.INT32, ["n", 8])],
        (numpy_helper.from_array(weights, "w"),),
    )
    tensor = np.full((3, 64), 255, np.uint8)
    with OrtBackend(file) as backend:
        found = backend.infer({"a": tensor})["c"]
    np.testing.assert_array_equal(found, tensor.astype(np.int32) @ weights.astype(np.int32))


def test_the_error_for_inexact_weights_has_a_hint(
    doubling_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The error of ONNX Runtime where two layers share weights and it converts them to unsigned.
    text = (
        "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: graph_utils.cc:479 "
        "AddInitializerWithOrtValue [ONNXRuntimeError] : 1 : FAIL : graph.cc:4164 "
        "AddInitializedOrtValue Attempt to replace the existing tensor"
    )

    def refuse(*arguments: object, **named: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(BackendError, match=r"no VNNI.*give every layer its own copy"):
        OrtBackend(doubling_onnx).open()


# In a process of its own: free memory of earlier tests would be reused and hide the difference.
MEMORY_PROGRAM = """
import resource
import numpy as np
from edge_inference.backends.ort import OrtBackend

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

backend = OrtBackend(sys.argv[1], keeps_memory=sys.argv[2] == "True").open()
tensors = {"data": np.zeros((2**20, 3, 4), np.float32), "more": np.zeros(1, np.float32)}
before = resident_mib()
backend.infer(tensors)
print(resident_mib() - before)
"""


@pytest.mark.parametrize("keeps", [True, False])
def test_memory_is_kept_or_freed(doubling_onnx: Path, keeps: bool) -> None:
    command = [*python_command(MEMORY_PROGRAM), str(doubling_onnx), str(keeps)]
    output = subprocess.check_output(command, text=True, env=python_environment())
    assert (float(output) > 16) == keeps


def test_a_provider_that_fails_prints_nothing_to_stdout(
    doubling_onnx: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(BackendError, match="the device is lost"):
        OrtBackend(doubling_onnx).open()
    assert capfd.readouterr().out == ""
