"""The texts of ONNX Runtime without its C++, as it really writes them."""

from __future__ import annotations

import pytest

from edge_inference.backends.ort_failures import describe_error

_LOAD = "[ONNXRuntimeError] : 1 : FAIL : Load model from /there/net.onnx failed:"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            _LOAD + "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 "
            "onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, const "
            "onnxruntime::IOnnxRuntimeOpSchemaRegistryList*, const onnxruntime::logging::Logger&) "
            "Unsupported model IR version: 99, max supported IR version: 14\n",
            "Unsupported model IR version: 99, max supported IR version: 14",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Deserialize tensor k failed.tensorprotoutils.cc:2201 "
            "GetExtDataFromTensorProto External initializer: k offset: 0 size to read: 224000.",
            "Deserialize tensor k External initializer: k offset: 0 size to read: 224000",
        ),
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while "
            "running Gather node. Name:'g : 1' Status Message: idx=7 must be within [-2,1]",
            "the node 'g : 1' (Gather): idx=7 must be within [-2,1]",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. "
            "Name:'a' Status Message: /onnxruntime_src/core/element_wise_ops.h:560 void "
            "onnxruntime::BroadcastIterator::Append(ptrdiff_t, int64_t) axis == 1 || axis == "
            "largest was false. Attempting to broadcast 2 by 3.",
            "the node 'a' (Add): Attempting to broadcast 2 by 3",
        ),
        ("", "RuntimeError"),
        ("x" * 5000, "x" * 400 + " …"),
        # Names of strangers; each search would take hours without a limit.
        ("a." * 2_000_000, "a." * 200 + " …"),
        (
            f"Non-zero status code returned while running Add node. Name:'{'b' * 900}' Status "
            "Message: bad",
            f"the node '{'b' * 199} (Add): bad",
        ),
    ],
)
def test_the_reason_remains(text: str, reason: str) -> None:
    assert describe_error(RuntimeError(text)) == reason
