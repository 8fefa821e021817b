"""The builder with fakes of several releases: it uses their members and reports missing ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder_bench import Bench
from builder_fakes import (
    PLAN,
    DataType,
    Layer,
    Release,
    Tensor,
    convolution,
    quantized,
    tensorrt_8_6,
    tensorrt_10,
    tensorrt_11,
    tensorrt_rtx,
)
from edge_inference.backends.trt.metadata import Environment


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("release", "flags"),
    [
        (tensorrt_8_6(), 1 << 0),  # explicit batch
        (tensorrt_10(), 1 << 1),  # strongly typed: its number differs between releases
        (tensorrt_11(), 1 << 0),
    ],
)
def test_network_is_strongly_typed_where_supported(
    bench: Bench, release: Release, flags: int
) -> None:
    assert bench.build(release).plan == PLAN
    assert release.creation_flags == flags


def test_flags_give_the_precision_where_strong_typing_is_missing(bench: Bench) -> None:
    release = tensorrt_8_6()
    bench.build(release, precision="fp16")
    assert {"FP16"} <= release.config.flags
    assert "INT8" not in release.config.flags


@pytest.mark.parametrize("release", [tensorrt_10, tensorrt_11])
def test_no_precision_flag_with_strong_typing(
    bench: Bench, release: Callable[..., Release]
) -> None:
    made = release(network=convolution(DataType.HALF))
    bench.build(made, precision="fp16")
    assert made.config.flags == {"TF32"}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_onnx_must_be_in_the_requested_precision(bench: Bench, precision: str) -> None:
    sentence = bench.fails(tensorrt_11(), precision=precision)
    assert f"expected an {precision} ONNX" in sentence
    assert "derive" in sentence


def test_weights_stored_as_float16_do_not_make_an_fp16_onnx(bench: Bench) -> None:
    network = convolution()
    stored, read = Tensor("stored", dtype=DataType.HALF), Tensor("read")
    network.layers.append(Layer("to fp32", [stored], [read], kind="SHUFFLE"))
    assert "expected an fp16 ONNX" in bench.fails(tensorrt_11(network=network), precision="fp16")


def test_weak_typing_is_refused_where_unsupported(bench: Bench) -> None:
    assert "set typing to 'onnx'" in bench.fails(tensorrt_11(), typing="flags", precision="fp16")


def test_named_layers_stay_in_fp32(bench: Bench) -> None:
    release = tensorrt_10()
    bench.build(release, precision="fp16", typing="flags", keep_fp32=["c*", "shuffle"])
    conv, shuffle = release.network.layers
    assert conv.precision is DataType.FLOAT
    assert conv.output_types == {0: DataType.FLOAT}
    assert shuffle.precision is DataType.HALF  # moves values: nothing to compute
    assert {"FP16", "OBEY_PRECISION_CONSTRAINTS"} <= release.config.flags


def test_unknown_layer_to_keep_is_an_error_with_the_nearest_names(bench: Bench) -> None:
    sentence = bench.fails(tensorrt_8_6(), precision="fp16", keep_fp32=["konv"])
    assert "no layer has the name 'konv'" in sentence
    assert "'conv'" in sentence


def test_calibrated_ranges_reach_the_tensors(bench: Bench) -> None:
    release = tensorrt_8_6()
    ranges = {"image": (-1.0, 2.0), "middle": (0.0, 6.0)}
    built = bench.build_with(release, {"ranges": ranges}, precision="int8", typing="flags")
    conv = release.network.layers[0]
    assert conv.get_input(0).range == (-1.0, 2.0)
    assert conv.get_output(0).range == (0.0, 6.0)
    assert {"INT8", "FP16"} <= release.config.flags
    assert built.notes == ("1 tensors have no calibrated range; their layers do not run in int8",)


def test_int8_by_flags_needs_ranges(bench: Bench) -> None:
    sentence = bench.fails(tensorrt_8_6(), precision="int8", typing="flags")
    assert "needs the value ranges of a calibration" in sentence


def test_quantized_onnx_needs_no_ranges(bench: Bench) -> None:
    release = tensorrt_8_6(network=quantized())
    built = bench.build(release, precision="int8")
    assert "INT8" in release.config.flags
    assert "FP16" not in release.config.flags
    assert built.metadata.layer_precisions == {"int8": 1}


def test_options_reach_the_configuration(bench: Bench) -> None:
    release = tensorrt_11()
    built = bench.build(
        release,
        tf32=False,
        sparse_weights=True,
        workspace_mib=64,
        optimization_level=5,
        version_compatible=True,
        exclude_lean_runtime=True,
        hardware="compute_capability",
    )
    assert release.config.flags == {
        "SPARSE_WEIGHTS",
        "VERSION_COMPATIBLE",
        "EXCLUDE_LEAN_RUNTIME",
    }
    assert release.config.pools == {"workspace": 64 << 20}
    assert release.config.builder_optimization_level == 5
    assert release.config.profiling_verbosity == "detailed"
    assert release.config.hardware_compatibility_level.name == "SAME_COMPUTE_CAPABILITY"
    assert built.metadata.version_compatible
    assert built.metadata.hardware == "same"


def test_workspace_has_no_limit_by_default(bench: Bench) -> None:
    release = tensorrt_11()
    bench.build(release)
    assert release.config.pools == {}


def test_unsupported_hardware_compatibility(bench: Bench) -> None:
    sentence = bench.fails(tensorrt_8_6(), hardware="compute_capability")
    assert "no such compatibility; set it to 'same'" in sentence


def test_targets_are_for_tensorrt_rtx(bench: Bench) -> None:
    assert "leave targets empty" in bench.fails(tensorrt_11(), targets=["8.6"])


def test_targets_of_tensorrt_rtx(bench: Bench) -> None:
    release = tensorrt_rtx()
    built = bench.build(release, targets=["8.6", "12.0"])
    assert release.config.num_compute_capabilities == 2
    assert release.config.targets == {0: "SM86", 1: "SM120"}
    assert (built.metadata.hardware, built.metadata.targets) == ("listed", ("8.6", "12.0"))
    assert "builds for 7.5, 8.6, 12.0, not for 8.7" in bench.fails(release, targets=["8.7"])


@pytest.mark.parametrize(
    ("compute_capability", "hardware", "targets"),
    [(None, "ampere_plus", ()), ("8.9", "ampere_plus", ()), ("7.5", "listed", ("7.5",))],
)
def test_tensorrt_rtx_builds_for_many_gpus_and_for_this_one(
    bench: Bench, compute_capability: str | None, hardware: str, targets: tuple[str, ...]
) -> None:
    here = Environment("tensorrt", "0", "Linux", "x86_64", "this GPU", compute_capability)
    built = bench.build_with(tensorrt_rtx(), {"environment": here})
    assert (built.metadata.hardware, built.metadata.targets) == (hardware, targets)
    assert built.metadata.incompatibility(here) is None


def test_dla_runs_what_it_can(bench: Bench) -> None:
    release = tensorrt_10(dla_cores=2)
    built = bench.build(release, device="dla1", precision="fp16")
    assert (
        release.creation_flags == 1 << 0
    )  # not strongly typed: a DLA takes its precision from flags
    assert release.config.default_device_type == "dla"
    assert release.config.DLA_core == 1
    assert {"GPU_FALLBACK", "FP16"} <= release.config.flags
    assert built.notes == ("dla1 runs 1 of 2 layers, the GPU the others",)
    assert built.metadata.options["dla_core"] == 1


@pytest.mark.parametrize(
    ("cores", "precision", "words"),
    [
        (0, "fp16", "finds no DLA cores"),
        (1, "fp16", "finds 1 DLA cores"),
        (2, "fp32", "not in fp32"),
    ],
)
def test_missing_dla(bench: Bench, cores: int, precision: str, words: str) -> None:
    sentence = bench.fails(tensorrt_10(dla_cores=cores), device="dla1", precision=precision)
    assert words in sentence
    assert "set device to 'gpu'" in sentence


def test_dynamic_axis_without_profile_never_reaches_tensorrt(bench: Bench) -> None:
    release = tensorrt_11(network=convolution(shape=(-1, 3, 8, 8), axes=("batch",)))
    sentence = bench.fails(release)
    assert "input 'image': axis 0 (batch) is dynamic" in sentence
    assert "--batch 1:4:8" in sentence
    assert release.builds == 0


def test_batch_becomes_a_profile(bench: Bench) -> None:
    release = tensorrt_11(network=convolution(shape=(-1, 3, 8, 8)))
    built = bench.build(release, batch=[1, 4, 8])
    expected = ((1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))
    assert release.config.profiles[0].shapes == {"image": expected}
    assert built.metadata.profiles == {"image": expected}


def test_shape_input_gets_values(bench: Bench) -> None:
    network = convolution()
    network.inputs.append(Tensor("size", (2,), DataType.INT64, is_shape_tensor=True))
    release = tensorrt_11(network=network)
    bench.build(release, profiles=["size:8x8,16x16,32x32"])
    assert release.config.profiles[0].values == {"size": ((8, 8), (16, 16), (32, 32))}
    assert release.config.profiles[0].shapes == {}


def test_profile_that_tensorrt_refuses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder_fakes.Config.add_optimization_profile", lambda *_: -1)
    release = tensorrt_11(network=convolution(shape=(-1, 3, 8, 8)))
    assert "TensorRT refuses them" in bench.fails(release, batch=[1])
