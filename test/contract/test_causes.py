"""A network that is refused: what is wrong, in one sentence, and what helps for that cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest

from edge_inference.backends.ort import OrtBackend
from edge_inference.backends.trt.vendor import Vendor, import_tensorrt
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import build_engine
from edge_inference.engines.precision.folding import fold
from edge_inference.errors import BackendError, EdgeInferenceError
from wrong_networks import NETWORKS

#: The sentences after the name of the file, by cause: of ONNX Runtime, of the derivation with the
#: package onnx, and of TensorRT. One that is not listed takes the network. ``{n}`` is a number
#: that depends on the version.
SENTENCES = {
    "newer IR version": {
        "ort": (
            "its IR version is 99, but {ort} reads up to {n}; pip install --upgrade "
            "onnxruntime, or set ir_version of the model to {n} with the package onnx"
        ),
        "onnx": (
            "its IR version is 99, but the package onnx {onnx} supports up to {n}; pip "
            "install --upgrade onnx, or export it with an older opset"
        ),
    },
    "newer opset": {
        "ort": (
            "its opset is 99, but {ort} supports up to {n}; export it with opset {n} or "
            "older, or pip install --upgrade onnxruntime"
        ),
        "onnx": (
            "its opset is 99, but the package onnx {onnx} supports up to {n}; export it "
            "with opset {n} or older, or pip install --upgrade onnx"
        ),
    },
    "newer opset of another domain": {
        "ort": (
            "its opset of ai.onnx.ml is 99, but {ort} supports up to {n}; export it with "
            "opset {n} or older, or pip install --upgrade onnxruntime"
        ),
        "onnx": (
            "its opset of ai.onnx.ml is 99, but {ort} supports up to {n}; export it with "
            "opset {n} or older, or pip install --upgrade onnxruntime"
        ),
    },
    "no opset": {
        "ort": (
            "expected the opset in its opset_import, got none; add the opset that it was "
            "exported with, with make_opsetid of the package onnx"
        ),
        "onnx": (
            "expected the opset in its opset_import, got none; add the opset that it was "
            "exported with, with make_opsetid of the package onnx"
        ),
    },
    "no outputs": {
        "ort": (
            "expected an ONNX model with outputs, got one without; declare its results "
            "as outputs when you export it"
        ),
        "trt": (
            "expected an ONNX model with outputs, got one without; declare its results "
            "as outputs when you export it"
        ),
    },
    "no IR version": {
        "ort": (
            "expected an IR version, got none; set ir_version of the model with the package onnx"
        ),
        "onnx": (
            "expected an IR version, got none; set ir_version of the model with the package onnx"
        ),
    },
    "output of no node": {
        "ort": (
            "its network is not consistent: Graph output (y) does not exist in the graph; use the "
            "file from before it was cut or edited, or export it again"
        ),
        "onnx": (
            "its network is not valid: Graph output 'y' is not an output of any node in graph; use "
            "the file from before it was cut or edited, or export it again"
        ),
        "trt": (
            "{trt} cannot parse it: no node computes one of its outputs; use the file from before "
            "it was cut or edited, or serve it with the backend ort if that opens it"
        ),
    },
    "no shape of an output": {
        "onnx": (
            "one of its inputs or outputs has no declared shape; declare it, for example "
            "with onnx.shape_inference.infer_shapes_path"
        ),
    },
    "operator of a newer opset": {
        "ort": (
            "its node 'n' (Mish) needs an operator that its opset 17 does not have; "
            "export it with opset 18 or newer"
        ),
        "onnx": (
            "its node 'n' (Mish) needs an operator that its opset 17 does not have; "
            "export it with opset 18 or newer"
        ),
    },
    "operator of an older opset": {
        "ort": (
            "its node 'n' (Upsample) needs an operator that its opset 17 no longer has; "
            "export it with an older opset"
        ),
        "onnx": (
            "its node 'n' (Upsample) needs an operator that its opset 17 no longer has; "
            "export it with an older opset"
        ),
    },
    "unknown operator": {
        "ort": (
            "its node 'n' (Wobble) needs an operator that {ort} does not know; export it "
            "with standard operators, or upgrade the package if the operator is a new "
            "one"
        ),
        "onnx": (
            "its node 'n' (Wobble) needs an operator that the package onnx {onnx} does "
            "not know; export it with standard operators, or upgrade the package if the "
            "operator is a new one"
        ),
        "trt": (
            "its node 'n' (Wobble) needs an operator that {trt} does not have; export "
            "the model without it, or serve it with the backend ort"
        ),
    },
    "custom operator": {
        "ort": (
            "its node 'n' (Wobble) is a custom operator of the domain 'custom.ops', and "
            "ONNX Runtime has none of these; export the model with standard operators "
            "instead"
        ),
        "onnx": (
            "its node 'n' (Wobble) is a custom operator of the domain 'custom.ops', and "
            "ONNX Runtime has none of these; export the model with standard operators "
            "instead"
        ),
        "trt": (
            "its node 'n' (Wobble) is a custom operator of the domain 'custom.ops', and "
            "{trt} does not have it; export the model with standard operators instead"
        ),
    },
    "custom operator without its domain": {
        "ort": (
            "its node 'n' (Wobble) is a custom operator of the domain 'custom.ops', and "
            "ONNX Runtime has none of these; export the model with standard operators "
            "instead"
        ),
        "onnx": (
            "its node 'n' (Wobble) is a custom operator of the domain 'custom.ops'; "
            "export the model with standard operators instead"
        ),
        "trt": (
            "its node 'n' (Wobble) is a custom operator of the domain 'custom.ops', and "
            "{trt} does not have it; export the model with standard operators instead"
        ),
    },
    "TensorRT plugin": {
        "ort": (
            "its node 'n' (EfficientNMS_TRT) is a plugin of TensorRT; export the model "
            "without it: raw outputs without NMS, which the decoder does"
        ),
        "onnx": (
            "its node 'n' (EfficientNMS_TRT) is a plugin of TensorRT; export the model "
            "without it: raw outputs without NMS, which the decoder does"
        ),
        "trt": (
            "its node 'n' (EfficientNMS_TRT) is a plugin of TensorRT, and {trt} does not "
            "have it; export the model without it: raw outputs without NMS, which the "
            "decoder does"
        ),
    },
    "TensorRT plugin of a domain": {
        "ort": (
            "its node 'n' (EfficientNMS_TRT) is a plugin of TensorRT, and ONNX Runtime "
            "has none of these; export the model without it: raw outputs without NMS, "
            "which the decoder does"
        ),
        "onnx": (
            "its node 'n' (EfficientNMS_TRT) is a plugin of TensorRT, and ONNX Runtime "
            "has none of these; export the model without it: raw outputs without NMS, "
            "which the decoder does"
        ),
        "trt": (
            "its node 'n' (EfficientNMS_TRT) is a plugin of TensorRT, and {trt} does not "
            "have it; export the model without it: raw outputs without NMS, which the "
            "decoder does"
        ),
    },
    "TensorRT plugin of a tool": {
        "ort": (
            "its node 'n' (TRTBatchedNMS) is a plugin of TensorRT, and ONNX Runtime has "
            "none of these; export the model without it: raw outputs without NMS, which "
            "the decoder does"
        ),
        "onnx": (
            "its node 'n' (TRTBatchedNMS) is a plugin of TensorRT, and ONNX Runtime has "
            "none of these; export the model without it: raw outputs without NMS, which "
            "the decoder does"
        ),
        "trt": (
            "its node 'n' (TRTBatchedNMS) is a plugin of TensorRT, and {trt} does not "
            "have it; export the model without it: raw outputs without NMS, which the "
            "decoder does"
        ),
    },
    "MMDeploy": {
        "ort": (
            "its node 'n' (MMCVModulatedDeformConv2d) is a custom operator of MMDeploy, "
            "and ONNX Runtime has none of these; export without it, with a deploy "
            "configuration that has no postprocessing"
        ),
        "onnx": (
            "its node 'n' (MMCVModulatedDeformConv2d) is a custom operator of MMDeploy, "
            "and ONNX Runtime has none of these; export without it, with a deploy "
            "configuration that has no postprocessing"
        ),
        "trt": (
            "its node 'n' (MMCVModulatedDeformConv2d) is a custom operator of MMDeploy, "
            "and {trt} does not have it; export without it, with a deploy configuration "
            "that has no postprocessing"
        ),
    },
    "contrib operator": {
        "trt": (
            "its node 'n' (FusedConv) is an operator of ONNX Runtime alone, and {trt} "
            "does not have it; use the file from before ONNX Runtime's optimizer or "
            "quantizer, or serve it with the backend ort"
        ),
    },
    "unknown contrib operator": {
        "ort": (
            "its node 'n' (Wobble) needs an operator of com.microsoft that {ort} does "
            "not have; pip install --upgrade onnxruntime, or use the file from before "
            "its optimizer"
        ),
        "onnx": (
            "its node 'n' (Wobble) needs an operator of com.microsoft that {ort} does "
            "not have; pip install --upgrade onnxruntime, or use the file from before "
            "its optimizer"
        ),
        "trt": (
            "its node 'n' (Wobble) is an operator of ONNX Runtime alone, and {trt} does "
            "not have it; use the file from before ONNX Runtime's optimizer or "
            "quantizer, or serve it with the backend ort"
        ),
    },
    "onnxruntime-extensions": {
        "ort": (
            "its node 'n' (GaussianBlur) is an operator of onnxruntime-extensions, and "
            "ONNX Runtime has none of these; export the network without its "
            "preprocessing and postprocessing"
        ),
        "onnx": (
            "its node 'n' (GaussianBlur) is an operator of onnxruntime-extensions, and "
            "ONNX Runtime has none of these; export the network without its "
            "preprocessing and postprocessing"
        ),
        "trt": (
            "its node 'n' (GaussianBlur) is an operator of onnxruntime-extensions, and "
            "{trt} does not have it; export the network without its preprocessing and "
            "postprocessing"
        ),
    },
    "PyTorch operator": {
        "ort": (
            "its node 'n' (ATen) is an operator of PyTorch that its exporter did not "
            "convert, and ONNX Runtime has none of these; export with a newer PyTorch or "
            "a newer opset, or replace it in the network"
        ),
        "onnx": (
            "its node 'n' (ATen) is an operator of PyTorch that its exporter did not "
            "convert, and ONNX Runtime has none of these; export with a newer PyTorch or "
            "a newer opset, or replace it in the network"
        ),
        "trt": (
            "its node 'n' (ATen) is an operator of PyTorch that its exporter did not "
            "convert, and {trt} does not have it; export with a newer PyTorch or a newer "
            "opset, or replace it in the network"
        ),
    },
    "TensorFlow operator": {
        "ort": (
            "its node 'n' (Roll) is an operator of TensorFlow that tf2onnx did not "
            "convert, and ONNX Runtime has none of these; convert again with a newer "
            "opset (--opset), or replace it in the network"
        ),
        "onnx": (
            "its node 'n' (Roll) is an operator of TensorFlow that tf2onnx did not "
            "convert, and ONNX Runtime has none of these; convert again with a newer "
            "opset (--opset), or replace it in the network"
        ),
        "trt": (
            "its node 'n' (Roll) is an operator of TensorFlow that tf2onnx did not "
            "convert, and {trt} does not have it; convert again with a newer opset "
            "(--opset), or replace it in the network"
        ),
    },
    "classical operator": {
        "trt": (
            "its node 'n' (Scaler) is an operator of classical machine learning "
            "(ai.onnx.ml), and {trt} does not have it; serve it with the backend ort, or "
            "export the network without it"
        ),
    },
    "standard operator": {
        "trt": (
            "its node 'n' (Det) needs an operator that {trt} does not have; export the "
            "model without it, or serve it with the backend ort"
        ),
    },
    "attribute missing": {
        "ort": (
            "its node 'n' (Concat) is not valid: Required attribute 'axis' is missing; "
            "export it with another opset, or correct the node"
        ),
        "onnx": (
            "its node 'n' (Concat) is not valid: Required attribute 'axis' is missing; "
            "export it with another opset, or correct the node"
        ),
        "trt": (
            "{trt} cannot parse its node 'n' (Concat): its attributes or inputs are not "
            "valid; export it with another opset, or correct the node"
        ),
    },
    "input of no node": {
        "ort": (
            "its network is not consistent: Node input 'nowhere' is not a graph input, "
            "initializer, or output of a previous node; use the file from before it was "
            "cut or edited, or export it again"
        ),
        "onnx": (
            "its network is not consistent: no earlier node computes the input 'nowhere' "
            "of its node 'n' (Add); use the file from before it was cut or edited, or "
            "export it again"
        ),
        "trt": (
            "{trt} cannot parse its node 'n' (Add): no node computes one of its inputs; "
            "use the file from before it was cut or edited, or serve it with the backend "
            "ort if that opens it"
        ),
    },
    "two outputs of one name": {
        "ort": (
            "its network is not consistent: Duplicate definition of name (y); use the "
            "file from before it was cut or edited, or export it again"
        ),
        "onnx": (
            "its network is not valid: Graph must be in single static assignment (SSA) "
            "form, however 'y' has been used as output names multiple times; use the "
            "file from before it was cut or edited, or export it again"
        ),
        "trt": (
            "{trt} cannot parse it: its nodes need each other, or two have the same "
            "output; use the file from before it was cut or edited, or serve it with the "
            "backend ort if that opens it"
        ),
    },
    "two nodes of one name": {
        "ort": "two of its nodes have the name 'n'; give each node its own name, or none",
        "onnx": "two of its nodes have the name 'n'; give each node its own name, or none",
    },
    "types that differ": {
        "ort": (
            "its node 'n' (Add) has inputs of two types, float and int64; export it in "
            "float32: other precisions are derived from that"
        ),
        "onnx": (
            "its node 'n' (Add) has inputs of two types, float and int64; export it in "
            "float32: other precisions are derived from that"
        ),
        "trt": (
            "{trt} cannot parse its node 'n' (Add): ElementWiseOperation SUM must have "
            "same input types. But they are of types Float and Int64; export it in "
            "float32"
        ),
    },
    "shapes that differ": {
        "ort": (
            "the shapes at its node 'n' (MatMul) contradict each other: Incompatible "
            "dimensions for matrix multiplication; export it with the input size that it "
            "shall run with"
        ),
        "onnx": (
            "the shapes at its node 'n' (MatMul) contradict each other: Incompatible "
            "dimensions for matrix multiplication; export it with the input size that it "
            "shall run with"
        ),
        "trt": (
            "{trt} cannot parse its node 'n' (MatMul): last dimension of input0 = 8 and "
            "second to last dimension of input1 = 5 but must match; export it with the "
            "input size that it shall run with"
        ),
    },
    "type without a kernel": {
        "ort": (
            "{ort} cannot compute its node 'n' (Conv) in the types of its tensors; "
            "export it in float32"
        ),
        "onnx": (
            "{ort} cannot compute its node 'n' (Conv) in the types of its tensors; "
            "export it in float32"
        ),
    },
    "complex numbers": {
        "ort": "{ort} does not have the type complex64 of its tensors; export it in float32",
        "onnx": "{ort} does not have the type complex64 of its tensors; export it in float32",
        "trt": (
            "its input 'x' is complex64, a type that {trt} does not have; export it with "
            "float32 inputs, or serve it with the backend ort"
        ),
    },
    "text": {
        "ort": (
            "'x': expected a tensor of float32, float16, float64, bool, int8, int16, "
            "int32, int64, uint8, uint16, uint32, uint64, got tensor(string); export it "
            "with float32 inputs and outputs"
        ),
        "trt": (
            "its input 'x' is string, a type that {trt} does not have; export it with "
            "float32 inputs, or serve it with the backend ort"
        ),
    },
    "int16": {
        "trt": (
            "its input 'x' is int16, a type that {trt} does not have; export it with "
            "float32 inputs, or serve it with the backend ort"
        ),
    },
    "arithmetic in uint8": {
        "trt": (
            "{trt} cannot parse its node 'n' (Add): ElementWiseOperation SUM requires "
            "inputs with type FLOAT, HALF, BF16, FP8, or INT8, INT32, or INT64. But type "
            "is UInt8; export it in float32"
        ),
    },
    "nine axes": {
        "trt": (
            "{trt} cannot parse it: an input has more than the 8 axes that TensorRT has; "
            "export it with fewer axes"
        ),
    },
    "uint8 inside": {
        "trt": (
            "{trt} cannot parse its node 'n' (Cast): TensorRT computes nothing in uint8; "
            "cast to float32 first when you export it"
        ),
    },
    "asymmetric quantization": {
        "trt": (
            "{trt} cannot run it: int8 activations with the zero point 3; export it "
            "quantized with Q/DQ pairs of signed numbers around 0"
        ),
    },
    "asymmetric uint8": {
        "trt": (
            "{trt} needs uint8 activations around 128 as int8 around 0; name it as "
            "variants.int8 of a model, whose engine is built in that form"
        ),
    },
    "dynamic quantization": {
        "trt": (
            "{trt} cannot run it: TensorRT has no DynamicQuantizeLinear; export it "
            "quantized with Q/DQ pairs of signed numbers around 0"
        ),
    },
    "size by values": {
        "trt": (
            "{trt} cannot parse its node 'n' (TopK): a size depends on values that are "
            "known only at run time; export it with a fixed size there, or serve it with "
            "the backend ort"
        ),
    },
    "branches of two ranks": {
        "trt": (
            "{trt} built no engine: the layer 'n_OutputLayer': Must have inputs with "
            "equal ranks when condition is not a build-time constant. Dimensions are "
            "[1,3,8,8] and []; export the model without this node, or serve it with the "
            "backend ort"
        ),
    },
    "large K": {
        "trt": (
            "{trt} built no engine: the layer 'n': K exceeds the maximum value allowed "
            "(3840); export it with fewer candidates or detections, or serve it with the "
            "backend ort"
        ),
    },
    "dynamic shape": {
        "trt": (
            "input 'x': axis 0 (batch) is dynamic and has no sizes; give a range with "
            "batch (--batch 1:4:8), or a profile (--profile x:1x3x8x8,4x3x8x8,8x3x8x8), "
            "on the command line or in the section engine of model.yaml, or, if it never "
            "changes, its value in extra_inputs of model.yaml"
        ),
    },
}
#: Text of libraries that helps nobody: C++ names, source files, folders of a build.
FORBIDDEN = re.compile(
    r"::|\w+\.(cc|cpp|h|hpp|cu)\b|/_src|_src/|std::|virtual |ONNXRuntimeError|Assertion|Error Code"
    r"|\bI[A-Z]\w+Layer|/tmp/edge_inference_"
)
ENGINES = ("ort", "onnx", "trt")


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    try:
        found = import_tensorrt()
    except BackendError as error:
        pytest.skip(str(error))
    if found.library != "tensorrt_rtx":
        pytest.skip(f"{found.title} is installed; it is TensorRT-RTX that builds without a GPU")
    return found


def refusal(file: Path, cause: str, read: Callable[[Path], object]) -> str | None:
    """Write the network of a cause; return the sentence that refuses it, None for none."""
    file.write_bytes(NETWORKS[cause]().SerializeToString())
    try:
        read(file)
    except EdgeInferenceError as error:
        return str(error).removeprefix(f"{file}: ")
    return None


def check(cause: str, engine: str, sentence: str | None, title: str) -> None:
    """Check a sentence against the table."""
    expected = SENTENCES[cause].get(engine)
    if expected is None:
        assert sentence is None
        return
    assert sentence is not None
    for name, text in {"{ort}": title, "{onnx}": onnx.__version__, "{trt}": title}.items():
        expected = expected.replace(name, text)
    assert re.fullmatch(re.escape(expected).replace(r"\{n\}", r"\d+"), sentence), sentence
    assert not FORBIDDEN.search(sentence)


ORT = f"ONNX Runtime {onnxruntime.__version__}"


def test_each_network_has_a_sentence() -> None:
    assert set(SENTENCES) == set(NETWORKS)
    for sentences in SENTENCES.values():
        assert sentences and set(sentences) <= set(ENGINES)
        assert all("; " in text for text in sentences.values())  # the hint


@pytest.mark.parametrize("cause", NETWORKS)
def test_onnx_runtime(tmp_path: Path, cause: str) -> None:
    sentence = refusal(tmp_path / "net.onnx", cause, lambda file: OrtBackend(file).open().close())
    check(cause, "ort", sentence, ORT)


@pytest.mark.parametrize("cause", NETWORKS)
def test_derivation(tmp_path: Path, cause: str) -> None:
    check(cause, "onnx", refusal(tmp_path / "net.onnx", cause, fold), ORT)


@pytest.mark.parametrize("cause", NETWORKS)
def test_tensorrt(tmp_path: Path, cause: str, vendor: Vendor) -> None:
    sentence = refusal(
        tmp_path / "net.onnx", cause, lambda file: build_engine(file, BuildOptions(), vendor=vendor)
    )
    check(cause, "trt", sentence, vendor.title)
