"""The builder on stand-ins of several releases: what one has is used, what it lacks is said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder_fakes import (
    PLAN,
    DataType,
    Layer,
    Network,
    Release,
    Tensor,
    convolution,
    parser_error,
    quantized,
    tensorrt_8_6,
    tensorrt_10,
    tensorrt_11,
)
from edge_inference.backends.trt.metadata import Environment, read_sidecar, verify_plan
from edge_inference.backends.trt.vendor import Vendor
from edge_inference.core.settings import build
from edge_inference.engines.build_options import BuildOptions
from edge_inference.engines.build_progress import Progress
from edge_inference.engines.builder import BuiltEngine, build_engine, write_engine
from edge_inference.engines.supervision import BuildCancelledError
from edge_inference.errors import BackendError

ORIN = Environment("tensorrt", "0", "Linux", "aarch64", "Orin", "8.7")


class Bench:
    """Builds the same file again and again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "model.onnx"
        self.file.write_bytes(b"not looked into by the stand-in")
        self.cache = folder / "timing" / "here.cache"
        self.told: list[Progress] = []

    def build(self, release: Release, **options: Any) -> BuiltEngine:
        return self.build_with(release, {}, **options)

    def build_with(self, release: Release, how: dict[str, Any], **options: Any) -> BuiltEngine:
        self.told = []
        return build_engine(
            self.file,
            build(BuildOptions, options),
            vendor=release.vendor(),
            progress=self.told.append,
            **how,
        )

    def fails(self, release: Release, **options: Any) -> str:
        with pytest.raises(BackendError) as caught:
            self.build(release, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)


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
def test_network_is_strongly_typed_where_that_exists(
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
def test_no_precision_flag_beside_strong_typing(
    bench: Bench, release: Callable[..., Release]
) -> None:
    made = release(network=convolution(DataType.HALF))
    bench.build(made, precision="fp16")
    assert made.config.flags == {"TF32"}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_onnx_must_be_in_the_promised_precision(bench: Bench, precision: str) -> None:
    sentence = bench.fails(tensorrt_11(), precision=precision)
    assert f"expected an {precision} ONNX" in sentence
    assert "derive" in sentence


def test_weak_typing_is_refused_where_it_is_gone(bench: Bench) -> None:
    assert "set typing to 'onnx'" in bench.fails(tensorrt_11(), typing="flags", precision="fp16")


def test_named_layers_stay_in_fp32(bench: Bench) -> None:
    release = tensorrt_10()
    bench.build(release, precision="fp16", typing="flags", keep_fp32=["c*", "shuffle"])
    conv, shuffle = release.network.layers
    assert conv.precision is DataType.FLOAT
    assert conv.output_types == {0: DataType.FLOAT}
    assert shuffle.precision is DataType.HALF  # moves values: nothing to compute
    assert {"FP16", "OBEY_PRECISION_CONSTRAINTS"} <= release.config.flags


def test_unknown_layer_to_keep_is_told_with_the_nearest(bench: Bench) -> None:
    sentence = bench.fails(tensorrt_8_6(), precision="fp16", keep_fp32=["konv"])
    assert "no layer is called 'konv'" in sentence
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


def test_quantised_onnx_needs_no_ranges(bench: Bench) -> None:
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
    assert release.config.hardware_compatibility_level.name == "SAME_COMPUTE_CAPABILITY"
    assert built.metadata.version_compatible
    assert built.metadata.hardware == "same"


def test_workspace_is_left_alone_by_default(bench: Bench) -> None:
    release = tensorrt_11()
    bench.build(release)
    assert release.config.pools == {}


def test_hardware_that_a_release_does_not_know(bench: Bench) -> None:
    sentence = bench.fails(tensorrt_8_6(), hardware="compute_capability")
    assert "no such compatibility; set it to 'same'" in sentence


def test_targets_are_for_tensorrt_rtx(bench: Bench) -> None:
    assert "leave targets empty" in bench.fails(tensorrt_11(), targets=["8.6"])


def test_dla_runs_what_it_can(bench: Bench) -> None:
    release = tensorrt_10(dla_cores=2)
    built = bench.build(release, device="dla1", precision="fp16")
    assert release.creation_flags == 1 << 0  # not strongly typed: a DLA is fed by flags
    assert release.config.default_device_type == "dla"
    assert release.config.DLA_core == 1
    assert {"GPU_FALLBACK", "FP16"} <= release.config.flags
    assert built.notes == ("dla1 takes 1 of 2 layers, the GPU the others",)


@pytest.mark.parametrize(
    ("cores", "precision", "words"),
    [
        (0, "fp16", "finds no DLA cores"),
        (1, "fp16", "finds 1 DLA cores"),
        (2, "fp32", "not in fp32"),
    ],
)
def test_dla_that_is_not_there(bench: Bench, cores: int, precision: str, words: str) -> None:
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


@pytest.mark.parametrize(
    ("error", "log", "words"),
    [
        (
            parser_error(node_name="last", node_operator="Wobble", desc='x && "No such plugin"'),
            [],
            "does not take the node 'last' (Wobble): No such plugin; export",
        ),
        (
            parser_error(desc="false"),  # a release that names nodes in its log only
            ['While parsing node number 7 [Unique -> "z"]:', '--- Begin node ---\nname: "u"\n'],
            "does not take the node 'u' (Unique): not supported; export",
        ),
        (
            parser_error(desc="", code="UNSUPPORTED_NODE"),
            ["While parsing node number 7 [Unique]:"],
            "does not take the node 'number 7' (Unique): unsupported node; export",
        ),
        (
            parser_error(
                desc="Assertion failed: a->b(&c): Failed", code="MODEL_DESERIALIZE_FAILED"
            ),
            [],
            "no whole ONNX model",
        ),
        (
            parser_error(desc="Failed to import initializer", code="INVALID_GRAPH"),
            ["WeightsContext.cpp:203: Failed to open file: /there/big.bin"],
            "weights lie in 'big.bin'",
        ),
        (
            parser_error(desc="Assertion failed: stat() == 0: It is a bad graph"),
            [],
            "does not take it: It is a bad graph; export it again",
        ),
    ],
)
def test_parser_errors_in_one_sentence(
    bench: Bench, error: Any, log: list[str], words: str
) -> None:
    sentence = bench.fails(tensorrt_11(parser_errors=[error], parser_log=log))
    assert words in sentence
    assert str(bench.file) in sentence


def test_parser_that_only_logs(bench: Bench) -> None:
    assert "does not take it: too bad" in bench.fails(tensorrt_11(parser_log=["too bad."]))


def test_file_without_outputs(bench: Bench) -> None:
    release = tensorrt_11(network=Network([], [], []))
    assert "expected an ONNX model, found no outputs" in bench.fails(release)


def test_missing_file(bench: Bench) -> None:
    bench.file.unlink()
    assert "no such file" in bench.fails(tensorrt_11())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "IBuilder: Error Code 4: API Usage Error (It is wrong. In validate at /a/b.cpp:9)",
            "built no engine: It is wrong; logging",
        ),
        (
            "1: [allocator.cpp::allocate::20] Error Code 1: Cuda Runtime (out of memory)",
            "built no engine: out of memory; close what else uses the memory",
        ),
        (
            "Error Code 1: Myelin ([tactic.cpp:16: run] No tactics within workspace limit.; More)",
            "built no engine: No tactics within workspace limit; raise workspace_mib",
        ),
        ("anything else", "built no engine: anything else; logging"),
    ],
)
def test_failed_build_tells_its_cause(bench: Bench, line: str, words: str) -> None:
    def build_nothing(release: Release) -> None:
        release.errors.add(line)
        release.errors.add("IBuilder: Error Code 2: what follows from it")

    assert words in bench.fails(tensorrt_11(build=build_nothing))


