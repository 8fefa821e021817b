"""Engines of a model side by side: what is measured, printed and drawn."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_inference.backends.cpu_instructions import CpuInstructions
from edge_inference.cli.compare import comparison_plot
from edge_inference.cli.compare.comparison_format import (
    print_comparison,
    row_as_json,
    summary_as_json,
)
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.main import main
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.self_check import SelfCheckReport
from edge_inference.core.results import ResultAgreement
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.environment import machine_facts
from edge_inference.engines.precision import int8_mode
from edge_inference.engines.precision.used_precision import onnxruntime_precisions
from edge_inference.errors import BackendError, CancelledError, ConfigError, ModelError
from edge_inference.optimize import compare as compare_module
from edge_inference.optimize.compare import (
    CompareRequest,
    comparable_backends,
    compare,
)
from edge_inference.optimize.comparison import CompareRow, Comparison, MeasuredAccuracy
from edge_inference.optimize.images.image_set import ImageSet
from sensitive_model import load_sensitive, make_images
from small_model import write_model

CPU = ("ort",)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_sensitive(tmp_path_factory.mktemp("models") / "sound", is_sensitive=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ArtifactCache:
    return ArtifactCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def labeled() -> ImageSet:
    return ImageSet(make_images(6), "6 images of noise", [0, 0, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def comparison(model: ModelDescription, cache: ArtifactCache, labeled: ImageSet) -> Comparison:
    return compare(CompareRequest(model, labeled, CPU, runs=3), cache)


def parse_strict_json(line: str) -> dict[str, Any]:
    """Parse JSON without NaN and infinity, which are not valid."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(line, parse_constant=refuse)


def test_every_precision_is_compared_with_fp32(comparison: Comparison) -> None:
    assert [row.name for row in comparison.rows] == ["ort fp32", "ort fp16", "ort int8"]
    for row in comparison.rows:
        assert row.passed, row
        assert row.latency is not None
        assert row.latency.p50 is not None
        assert (row.file_bytes or 0) > 0
        assert row.engine.startswith("ONNX Runtime")
    reference, _, int8 = comparison.rows
    assert reference.check is not None
    assert reference.check.figures()["max_difference"] == 0
    assert comparison.speedup(reference) == 1.0
    assert int8.check is not None
    assert int8.check.figures()["max_difference"] > 0
    assert int8.precision_in_use == "int8"
    assert int8.layers_by_precision == {"int8": 4}


def test_accuracy_counts_the_class_named_first(tmp_path: Path, cache: ArtifactCache) -> None:
    brightest = load_model(write_model(tmp_path / "brightest"))
    labels = [0, 1, 2, 0, 1, 1]  # the last one is wrong
    shown = ImageSet(make_images(6), "six", labels)
    (row,) = compare(CompareRequest(brightest, shown, CPU, ("fp32",), runs=1), cache).rows
    assert row.accuracy == MeasuredAccuracy(correct=5, total=6)
    assert row.accuracy.share == 5 / 6


def test_without_labels_there_is_no_accuracy(model: ModelDescription, cache: ArtifactCache) -> None:
    result = compare(
        CompareRequest(model, ImageSet(make_images(2), "two"), CPU, ("int8",), runs=1), cache
    )
    assert [row.accuracy for row in result.rows] == [None, None]
    assert [row.name for row in result.rows] == ["ort fp32", "ort int8"]


def test_an_engine_that_cannot_run_is_a_row_with_its_reason(
    model: ModelDescription, cache: ArtifactCache, labeled: ImageSet
) -> None:
    bare = replace(model, derive=replace(model.derive, calibration=""))
    result = compare(CompareRequest(bare, labeled, CPU, runs=1), cache)
    int8 = result.row("ort", "int8")
    assert int8 is not None
    assert "has no int8 variant" in int8.failure
    assert (int8.passed, int8.latency, int8.check) == (False, None, None)
    fp16 = result.row("ort", "fp16")
    assert fp16 is not None
    assert fp16.passed


