"""Which file of a model an engine gets, by how the files are quantized."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_inference.backends.trt.metadata import Environment
from edge_inference.core.checksum import sha256_of
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.variants import Derivation, Variant
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.network import read_network
from edge_inference.engines.cache.artifact_cache import ArtifactCache, key_of
from edge_inference.engines.cache.artifacts import (
    DerivedModel,
    EnginePlan,
    ShippedFile,
    onnx_for,
)
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.quantized.quantized_file import look_at
from edge_inference.engines.serving import selection as selection_module
from edge_inference.engines.serving.backend_table import AUTOMATIC_ORDER, EngineRequest
from edge_inference.engines.serving.selection import select_backend
from edge_inference.errors import BackendError, ConfigError, ModelError
from edge_inference.optimize.calibrate import calibrate_model
from edge_inference.optimize.quantize import QuantizeRequest, quantize
from quantized_models import LAYOUTS, write_layout
from small_model import write_model

FILE, CHANGED = "file", "changed"
# layout -> what TensorRT gets: the file, the file in another form, or a part of the refusal
FOR_TENSORRT = {
    "fp32": "it is not quantized; name it as variants.fp32",
    "pt2e symmetric": FILE,
    "pt2e per tensor": FILE,
    "modelopt": FILE,
    "pt2e asymmetric": "int8 activations with the zero point -128",
    "pt2e x86": "uint8 activations with the zero point 0",
    "fx": "uint8 activations with the zero point 0",
    "fx symmetric": CHANGED,
    "fx around 128": CHANGED,
    "ort u8s8": "uint8 activations with the zero point 0",
    "ort s8s8": "int8 activations with the zero point -128",
    "ort symmetric": CHANGED,
    "ort symmetric per tensor": CHANGED,
    "ort around 128": CHANGED,
    "uint8 from 0": "uint8 activations with the zero point 0",
    "no zero point": "uint8 activations with the zero point 0",
    "uint8 weights": CHANGED,
    "asymmetric weights": CHANGED,
    "asymmetric numbers": CHANGED,
    "int4 weights": CHANGED,
    "ort operators": CHANGED,
    "int16 activations": "int16 activations with the zero point 0",
    "weights only": FILE,
    "QOperator": "TensorRT has no QLinearConv",
    "dynamic": "TensorRT has no DynamicQuantizeLinear, ConvInteger",
    "float8": FILE,
    "only TensorRT": FILE,
}
NOT_FOR_ONNXRUNTIME = {
    "float8": "computes float8e4m3fn activations wrongly; name it as variants.int8.tensorrt",
    "only TensorRT": "has no TRT_FP8QuantizeLinear, TRT_FP8DequantizeLinear; name it as",
}
HINT = "add an ONNX file quantized with Q/DQ pairs of signed numbers around 0"


def variant_of(layout: str, folder: Path, precision: str = "int8", **more: Any) -> Variant:
    file = write_layout(layout, folder / f"{layout.replace(' ', '_')}-{precision}.onnx")
    return Variant(precision, file, sha256_of(file), **more)


@pytest.fixture
def model(tmp_path: Path) -> ModelDescription:
    """A model with an fp32 variant and a calibration."""
    found = load_model(write_model(tmp_path / "small"))
    (found.folder / "calibration.json").write_text("{}")
    return dataclasses.replace(found, derive=Derivation(calibration="calibration.json"))


def with_int8(
    model: ModelDescription, variant: Variant, *, alone: bool = False
) -> ModelDescription:
    fp32 = {} if alone else dict(model.variants)
    return dataclasses.replace(model, variants={**fp32, "int8": variant})


def test_the_table_has_every_layout() -> None:
    assert list(FOR_TENSORRT) == list(LAYOUTS)


@pytest.mark.parametrize("layout", FOR_TENSORRT)
def test_tensorrt_gets_the_file_or_a_sentence(
    layout: str, model: ModelDescription, tmp_path: Path
) -> None:
    variant = variant_of(layout, tmp_path)
    alone = with_int8(model, variant, alone=True)
    expected = FOR_TENSORRT[layout]
    if expected == FILE:
        assert onnx_for(alone, "int8", "tensorrt") == ShippedFile(variant)
    elif expected == CHANGED:
        found = onnx_for(alone, "int8", "tensorrt")
        assert isinstance(found, DerivedModel)
        assert found.quantized == variant
        assert found.reason.startswith(f"{variant.file.name} with ")
    else:
        with pytest.raises(ModelError) as caught:
            onnx_for(alone, "int8", "tensorrt")
        sentence = str(caught.value)
        assert f"variants.int8: {variant.file.name} does not fit TensorRT: {expected}" in sentence
        assert HINT in sentence or layout == "fp32"


@pytest.mark.parametrize("layout", FOR_TENSORRT)
def test_what_does_not_fit_is_derived_from_fp32_where_that_is_possible(
    layout: str, model: ModelDescription, tmp_path: Path
) -> None:
    variant = variant_of(layout, tmp_path)
    found = onnx_for(with_int8(model, variant), "int8", "tensorrt")
    expected = FOR_TENSORRT[layout]
    is_derived = isinstance(found, DerivedModel) and found.quantized is None
    assert is_derived == (expected not in (FILE, CHANGED))
    if is_derived:
        assert found.reason.startswith(f"derived from fp32, as {variant.file.name} does not fit: ")


@pytest.mark.parametrize("layout", FOR_TENSORRT)
def test_onnx_runtime_gets_the_file_or_a_sentence(
    layout: str, model: ModelDescription, tmp_path: Path
) -> None:
    variant = variant_of(layout, tmp_path)
    alone = with_int8(model, variant, alone=True)
    if layout in NOT_FOR_ONNXRUNTIME:
        with pytest.raises(ModelError, match=NOT_FOR_ONNXRUNTIME[layout]):
            onnx_for(alone, "int8", "onnxruntime")
        derived = onnx_for(with_int8(model, variant), "int8", "onnxruntime")
        assert isinstance(derived, DerivedModel)
        assert derived.quantized is None
        return
    found = onnx_for(alone, "int8", "onnxruntime")
    assert found == ShippedFile(variant)
    if layout == "fp32":
        assert "is not quantized; name it as variants.fp32 in model.yaml" in found.reason
    else:
        description = look_at(variant.file)
        assert description is not None
        assert found.reason == f"{variant.file.name}: {description.describe()}"


def test_a_file_for_tensorrt_has_priority_there(model: ModelDescription, tmp_path: Path) -> None:
    own = variant_of("modelopt", tmp_path, "int8.tensorrt")
    for layout in ("ort u8s8", "pt2e symmetric"):
        both = with_int8(model, variant_of(layout, tmp_path, tensorrt=own))
        assert onnx_for(both, "int8", "tensorrt") == ShippedFile(own)
        assert onnx_for(both, "int8", "onnxruntime") == ShippedFile(both.variants["int8"])


def test_a_file_for_tensorrt_that_does_not_fit_is_not_replaced_in_silence(
    model: ModelDescription, tmp_path: Path
) -> None:
    own = variant_of("ort u8s8", tmp_path, "int8.tensorrt")
    both = with_int8(model, variant_of("pt2e symmetric", tmp_path, tensorrt=own))
    with pytest.raises(ModelError, match=r"variants\.int8\.tensorrt: .* does not fit TensorRT"):
        onnx_for(both, "int8", "tensorrt")


def test_the_changed_form_is_made_once_and_belongs_to_the_file(
    model: ModelDescription, tmp_path: Path
) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    variant = variant_of("ort around 128", tmp_path)
    artifact = onnx_for(with_int8(model, variant, alone=True), "int8", "tensorrt")
    assert artifact.find(cache) is None
    file = artifact.make(cache, lambda phase, fraction: None, lambda: False)
    found = look_at(file)
    assert found is not None
    assert found.fits_tensorrt
    assert artifact.find(cache) == file
    variant.file.write_bytes(b"another file")
    cache.remove(key_of(artifact.parts()))
    with pytest.raises(ModelError, match="wrong checksum"):
        artifact.make(cache, lambda phase, fraction: None, lambda: False)


def test_another_file_is_another_plan(model: ModelDescription, tmp_path: Path) -> None:
    environment = Environment.here("tensorrt", "10.3.0", "Orin", "8.7")
    layouts = ("pt2e symmetric", "modelopt", "ort symmetric", "uint8 weights", "ort u8s8")
    keys = {
        key_of(
            EnginePlan(
                model,
                onnx_for(with_int8(model, variant_of(layout, tmp_path)), "int8", "tensorrt"),
                BuildOptions(precision="int8"),
                environment,
            ).parts()
        )
        for layout in layouts
    }
    assert len(keys) == len(layouts)


def test_a_quantized_file_that_is_named_as_fp32(model: ModelDescription, tmp_path: Path) -> None:
    wrong = variant_of("ort u8s8", tmp_path, "fp32")
    named = dataclasses.replace(model, variants={"fp32": wrong})
    reason = onnx_for(named, "fp32", "onnxruntime").reason
    assert "variants.fp32: ort_u8s8-fp32.onnx is quantized" in reason
    assert "name it as variants.int8 in model.yaml" in reason
    words = "expected an fp32 network to derive .* from, got one that is quantized already"
    for precision in ("fp16", "int8"):
        with pytest.raises(ModelError, match=words):
            onnx_for(named, precision, "onnxruntime")
    without_calibration = dataclasses.replace(named, derive=Derivation())
    with pytest.raises(ModelError, match=words):
        onnx_for(without_calibration, "int8", "tensorrt")


@pytest.mark.parametrize("layout", ["ort u8s8", "QOperator", "dynamic", "modelopt", "float8"])
def test_a_quantized_file_is_not_quantized_again(
    layout: str, model: ModelDescription, tmp_path: Path
) -> None:
    wrong = variant_of(layout, tmp_path, "fp32")
    named = dataclasses.replace(model, variants={"fp32": wrong})
    words = "quantized already .*; name it as variants.int8 in model.yaml, and the fp32 export"
    for precision in ("fp16", "int8"):
        with pytest.raises(ModelError, match=words):
            derive(wrong.file, precision, "onnxruntime", tmp_path / "derived.onnx")
        request = QuantizeRequest(named, tmp_path / "out", precision, calibration=str(tmp_path))
        with pytest.raises(ModelError, match=words):
            quantize(request)
    with pytest.raises(ModelError, match=words):
        calibrate_model(named, [], "no images")
    assert not (tmp_path / "out").exists()


def test_fp16_is_derived_of_a_file_with_quantized_weights_only(tmp_path: Path) -> None:
    file = write_layout("weights only", tmp_path / "w.onnx")
    derive(file, "fp16", "tensorrt", tmp_path / "fp16.onnx")
    with pytest.raises(ModelError, match="quantized already"):
        derive(
            file,
            "int8",
            "tensorrt",
            tmp_path / "int8.onnx",
            calibration=Calibration({}, "", "", 0, "", {}),
        )


def test_the_second_file_is_read_and_verified(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "small")
    first = variant_of("ort u8s8", folder)
    second = variant_of("modelopt", folder, "int8.tensorrt")
    text = (folder / "model.yaml").read_text()

    def describe(precision: str, digest: str) -> None:
        section = (
            f"  {precision}:\n    file: {first.file.name}\n    sha256: {first.sha256}\n"
            f"    tensorrt: {{file: {second.file.name}, sha256: {digest}}}\n\ngolden:\n"
        )
        (folder / "model.yaml").write_text(text.replace("\ngolden:\n", section, 1))

    describe("int8", second.sha256)
    found = load_model(folder)
    found.verify_files()
    assert found.variants["int8"].tensorrt == second
    describe("int8", first.sha256)
    with pytest.raises(ModelError, match=r"modelopt-int8\.tensorrt\.onnx: wrong checksum"):
        load_model(folder).verify_files()
    describe("fp16", second.sha256)
    with pytest.raises(ConfigError, match="tensorrt"):
        load_model(folder)


def test_auto_goes_on_to_the_backend_that_can_run_the_file(
    model: ModelDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt = dataclasses.replace(
        AUTOMATIC_ORDER[0],
        unavailable_reason=lambda: None,
        artifact=lambda request, precision: onnx_for(request.model, precision, "tensorrt"),
    )
    order = (tensorrt, AUTOMATIC_ORDER[2])
    monkeypatch.setattr(selection_module, "AUTOMATIC_ORDER", order)
    alone = with_int8(model, variant_of("ort u8s8", tmp_path), alone=True)
    chosen = select_backend(EngineRequest(alone), ArtifactCache(tmp_path / "cache"))
    assert (chosen.name, chosen.precision) == ("ort", "int8")
    assert "ort_u8s8-int8.onnx: Q/DQ, asymmetric uint8 activations" in chosen.reason
    assert "trt not possible: model small: variants.int8: ort_u8s8-int8.onnx" in chosen.reason


@pytest.mark.parametrize("layout", FOR_TENSORRT)
def test_the_builder_refuses_a_file_that_does_not_fit(layout: str, tmp_path: Path) -> None:
    """Before TensorRT reads it: its parser takes uint8 with the zero point 0 for int8."""
    file = write_layout(layout, tmp_path / "q.onnx")
    vendor: Any = SimpleNamespace(title="TensorRT 10.3")  # nothing of TensorRT may be called
    expected = FOR_TENSORRT[layout]
    if expected == FILE or layout == "fp32":
        with pytest.raises(AttributeError):
            read_network(vendor, None, file, strongly_typed=True)
        return
    with pytest.raises(BackendError) as caught:
        read_network(vendor, None, file, strongly_typed=True)
    if expected == CHANGED:
        assert f"{file}: TensorRT 10.3 needs " in str(caught.value)
        assert "name it as variants.int8 of a model" in str(caught.value)
    else:
        assert f"{file}: TensorRT 10.3 cannot run it: {expected}" in str(caught.value)
