"""Results of builds: errors, progress, timing cache, files."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from builder_bench import Bench
from builder_fakes import (
    PLAN,
    DataType,
    Layer,
    Network,
    Release,
    Tensor,
    convolution,
    parser_error,
    tensorrt_8_6,
    tensorrt_10,
    tensorrt_11,
)
from edge_inference.backends.trt.metadata import (
    Environment,
    read_sidecar,
    sidecar_of,
    verify_plan,
)
from edge_inference.backends.trt.vendor import Vendor
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.build_progress import BuildProgress
from edge_inference.engines.build.builder import BuiltEngine, build_engine, write_engine
from edge_inference.errors import BackendError, CancelledError, EngineFileError

ORIN = Environment("tensorrt", "0", "Linux", "aarch64", "Orin", "8.7")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("error", "log", "words"),
    [
        (
            parser_error(node_name="last", node_operator="Wobble", desc='x && "No such plugin"'),
            [],
            "its node 'last' (Wobble) needs an operator that TensorRT 0 does not have; export",
        ),
        (
            parser_error(desc="false"),  # a release that names nodes in its log only
            ['While parsing node number 7 [Unique -> "z"]:', '--- Begin node ---\nname: "u"\n'],
            "its node 'u' (Unique) needs an operator that TensorRT 0 does not have; export",
        ),
        (
            parser_error(desc="", code="UNSUPPORTED_NODE"),
            ["While parsing node number 7 [Unique]:"],
            "its node 'number 7' (Unique) needs an operator that TensorRT 0 does not have; export",
        ),
        (
            parser_error(
                desc="Assertion failed: a->b(&c): Failed", code="MODEL_DESERIALIZE_FAILED"
            ),
            [],
            "cannot read it as an ONNX model",
        ),
        (
            parser_error(desc="Failed to import initializer", code="INVALID_GRAPH"),
            ["WeightsContext.cpp:203: Failed to open file: /there/big.bin"],
            "cannot open the file of its weights, 'big.bin'",
        ),
        (
            parser_error(desc="Assertion failed: stat() == 0: It is a bad graph"),
            [],
            "cannot parse it: It is a bad graph; export",
        ),
    ],
)
def test_parser_error_is_one_sentence(bench: Bench, error: Any, log: list[str], words: str) -> None:
    sentence = bench.fails(tensorrt_11(parser_errors=[error], parser_log=log))
    assert words in sentence
    assert str(bench.file) in sentence


def test_parser_that_only_logs(bench: Bench) -> None:
    assert "cannot parse it: too bad" in bench.fails(tensorrt_11(parser_log=["too bad."]))


def test_file_without_outputs(bench: Bench) -> None:
    release = tensorrt_11(network=Network([], [], []))
    assert "expected an ONNX model with outputs, got one without" in bench.fails(release)


def test_missing_file(bench: Bench) -> None:
    bench.file.unlink()
    assert "no such file" in bench.fails(tensorrt_11())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "IBuilder: Error Code 4: API Usage Error (It is wrong. In validate at /a/b.cpp:9)",
            "built no engine: It is wrong; export the model without",
        ),
        (
            "1: [allocator.cpp::allocate::20] Error Code 1: Cuda Runtime (out of memory)",
            "built no engine: out of memory; close other programs",
        ),
        (
            "Error Code 1: Myelin ([tactic.cpp:16: run] No tactics within workspace limit.; More)",
            "built no engine: No tactics within workspace limit; raise workspace_mib",
        ),
        ("anything else", "built no engine: anything else; logging"),
    ],
)
def test_failed_build_has_its_cause(bench: Bench, line: str, words: str) -> None:
    def build_nothing(release: Release) -> None:
        release.errors.add(line)
        release.errors.add("IBuilder: Error Code 2: what follows from it")

    assert words in bench.fails(tensorrt_11(build=build_nothing))


def test_failed_build_without_a_reason(bench: Bench) -> None:
    release = tensorrt_11(build=lambda _release: None)
    assert "TensorRT gave no reason" in bench.fails(release)
    assert release.builds == 1


def test_a_machine_without_free_memory(bench: Bench) -> None:
    def run_out(_release: Release) -> bytes:
        raise MemoryError("std::bad_alloc")

    sentence = bench.fails(tensorrt_11(build=run_out))
    assert "has no memory left" in sentence
    assert "workspace_mib" in sentence


def test_build_without_a_gpu(bench: Bench) -> None:
    release = tensorrt_11()
    vendor = release.vendor()

    def refuse(_logger: Any) -> None:
        release.errors.add("CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    vendor.trt.Builder = refuse
    with pytest.raises(BackendError, match=r"cannot create a builder: CUDA.*35; build on the mach"):
        build_engine(bench.file, BuildOptions(), vendor=vendor)


def _with_steps(release: Release) -> bytes | None:
    return PLAN if all(release.steps()) else None


def test_progress_grows_to_one(bench: Bench) -> None:
    bench.build(tensorrt_11(build=_with_steps))
    fractions = [each.fraction for each in bench.reports if each.fraction is not None]
    assert fractions == sorted(fractions)
    assert len(fractions) == len(bench.reports) > 8
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert {"Building", "Timing", "done"} <= {each.phase for each in bench.reports}


def test_progress_without_a_monitor_is_unknown(bench: Bench) -> None:
    bench.build(tensorrt_8_6())
    assert BuildProgress("building", None) in bench.reports
    assert bench.reports[-1] == BuildProgress("done", 1.0)


def test_a_build_can_be_cancelled(bench: Bench) -> None:
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
    with pytest.raises(CancelledError):
        bench.build_with(tensorrt_11(build=slow), how)
    assert going_on[0]
    assert not going_on[-1]
    assert not bench.cache.exists()


def test_build_that_ends_after_cancelling_writes_nothing(bench: Bench) -> None:
    entered = threading.Event()

    def finish_all_the_same(release: Release) -> bytes:
        entered.set()
        while release.config.progress_monitor.step_complete("Building", 0):
            pass  # until it is cancelled
        return PLAN

    how = {"cancelled": entered.is_set, "timing_cache": bench.cache}
    with pytest.raises(CancelledError):
        bench.build_with(tensorrt_11(build=finish_all_the_same), how)
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


def test_build_that_fails_with_its_timing_cache_is_repeated_without(bench: Bench) -> None:
    _fill(bench.cache, b"earlier")
    release = tensorrt_11(build=lambda release: PLAN if release.builds == 2 else None)
    built = bench.build_with(release, {"timing_cache": bench.cache})
    assert built.timing_cache == "replaced"
    assert "repeated without" in built.notes[0]
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


def test_tensorrt_rtx_needs_no_timing_cache(bench: Bench) -> None:
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


def test_plan_is_loaded_as_it_was_built(bench: Bench) -> None:
    release = tensorrt_10(dla_cores=2)
    options = {"device": "dla1", "precision": "fp16", "version_compatible": True}
    bench.build_with(release, {"environment": ORIN}, **options)
    assert release.runtime.DLA_core == 1
    assert release.runtime.engine_host_code_allowed


def test_no_plan_is_loaded_without_a_gpu(bench: Bench) -> None:
    release = tensorrt_11(inspector_json=json.dumps({"Layers": []}))
    assert bench.build(release).layer_source == "network"
    assert release.runtime is None


@pytest.mark.parametrize("words", [None, "no JSON"])
def test_layers_come_from_the_network_otherwise(bench: Bench, words: str | None) -> None:
    release = tensorrt_11(inspector_json=words)
    built = bench.build_with(release, {"environment": ORIN})
    assert built.layer_source == "network"
    assert built.metadata.layer_precisions == {"fp32": 1}


def test_layer_on_indices_does_not_compute(bench: Bench) -> None:
    numbers = [Tensor("a", dtype=DataType.INT64), Tensor("b", dtype=DataType.INT64)]
    network = convolution()
    network.layers.append(Layer("add", [numbers[0]], [numbers[1]]))
    built = bench.build(tensorrt_11(network=network))
    assert built.layers[-1].precision == "int64"
    assert built.metadata.layer_precisions == {"fp32": 1}


@pytest.mark.parametrize("odd", [{"sparsity": 2}, {"targets": 7}, {"inputs": []}])
def test_sidecar_of_another_version_is_refused(
    bench: Bench, tmp_path: Path, odd: dict[str, Any]
) -> None:
    plan = write_engine(bench.build_with(tensorrt_11(), {}), tmp_path / "tiny.plan")
    file = sidecar_of(plan)
    content = {**json.loads(file.read_text()), **odd}
    del content["checksum"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    file.write_text(json.dumps(content))
    with pytest.raises(EngineFileError, match="expected the fields of this version"):
        read_sidecar(plan)


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
