"""The two int8 modes of a CPU without VNNI: derived files and reports."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.precision import int8_variants_of
from edge_inference.backends.cpu_instructions import CpuInstructions
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.core.models.variants import Variant
from edge_inference.engines.cache import artifacts
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import DerivedModel, ShippedFile, onnx_for
from edge_inference.engines.precision import int8_mode
from edge_inference.engines.precision.int8_mode import describe_int8_mode, mode_in_use, weight_bits
from edge_inference.engines.serving import preparation
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import artifact_for
from edge_inference.errors import ConfigError
from edge_inference.optimize.compare import CompareRequest
from edge_inference.optimize.images.image_set import ImageSet
from int8_sums import can_saturate, saturating_pair_sums

AVX2 = CpuInstructions("avx2", saturates=True)
VNNI = CpuInstructions("avx512_vnni", saturates=False)
ARM = CpuInstructions("asimddp", saturates=False)


@pytest.fixture
def model() -> ModelDescription:
    return find_model("efficientnet_lite0")


def set_cpu(cpu: CpuInstructions, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (int8_mode, artifacts):
        monkeypatch.setattr(module, "find_cpu_instructions", lambda: cpu)


@pytest.mark.parametrize(
    ("cpu", "mode", "bits", "in_use", "words"),
    [
        (AVX2, "exact", 8, "exact", "int8 exact, no VNNI"),
        (AVX2, "fast", 7, "fast", "int8 fast, 7-bit weights, no VNNI"),
        (VNNI, "exact", 8, None, "int8"),
        (VNNI, "fast", 8, None, "int8"),
        (ARM, "fast", 8, None, "int8"),
    ],
)
def test_only_a_cpu_that_saturates_has_two_modes(
    cpu: CpuInstructions, mode: str, bits: int, in_use: str | None, words: str
) -> None:
    assert weight_bits(mode, cpu) == bits
    assert mode_in_use(bits, cpu) == in_use
    assert describe_int8_mode(mode_in_use(bits, cpu)) == words


def test_an_unknown_mode_is_refused(model: ModelDescription) -> None:
    with pytest.raises(ConfigError, match=r"int8_mode: 'quick' is unknown"):
        artifact_for(EngineRequest(model, int8_mode="quick"), "ort", "int8")
    with pytest.raises(ConfigError, match=r"int8_modes: 'fats' is unknown.*did you mean 'fast'"):
        CompareRequest(model, ImageSet([], "none"), int8_modes=("fats",))


def test_each_mode_and_each_cpu_has_its_own_file(
    model: ModelDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = set()
    for cpu in (AVX2, VNNI):
        set_cpu(cpu, monkeypatch)
        for mode in ("exact", "fast"):
            artifact = artifact_for(EngineRequest(model, int8_mode=mode), "ort", "int8")
            assert isinstance(artifact, DerivedModel)
            keys.add(artifacts.key_of(artifact.parts()))
    assert len(keys) == 3  # with VNNI both modes are the same


@pytest.mark.parametrize(("precision", "target"), [("fp16", "onnxruntime"), ("int8", "tensorrt")])
def test_files_for_the_gpu_do_not_depend_on_the_cpu(
    precision: str, target: str, model: ModelDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = set()
    for cpu in (AVX2, VNNI):
        set_cpu(cpu, monkeypatch)
        artifact = onnx_for(model, precision, target)
        assert isinstance(artifact, DerivedModel)
        keys.add(artifacts.key_of(artifact.parts()))
    assert len(keys) == 1


def test_a_mode_applies_to_int8_on_the_cpu_only(
    model: ModelDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_cpu(AVX2, monkeypatch)
    fast = EngineRequest(model, int8_mode="fast")
    assert artifact_for(fast, "ort", "fp16") == artifact_for(EngineRequest(model), "ort", "fp16")
    assert artifact_for(fast, "ort-cuda", "int8") == onnx_for(model, "int8", "onnxruntime")


def test_fast_is_derived_for_a_model_with_an_int8_file_and_a_calibration(
    model: ModelDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_cpu(AVX2, monkeypatch)
    own = Variant("int8", model.variants["fp32"].file, "")
    both = dataclasses.replace(model, variants={**model.variants, "int8": own})
    assert artifact_for(EngineRequest(both), "ort", "int8") == ShippedFile(own)
    assert artifact_for(EngineRequest(both, int8_mode="fast"), "ort", "int8") == DerivedModel(
        both, "int8", "onnxruntime", 7
    )
    alone = dataclasses.replace(model, variants={"int8": own})
    assert artifact_for(EngineRequest(alone, int8_mode="fast"), "ort", "int8") == ShippedFile(own)


def test_a_child_process_makes_the_requested_mode(model: ModelDescription, tmp_path: Path) -> None:
    request = EngineRequest(model, "ort", "int8", int8_mode="fast")
    again, _ = preparation._from_json(preparation._to_json(request, ArtifactCache(tmp_path)))
    assert again.int8_mode == "fast"


def test_both_modes_are_compared_where_they_differ(
    model: ModelDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = CompareRequest(
        model, ImageSet([], "none"), ("ort", "trt"), int8_modes=("exact", "fast")
    )
    set_cpu(AVX2, monkeypatch)
    assert [candidate for candidate in request.candidates() if candidate[1] == "int8"] == [
        ("ort", "int8", "exact"),
        ("ort", "int8", "fast"),
        ("trt", "int8", None),
    ]
    set_cpu(VNNI, monkeypatch)
    assert [candidate for candidate in request.candidates() if candidate[1] == "int8"] == [
        ("ort", "int8", None),
        ("trt", "int8", None),
    ]


def test_the_claimed_speed_depends_on_the_cpu() -> None:
    assert [
        (variant.title, variant.weight_bits, variant.min_speedup)
        for variant in int8_variants_of(AVX2)
    ] == [
        ("int8-exact", 8, 1.05),
        ("int8-fast", 7, 1.4),
    ]
    for cpu in (VNNI, ARM):
        (variant,) = int8_variants_of(cpu)
        assert (variant.title, variant.weight_bits, variant.min_speedup) == ("int8", 8, 2.0)


def test_sums_of_two_products_saturate_like_the_instruction() -> None:
    def pair(one: tuple[int, int], other: tuple[int, int]) -> int:
        return int(saturating_pair_sums(np.array(one, np.uint8), np.array(other, np.int8)))

    assert pair((255, 255), (127, 127)) == 32767  # the exact sum is 64770
    assert pair((255, 255), (-128, -128)) == -32768
    assert pair((255, 1), (127, 127)) == 255 * 127 + 127
    assert pair((255, 255), (63, 63)) == 255 * 63 * 2
    assert pair((255, 255), (-64, -64)) == -32640
    assert pair((200, 100), (127, -128)) == 200 * 127 - 100 * 128
    assert can_saturate(np.array([64, 65], np.int8))
    assert not can_saturate(np.arange(-64, 65, dtype=np.int8))
