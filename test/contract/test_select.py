"""The choice of a backend, and what is said about it."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edge_inference.backends import select
from edge_inference.backends.select import BACKEND_NAMES, select_backend
from edge_inference.core.model import ModelDescription, Variant, find_model
from edge_inference.errors import BackendError, ModelError, PluginError


@pytest.fixture
def model() -> ModelDescription:
    return find_model("efficientnet_lite0")


def with_variants(model: ModelDescription, *precisions: str) -> ModelDescription:
    """Give the model more precisions; they share the file, as only the choice is looked at."""
    (real,) = model.variants.values()
    variants = {name: Variant(name, real.file, real.sha256) for name in precisions}
    return dataclasses.replace(model, variants=variants)


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with ONNX Runtime for the CPU and no TensorRT, whatever this one has."""
    find_spec = importlib.util.find_spec
    vendor = ("tensorrt", "pycuda")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in vendor else find_spec(name)
    )
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])


@pytest.mark.usefixtures("cpu_only")
def test_auto_says_what_it_picked_and_why_not_the_others(model: ModelDescription) -> None:
    chosen = select_backend("auto", model)
    assert (chosen.name, chosen.precision) == ("ort", "fp32")
    assert "backend ort: first of the automatic order that can run" in chosen.reason
    assert "precision fp32: the only variant" in chosen.reason
    assert "trt not available: Python module tensorrt and pycuda not installed" in chosen.reason
    assert "ort-cuda not available: the installed ONNX Runtime has no CUDA" in chosen.reason
    with chosen.backend as backend:
        assert "CPUExecutionProvider" in backend.describe()
        assert "fp32" in backend.describe()


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize(
    ("name", "reason"), [("trt", "tensorrt and pycuda not installed"), ("ort-cuda", "no CUDA")]
)
def test_a_backend_that_cannot_run_is_refused(
    model: ModelDescription, name: str, reason: str
) -> None:
    with pytest.raises(BackendError, match=reason):
        select_backend(name, model)


def test_tensorrt_alone_is_not_enough(
    model: ModelDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(BackendError, match="has no TensorRT backend"):
        select_backend("trt", model)


def test_a_provider_without_a_driver_is_not_chosen(
    model: ModelDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)

    def no_driver(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(select.ctypes, "CDLL", no_driver)
    assert "no NVIDIA driver" in select_backend("auto", model).reason


@pytest.mark.usefixtures("cpu_only")
def test_without_onnxruntime_nothing_runs(
    model: ModelDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        select_backend("auto", model)


def test_an_unknown_backend_is_refused_with_a_suggestion(model: ModelDescription) -> None:
    with pytest.raises(PluginError, match="unknown backend 'orr'; did you mean 'ort'"):
        select_backend("orr", model)


def test_the_null_backend_has_the_models_tensors(model: ModelDescription) -> None:
    with (
        select_backend("null", model).backend as null,
        select_backend("ort", model).backend as real,
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
        (("int8", "fp32"), "int8", "int8", "asked for"),
    ],
)
def test_the_precision(
    model: ModelDescription, has: tuple[str, ...], asked: str, got: str, reason: str
) -> None:
    chosen = select_backend("ort", with_variants(model, *has), asked)
    assert chosen.precision == got
    assert f"precision {got}: {reason}" in chosen.reason


@pytest.mark.parametrize("precision", ["fp16", "fp8", ""])
def test_a_precision_that_is_not_there_lists_the_variants(
    model: ModelDescription, precision: str
) -> None:
    with pytest.raises(BackendError, match="it has int8, fp32"):
        select_backend("ort", with_variants(model, "int8", "fp32"), precision)


def test_altered_weights_are_not_opened(model: ModelDescription, tmp_path: Path) -> None:
    other = tmp_path / "x.onnx"
    other.write_bytes(b"something else")
    variant = dataclasses.replace(model.variants["fp32"], file=other)
    with pytest.raises(ModelError, match="not the one described"):
        select_backend("ort", dataclasses.replace(model, variants={"fp32": variant}))


def test_every_name_is_known() -> None:
    assert BACKEND_NAMES == ("auto", "trt", "ort-cuda", "ort", "null")