def test_a_row_that_fails_while_it_is_timed_has_its_reason(
    model: ModelDescription,
    cache: ArtifactCache,
    labeled: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prepare(request: Any, *more: Any) -> Any:
        selection = real(request, *more)
        if request.precision == "fp16":
            monkeypatch.setattr(selection.backend, "infer", failing(selection.backend.infer, 8))
        return selection

    def failing(infer: Callable[..., Any], after: int) -> Callable[..., Any]:
        calls = iter(range(after))

        def call(inputs: Any) -> Any:
            if next(calls, None) is None:
                raise BackendError("it stopped")
            return infer(inputs)

        return call

    real = compare_module.prepare
    monkeypatch.setattr(compare_module, "prepare", prepare)
    result = compare(CompareRequest(model, labeled, CPU, runs=5), cache)
    fp16 = result.row("ort", "fp16")
    assert fp16 is not None
    assert (fp16.failure, fp16.latency, fp16.passed) == ("it stopped", None, False)
    assert all(row.latency for row in result.rows if row is not fp16)


def test_a_model_without_fp32_cannot_be_compared(model: ModelDescription) -> None:
    bare = replace(model, variants={"int8": model.variants["fp32"]})
    with pytest.raises(ModelError, match="no fp32 variant"):
        compare(CompareRequest(bare, ImageSet(make_images(1), "one")))


@pytest.mark.parametrize("asked", range(1, 40, 6))
def test_a_cancelled_comparison_ends(
    model: ModelDescription, cache: ArtifactCache, labeled: ImageSet, asked: int
) -> None:
    count = iter(range(asked))
    with pytest.raises(CancelledError):
        compare(
            CompareRequest(model, labeled, CPU), cache, cancelled=lambda: next(count, None) is None
        )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"backends": ("trtt",)}, "did you mean 'trt'"),
        ({"backends": ("null",)}, "'null' is unknown"),
        ({"precisions": ("int4",)}, "did you mean 'int8'"),
    ],
)
def test_unknown_names_are_refused(
    model: ModelDescription, names: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        CompareRequest(model, ImageSet(make_images(1), "one"), **names)


def test_each_candidate_comes_once_and_the_reference_first(model: ModelDescription) -> None:
    request = CompareRequest(model, ImageSet([], "none"), ("trt", "trt"), ("int8", "fp32"))
    assert request.candidates() == [
        ("ort", "fp32", None),
        ("trt", "int8", None),
        ("trt", "fp32", None),
    ]
    assert set(comparable_backends()) == {"ort", "ort-cuda", "trt"}


def make_row(name: str, p50: float | None, *reasons: str, failure: str = "") -> CompareRow:
    check = SelfCheckReport(1, reasons, ResultAgreement(1, 1), None)
    latency = None if p50 is None else Percentiles(p50, p50, p50, p50, p50, p50)
    backend, precision = name.split()
    return CompareRow(backend, precision, failure, check=check, latency=latency)


@pytest.mark.parametrize(
    ("rows", "fastest"),
    [
        ([], None),
        ([make_row("ort fp32", None)], None),
        ([make_row("ort fp32", 9.0), make_row("ort int8", 3.0)], "ort int8"),
        ([make_row("ort fp32", 9.0), make_row("ort int8", 3.0, "too far off")], "ort fp32"),
        ([make_row("ort fp32", 9.0), make_row("trt int8", 1.0, failure="no GPU")], "ort fp32"),
        ([make_row("ort fp32", 9.0, "x"), make_row("ort int8", 3.0, "x")], None),
    ],
)
def test_the_fastest_that_passes(
    model: ModelDescription, rows: list[CompareRow], fastest: str | None
) -> None:
    result = Comparison(model, ImageSet([], "none"), 1, 1, tuple(rows)).fastest()
    assert (result and result.name) == fastest


def test_speed_is_relative_to_the_reference_and_to_the_own_backend(
    model: ModelDescription,
) -> None:
    rows = (
        make_row("ort fp32", 12.0),
        make_row("trt fp32", 4.0),
        make_row("trt int8", 1.0),
        make_row("trt fp16", None),
    )
    result = Comparison(model, ImageSet([], "none"), 1, 1, rows)
    assert [result.speedup(one) for one in rows] == [1.0, 3.0, 12.0, None]
    assert [result.speedup_of_backend(one) for one in rows] == [1.0, 1.0, 4.0, None]


def test_machine_facts_describe_the_machine(tmp_path: Path) -> None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text("processor\t: 0\nmodel name\t: A Processor\n")
    facts = machine_facts(cpu)
    assert facts["cpu"] == "A Processor"
    assert facts["python"] == sys.version.split()[0]
    assert {"cores", "system", "numpy", "onnxruntime"} <= set(facts)
    assert "instructions" not in facts
    cpu.with_name("other").write_text("flags\t: sse2 avx2\n")
    assert machine_facts(cpu.with_name("other"))["instructions"] == "avx2"
    assert machine_facts(tmp_path / "none")["cpu"]


def test_the_precision_in_use_is_read_from_the_graph_that_runs(model: ModelDescription) -> None:
    assert onnxruntime_precisions(model.variants["fp32"].file) == {"fp32": 4}


def test_a_damaged_file_has_no_precision(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"not ONNX")
    with pytest.raises(BackendError, match="cannot open it"):
        onnxruntime_precisions(tmp_path / "x.onnx")


def test_the_table_shows_figures_failures_and_the_fastest(comparison: Comparison) -> None:
    fast = replace(make_row("ort int8", 2.0), int8_mode="fast")
    failed = replace(make_row("trt fp16", None, failure="no [GPU]"), check=None)
    bad = make_row("ort-cuda int8", 0.1, "SQNR 3.0 dB, at least 8 dB is needed")
    shown = replace(comparison, rows=(*comparison.rows, failed, bad, fast))
    stream = io.StringIO()
    print_comparison(shown, {"cpu": "one", "cores": "2"}, stream)
    printed = stream.getvalue()
    assert "cannot run here: trt fp16: no [GPU]" in printed
    assert "ort-cuda int8 failed: SQNR 3.0 dB" in printed
    assert "fastest that passes the self-check: ort " in printed
    assert "ort int8 fast: int8 fast, 7-bit weights, no VNNI" in printed
    assert "machine: cpu one, cores 2" in printed
    assert "top-1" in printed
    assert "equal" in printed


def test_the_reference_as_the_fastest_is_not_compared_with_itself(comparison: Comparison) -> None:
    stream = io.StringIO()
    print_comparison(replace(comparison, rows=comparison.rows[:1]), {"cpu": "one"}, stream)
    assert "passes the self-check: ort fp32, the reference itself, " in stream.getvalue()
    assert "times as fast" not in stream.getvalue()


def test_json_has_no_infinity_and_all_fields(comparison: Comparison) -> None:
    rows = [parse_strict_json(json.dumps(row_as_json(comparison, row))) for row in comparison.rows]
    assert rows[0]["sqnr_db"] is None
    assert rows[0]["agreement"] == 1.0
    assert rows[2]["precision_in_use"] == "int8"
    assert set(rows[2]["latency_ms"]) == {"mean", "p50", "p90", "p99", "max"}
    failed = row_as_json(comparison, CompareRow("trt", "int8", "no GPU"))
    assert (failed["runs_here"], failed["failure"]) == (False, "no GPU")
    assert failed["latency_ms"] is None
    summary = parse_strict_json(json.dumps(summary_as_json(comparison, {"cpu": "one"})))
    assert summary["machine"] == {"cpu": "one"}
    assert summary["thresholds"]["agreement"] == 0.9


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_plot_is_a_file(comparison: Comparison, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / f"plot{suffix}"
    comparison_plot.check_plot_file(file)
    comparison_plot.draw_plot(comparison, file)
    start = file.read_bytes()[:8]
    assert start == b"\x89PNG\r\n\x1a\n" if suffix == ".png" else start.startswith(b"<?xml")
    assert "matplotlib.pyplot" not in sys.modules  # it could open a window


@pytest.mark.parametrize(
    ("name", "message"), [("plot.pdf", "ends in"), ("nowhere/plot.png", "does not exist")]
)
def test_a_plot_that_cannot_be_written_is_refused_before_anything_runs(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        comparison_plot.check_plot_file(tmp_path / name)


def test_without_matplotlib_the_plot_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison_plot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install matplotlib"):
        comparison_plot.check_plot_file(tmp_path / "plot.png")


def test_the_command(
    model: ModelDescription,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path))
    options = ["compare", str(model.folder), "--backends", "ort", "--precisions", "int8"]
    monkeypatch.setattr(
        int8_mode, "find_cpu_instructions", lambda: CpuInstructions("avx2", saturates=True)
    )
    assert main("edge-inference", [*options, "--runs", "1", "--json"]) == 0
    lines = [parse_strict_json(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("precision") for line in lines] == ["fp32", "int8", "int8", None]
    assert [line["int8_mode"] for line in lines[:-1]] == [None, "exact", "fast"]
    assert [line["engine"].rpartition("model.onnx, ")[2] for line in lines[1:-1]] == [
        "int8 exact, no VNNI",
        "int8 fast, 7-bit weights, no VNNI",
    ]
    assert lines[-1]["summary"]["runs"] == 1
    assert math.isfinite(lines[1]["speed_over_reference"])


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--backends", "ort,,trt"], 2, "names separated by commas"),
        (["--backends", "tensor"], 2, "--backends: 'tensor' is unknown"),
        (["--precisions", "fp32,int4"], 2, "expected some of fp32, fp16, int8"),
        (["--int8-modes", "quick"], 2, "--int8-modes: 'quick' is unknown"),
        (["--runs", "0"], 2, "whole number of 1 or more"),
        (["--labels", "none.csv"], 1, "none.csv: cannot be read"),
        (["--images", "nowhere"], 1, "no such file or folder"),
        (["--rate", "5"], 2, "--rate needs --video"),
        (["--video", "nowhere.mp4"], 1, "'nowhere.mp4': no such file or folder"),
        (["--video", "sample", "--rate", "0"], 2, "expected a number from 0.1 to 1000"),
        (["--video", "sample", "--rate", "nan"], 2, "expected a number from 0.1 to 1000"),
        (["--video", "sample", "--threads", "2"], 2, "--threads 2: the pipeline that plays"),
        (["--video", "sample", "--labels", "none.json"], 1, "none.json: cannot be read"),
        (["--topic", "/x"], 2, "--topic needs --images"),
    ],
)
def test_wrong_options_are_one_sentence(
    model: ModelDescription,
    options: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main("edge-inference", ["compare", str(model.folder), *options]) == code
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