def test_failed_build_without_a_word(bench: Bench) -> None:
    assert "it gave no reason" in bench.fails(tensorrt_11(build=lambda _release: None))


def test_memory_of_the_machine_used_up(bench: Bench) -> None:
    def run_out(_release: Release) -> bytes:
        raise MemoryError("std::bad_alloc")

    sentence = bench.fails(tensorrt_11(build=run_out))
    assert "memory is used up" in sentence
    assert "workspace_mib" in sentence


def test_no_gpu_to_build_on(bench: Bench) -> None:
    release = tensorrt_11()
    vendor = release.vendor()

    def refuse(_logger: Any) -> None:
        release.errors.add("CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    vendor.trt.Builder = refuse
    with pytest.raises(BackendError, match=r"does not start building: CUDA.*35; build on the mach"):
        build_engine(bench.file, BuildOptions(), vendor=vendor)


def _with_steps(release: Release) -> bytes | None:
    return PLAN if all(release.steps()) else None


def test_progress_grows_to_one(bench: Bench) -> None:
    bench.build(tensorrt_11(build=_with_steps))
    fractions = [told.fraction for told in bench.told if told.fraction is not None]
    assert fractions == sorted(fractions)
    assert len(fractions) == len(bench.told) > 8
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert {"Building", "Timing", "done"} <= {told.phase for told in bench.told}


def test_progress_without_a_monitor_says_that_it_does_not_know(bench: Bench) -> None:
    bench.build(tensorrt_8_6())
    assert Progress("building", None) in bench.told
    assert bench.told[-1] == Progress("done", 1.0)


def test_cancelled_midway(bench: Bench) -> None:
    entered, asked = threading.Event(), threading.Event()
    going_on: list[bool] = []

    def slow(release: Release) -> bytes | None:
        for go_on in release.steps():
            going_on.append(go_on)
            if not go_on:
                return None
            entered.set()
            asked.wait()
        return PLAN

    def cancelled() -> bool:
        if entered.is_set():
            asked.set()
        return entered.is_set()

    how = {"cancelled": cancelled, "timing_cache": bench.cache}
    with pytest.raises(BuildCancelledError):
        bench.build_with(tensorrt_11(build=slow), how)
    assert going_on[0]
    assert not going_on[-1]
    assert not bench.cache.exists()


def test_timing_cache_is_made(bench: Bench) -> None:
    built = bench.build_with(tensorrt_8_6(), {"timing_cache": bench.cache})
    assert built.timing_cache == "new"
    assert bench.cache.read_bytes() == b"+measured"
    assert list(bench.cache.parent.iterdir()) == [bench.cache]


def test_timing_cache_is_used(bench: Bench) -> None:
    _fill(bench.cache, b"earlier")
    built = bench.build_with(tensorrt_11(), {"timing_cache": bench.cache})
    assert (built.timing_cache, built.notes) == ("used", ())
    assert bench.cache.read_bytes() == b"earlier+measured"


@pytest.mark.parametrize("content", [b"none", b"logged", b"another GPU"])
def test_timing_cache_that_does_not_fit_is_replaced(bench: Bench, content: bytes) -> None:
    _fill(bench.cache, content)
    built = bench.build_with(tensorrt_11(), {"timing_cache": bench.cache})
    assert built.timing_cache == "replaced"
    assert len(built.notes) == 1
    assert bench.cache.read_bytes() == b"+measured"


def test_build_that_fails_with_its_timing_cache_is_tried_without(bench: Bench) -> None:
    _fill(bench.cache, b"earlier")
    release = tensorrt_11(build=lambda release: PLAN if release.builds == 2 else None)
    built = bench.build_with(release, {"timing_cache": bench.cache})
    assert built.timing_cache == "replaced"
    assert "tried again without" in built.notes[0]
    assert bench.cache.read_bytes() == b"+measured"


def test_failed_build_leaves_the_timing_cache(bench: Bench) -> None:
    _fill(bench.cache, b"earlier")
    with pytest.raises(BackendError):
        bench.build_with(tensorrt_11(build=lambda _release: None), {"timing_cache": bench.cache})
    assert bench.cache.read_bytes() == b"earlier"


def test_timing_cache_that_cannot_be_written_is_a_note(bench: Bench) -> None:
    bench.cache.parent.write_text("a file where the folder should be")
    built = bench.build_with(tensorrt_11(), {"timing_cache": bench.cache})
    assert built.plan == PLAN
    assert any("not written" in note for note in built.notes)


def test_release_that_measures_later_needs_no_timing_cache(bench: Bench) -> None:
    release = tensorrt_11()
    vendor = release.vendor()
    vendor.trt.IRuntimeCache = object
    built = _built(bench, vendor, timing_cache=bench.cache)
    assert built.timing_cache == "none"
    assert not bench.cache.exists()


def test_layers_come_from_the_inspector_where_there_is_a_gpu(bench: Bench) -> None:
    layers = [{"Name": "conv", "LayerType": "CaskConvolution", "Weights": {"Type": "Half"}}]
    release = tensorrt_11(inspector_json=json.dumps({"Layers": layers}))
    built = bench.build_with(release, {"environment": ORIN})
    assert built.layer_source == built.metadata.layer_source == "inspector"
    assert built.metadata.layer_precisions == {"fp16": 1}


@pytest.mark.parametrize("words", [None, "no JSON"])
def test_layers_come_from_the_network_otherwise(bench: Bench, words: str | None) -> None:
    release = tensorrt_11(inspector_json=words)
    built = bench.build_with(release, {"environment": ORIN})
    assert built.layer_source == "network"
    assert built.metadata.layer_precisions == {"fp32": 1}


def test_layer_that_only_counts_indices_does_not_compute(bench: Bench) -> None:
    numbers = [Tensor("a", dtype=DataType.INT64), Tensor("b", dtype=DataType.INT64)]
    network = convolution()
    network.layers.append(Layer("add", [numbers[0]], [numbers[1]]))
    built = bench.build(tensorrt_11(network=network))
    assert built.layers[-1].precision == "int64"
    assert built.metadata.layer_precisions == {"fp32": 1}


def test_written_engine_is_read_back(bench: Bench, tmp_path: Path) -> None:
    built = bench.build_with(tensorrt_11(), {"environment": ORIN, "model": "tiny"})
    plan = write_engine(built, tmp_path / "engines" / "tiny.plan")
    metadata = read_sidecar(plan)
    assert verify_plan(plan, metadata) == PLAN
    assert metadata.model == "tiny"
    assert metadata.environment == ORIN
    assert metadata.inputs == {"image": ("float32", 1, 3, 8, 8)}
    assert metadata.outputs == {"result": ("float32", 1, 3, 8, 8)}
    assert sorted(path.name for path in plan.parent.iterdir()) == ["tiny.plan", "tiny.plan.json"]


def test_engine_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    built = bench.build(tensorrt_11())
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="cannot be written"):
        write_engine(built, tmp_path / "file" / "tiny.plan")


def _built(bench: Bench, vendor: Vendor, **how: Any) -> BuiltEngine:
    return build_engine(bench.file, BuildOptions(), vendor=vendor, **how)


def _fill(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
