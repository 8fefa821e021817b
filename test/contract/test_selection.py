"""The selection of a backend, and its reason."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edge_inference.backends import gpu
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.core.models.variants import Derivation, Variant
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving import backend_table
from edge_inference.engines.serving import selection as select_module
from edge_inference.engines.serving.backend_table import BACKENDS, EngineRequest
from edge_inference.engines.serving.selection import (
    Selection,
    prepare,
    select_backend,
)
from edge_inference.errors import BackendError, ModelError, PluginError

Select = Callable[..., Selection]


@pytest.fixture
def model() -> ModelDescription:
    return find_model("efficientnet_lite0")


def no_driver(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


@pytest.fixture
def select(tmp_path: Path) -> Select:
    """Select with an empty cache."""

    def choose(name: str, model: ModelDescription, precision: str = "auto") -> Selection:
        return select_backend(
            EngineRequest(model, name, precision), ArtifactCache(tmp_path / "cache")
        )

    return choose


def with_variants(model: ModelDescription, *precisions: str) -> ModelDescription:
    """Give the model more precisions; they share the file, as the test needs only the selection."""
    (real,) = model.variants.values()
    variants = {name: Variant(name, real.file, real.sha256) for name in precisions}
    return dataclasses.replace(model, variants=variants)


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with ONNX Runtime for the CPU and no GPU, independent of this machine."""
    monkeypatch.setattr(gpu.ctypes, "CDLL", no_driver)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])


@pytest.mark.usefixtures("cpu_only")
def test_auto_has_a_reason(model: ModelDescription, select: Select) -> None:
    chosen = select("auto", model)
    assert (chosen.name, chosen.precision) == ("ort", "fp32")
    assert "backend ort: first of the automatic order that can run" in chosen.reason
    assert "precision fp32: the only variant" in chosen.reason
    assert "trt not available: no NVIDIA driver" in chosen.reason
    assert "ort-cuda not available: the installed ONNX Runtime has no CUDA" in chosen.reason
    with chosen.backend as backend:
        assert "CPUExecutionProvider" in backend.describe()
        assert "fp32" in backend.describe()


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize(("name", "reason"), [("trt", "no NVIDIA driver"), ("ort-cuda", "no CUDA")])
def test_a_backend_that_cannot_run_is_refused(
    model: ModelDescription, select: Select, name: str, reason: str
) -> None:
    with pytest.raises(BackendError, match=reason):
        select(name, model)


def test_a_gpu_without_pycuda_is_not_enough(
    model: ModelDescription, select: Select, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_table, "find_gpu", lambda: gpu.Gpu(0, "Orin", "8.7"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="trt not available: Python module pycuda not inst"):
        select("trt", model)


def test_a_provider_without_a_driver_is_not_selected(
    model: ModelDescription, select: Select, monkeypatch: pytest.MonkeyPatch
) -> None:
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)

    monkeypatch.setattr(gpu.ctypes, "CDLL", no_driver)
    assert "no NVIDIA driver" in select("auto", model).reason


@pytest.mark.usefixtures("cpu_only")
def test_without_onnxruntime_nothing_runs(
    model: ModelDescription, select: Select, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        select("auto", model)


def test_an_unknown_backend_is_refused_with_a_suggestion(
    model: ModelDescription, select: Select
) -> None:
    with pytest.raises(PluginError, match="unknown backend 'orr'; did you mean 'ort'"):
        select("orr", model)


def test_the_null_backend_has_the_models_tensors(model: ModelDescription, select: Select) -> None:
    with (
        select("null", model).backend as null,
        select("ort", model).backend as real,
    ):
        assert (null.inputs, null.outputs) == (real.inputs, real.outputs)
        output = null.infer({"image": np.ones(model.input.shape, np.float32)})
    assert output["logits"].shape == (1, 1000)


@pytest.mark.parametrize(
    ("has", "asked", "got", "reason"),
    [
        (("fp32",), "auto", "fp32", "the only variant"),
        (("int8",), "auto", "int8", "the only variant"),
        (("int8", "fp16", "fp32"), "auto", "fp32", "the most accurate variant"),
        (("int8", "fp16"), "auto", "fp16", "the most accurate variant"),
        (("int8", "fp32"), "int8", "int8", "requested"),
    ],
)
def test_the_precision(
    model: ModelDescription, select: Select, has: tuple[str, ...], asked: str, got: str, reason: str
) -> None:
    chosen = select("ort", with_variants(model, *has), asked)
    assert chosen.precision == got
    assert f"precision {got}: {reason}" in chosen.reason


@pytest.mark.parametrize(
    ("variants", "chosen"), [(("fp32",), "fp16"), (("fp16",), "fp16"), (("int8",), "int8")]
)
def test_the_default_precision_must_be_available(
    model: ModelDescription,
    select: Select,
    monkeypatch: pytest.MonkeyPatch,
    variants: tuple[str, ...],
    chosen: str,
) -> None:
    *_, last = select_module.AUTOMATIC_ORDER
    usual = dataclasses.replace(last, precision="fp16")
    monkeypatch.setattr(select_module, "AUTOMATIC_ORDER", (usual,))
    assert select("auto", with_variants(model, *variants)).precision == chosen


@pytest.mark.parametrize("precision", ["fp32", "fp8", ""])
def test_the_error_for_a_missing_precision_lists_the_variants(
    model: ModelDescription, select: Select, precision: str
) -> None:
    with pytest.raises(ModelError, match="it has fp16, int8; choose one of them"):
        select("ort", with_variants(model, "int8", "fp16"), precision)


def test_the_error_for_int8_without_calibration_has_a_hint(
    model: ModelDescription, select: Select
) -> None:
    without = dataclasses.replace(model, derive=Derivation())
    with pytest.raises(ModelError, match="edge-inference quantize efficientnet_lite0"):
        select("ort", without, "int8")


def test_a_derivable_precision_must_be_made_first(model: ModelDescription, select: Select) -> None:
    chosen = select("ort", model, "fp16")
    assert (chosen.name, chosen.precision, chosen.backend) == ("ort", "fp16", None)


def test_a_missing_file_is_made_once(model: ModelDescription, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    request = EngineRequest(model, "ort", "fp16")
    phases = []
    made = prepare(request, cache, lambda phase, fraction: phases.append(phase))
    assert phases == ["deriving fp16"]
    with made.backend as backend:
        output = backend.infer({"image": np.ones(model.input.shape, np.float32)})
    assert output["logits"].shape == (1, 1000)
    again = prepare(request, cache, lambda phase, fraction: phases.append(phase))
    assert phases == ["deriving fp16"]
    assert again.artifact.find(cache) == made.artifact.find(cache)


def test_altered_weights_are_refused(
    model: ModelDescription, select: Select, tmp_path: Path
) -> None:
    other = tmp_path / "x.onnx"
    other.write_bytes(b"something else")
    variant = dataclasses.replace(model.variants["fp32"], file=other)
    with pytest.raises(ModelError, match="wrong checksum"):
        select("ort", dataclasses.replace(model, variants={"fp32": variant}))


def test_every_name_is_known() -> None:
    assert list(BACKENDS.rows()) == ["trt", "ort-cuda", "ort", "null"]
