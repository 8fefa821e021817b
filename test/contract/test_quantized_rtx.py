"""Files that exporters quantized, built with the real TensorRT-RTX."""

from __future__ import annotations

from pathlib import Path

import pytest

import gpu_kit
from edge_inference.backends.trt.vendor import Vendor
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import BuiltEngine, build_engine
from edge_inference.engines.precision.tensorrt_form import write_for_tensorrt
from edge_inference.engines.quantized.quantized_file import look_at
from edge_inference.errors import BackendError
from quantized_models import LAYOUTS, write_layout

# layout -> the precision of both convolutions
PRECISION = {"weights only": "fp32", "float8": "fp8", "only TensorRT": "fp8"}


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    return gpu_kit.tensorrt_rtx()


def build(vendor: Vendor, file: Path) -> BuiltEngine:
    return build_engine(file, BuildOptions(precision="int8"), vendor=vendor)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_built_in_int8_or_refused(layout: str, vendor: Vendor, tmp_path: Path) -> None:
    file = write_layout(layout, tmp_path / "q.onnx")
    found = look_at(file)
    assert found is not None
    if found.obstacles or not found.kind:
        words = "cannot run it: " if found.obstacles else "expected an int8 ONNX, got one without"
        with pytest.raises(BackendError, match=words):
            build(vendor, file)
        return
    if found.changes:
        with pytest.raises(BackendError, match=r"needs .*; name it as variants\.int8 of a model"):
            build(vendor, file)
        write_for_tensorrt(file, tmp_path / "changed.onnx")
        file = tmp_path / "changed.onnx"
    layers = build(vendor, file).layers
    convolutions = [layer.precision for layer in layers if layer.kind == "CONVOLUTION"]
    assert convolutions == [PRECISION.get(layout, "int8")] * 2
