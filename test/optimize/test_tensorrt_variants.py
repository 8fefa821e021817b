"""TensorRT-RTX, which needs no GPU to build, builds what pruning and distillation make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

import gpu_kit
from edge_inference.backends.trt.layers import main_precision
from edge_inference.backends.trt.vendor import Vendor
from edge_inference.core.settings import build
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import BuiltEngine, build_engine
from edge_inference.engines.precision.derive import derive_model
from edge_inference.optimize.distillation.students import make_student
from edge_inference.optimize.export.model_folder import export_folder
from edge_inference.optimize.pruning.structured import StructuredPruning, prune_structured
from edge_inference.optimize.pruning.unstructured import UnstructuredPruning, prune_unstructured
from edge_inference.optimize.training.torch_model import TorchModel
from optimize_kit import digits, small_model

VARIANTS: dict[str, Callable[[TorchModel], TorchModel]] = {
    "pruned": lambda model: prune_structured(model, StructuredPruning(ratio=0.5), runs=None).model,
    "two of four": lambda model: (
        prune_unstructured(model, UnstructuredPruning(pattern="2:4"), runs=None).model
    ),
    "cnn student": lambda model: make_student(model, 0.5, "cnn"),
    "vit student": lambda model: make_student(model, 0.9, "vit"),
}


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    return gpu_kit.tensorrt_rtx()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_precision_is_built(vendor: Vendor, tmp_path: Path, variant: str) -> None:
    network = VARIANTS[variant](small_model(width=32))
    model = export_folder(network, tmp_path / "model", calibration=digits(64))

    def build_precision(precision: str, rest: str = "fp32") -> BuiltEngine:
        file = model.variants["fp32"].file
        if precision != "fp32":
            settings = dataclasses.replace(model.derive, int8_rest=rest)
            file = tmp_path / f"{precision}-{rest}.onnx"
            changed = dataclasses.replace(model, derive=settings)
            derive_model(changed, precision, "tensorrt", file)
        options = build(BuildOptions, {"precision": precision, "batch": [1, 2, 4]})
        return build_engine(file, options, vendor=vendor)

    for precision in ("fp32", "fp16", "int8"):
        built = build_precision(precision)
        assert built.plan
        assert main_precision(built.layers) == precision
    mixed = build_precision("int8", rest="fp16")
    assert {layer.precision for layer in mixed.layers if layer.computes} <= {"int8", "fp16"}
