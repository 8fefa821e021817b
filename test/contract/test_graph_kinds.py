"""Each kind of graph derives to fp16 and int8 and stays close to fp32, or is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from edge_inference.backends.ort import session_options
from edge_inference.backends.trt.vendor import Vendor
from edge_inference.core.settings import build
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import build_engine
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.int8 import TARGETS
from edge_inference.engines.precision.onnx_file import write_onnx
from edge_inference.errors import BackendError, EdgeInferenceError
from edge_inference.optimize.calibrate import calibrate
from edge_inference.optimize.fp16_emulation import emulate_fp16
from operator_kinds import KINDS
from small_net import IMAGE
from test_builder_rtx import vendor as vendor

RTX = [(name, precision) for name in KINDS for precision in ("fp32", "fp16", "int8")]
DERIVED = [("fp16", "onnxruntime"), *(("int8", target) for target in TARGETS)]


def images(file: Path, count: int, seed: int) -> list[NDArray[Any]]:
    kind = onnx.load(file).graph.input[0].type.tensor_type.elem_type
    dtype = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    random = np.random.default_rng(seed)
    return [random.uniform(-1, 1, IMAGE).astype(dtype) for _ in range(count)]


def session(file: Path) -> Any:
    options = session_options(onnxruntime)
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def sqnr_db(right: Path, derived: Path, outputs: Sequence[str]) -> float:
    """Return the signal to noise ratio of the worst output, in dB."""
    expected, found = session(right), session(derived)
    signal, noise = np.zeros(len(outputs)), np.zeros(len(outputs))
    for image in images(right, 6, seed=1):
        pairs = (net.run(list(outputs), {"x": image}) for net in (expected, found))
        for place, (one, other) in enumerate(zip(*pairs, strict=True)):
            signal[place] += np.square(one.astype(np.float64)).sum()
            noise[place] += np.square(one.astype(np.float64) - other).sum()
    return float(min(10 * np.log10(signal / np.maximum(noise, 1e-30))))


def derived(source: Path, precision: str, target: str) -> Path:
    destination = source.with_suffix(f".{precision}.{target}.onnx")
    calibration = (
        calibrate(source, "x", images(source, 16, seed=2)) if precision == "int8" else None
    )
    derive(source, precision, target, destination, calibration=calibration)
    return destination


@pytest.mark.parametrize(("precision", "target"), DERIVED)
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_stays_close_to_fp32(name: str, precision: str, target: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    source = tmp_path / "net.onnx"
    onnx.save(kind.make(), source)
    refusal = kind.refusal(precision)
    if refusal:
        with pytest.raises(EdgeInferenceError, match=refusal) as caught:
            derived(source, precision, target)
        assert "\n" not in str(caught.value)
        return
    made = derived(source, precision, target)
    least_db = kind.fp16_db if precision == "fp16" else kind.int8_db
    assert sqnr_db(source, made, kind.compared) > least_db
    ends = [
        [(entry.name, entry.type.tensor_type.elem_type) for entry in (*graph.input, *graph.output)]
        for graph in (onnx.load(source).graph, onnx.load(made).graph)
    ]
    weights = {entry.name for entry in onnx.load(source).graph.initializer}
    fed = [entry for entry in ends[0] if entry[0] not in weights - {"anchors", "strides"}]
    assert ends[1] == fed


@pytest.mark.parametrize("name", [name for name in KINDS if not KINDS[name].refusal("fp16")])
def test_it_stays_close_where_every_tensor_is_really_fp16(name: str, tmp_path: Path) -> None:
    """ONNX Runtime's CPU engine computes most of fp16 in fp32."""
    kind = KINDS[name]
    source, rounded = tmp_path / "net.onnx", tmp_path / "rounded.onnx"
    onnx.save(kind.make(), source)
    write_onnx(emulate_fp16(derived(source, "fp16", "tensorrt")), rounded)
    assert sqnr_db(source, rounded, kind.compared) > kind.fp16_db


@pytest.mark.parametrize(("name", "precision"), RTX)
def test_tensorrt_rtx_builds_it_or_says_why_not(
    vendor: Vendor, name: str, precision: str, tmp_path: Path
) -> None:
    kind = KINDS[name]
    source = tmp_path / "net.onnx"
    onnx.save(kind.make(), source)
    if kind.refusal(precision):
        return
    file = source if precision == "fp32" else derived(source, precision, "tensorrt")
    options = build(BuildOptions, {"precision": precision})
    if kind.rtx and precision in kind.rtx_refuses:
        with pytest.raises(BackendError, match=kind.rtx) as caught:
            build_engine(file, options, vendor=vendor)
        assert "\n" not in str(caught.value)
    else:
        assert build_engine(file, options, vendor=vendor).plan
