"""Nothing is kept or recommended without evidence, and the reports say what is missing."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_inference.cli.command_line import run
from edge_inference.cli.compare.comparison_format import print_comparison, row_as_json
from edge_inference.core.images.frame import Frame
from edge_inference.core.models.agreement import compare_outputs
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.model import load_model
from edge_inference.core.models.self_check import SelfCheckReport
from edge_inference.core.results import ResultAgreement
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.optimize import quantize as quantize_module
from edge_inference.optimize.compare import CompareRequest, compare
from edge_inference.optimize.comparison import CompareRow, Comparison
from edge_inference.optimize.derived_model_check import DerivedModelCheck, DerivedModelRow
from edge_inference.optimize.images.image_set import ImageSet
from external_weights import split_model
from input_kinds import cells_image, write_detector
from sensitive_model import make_images
from small_model import write_model

CPU = ("ort",)
STRICT = "self_check: {sqnr_db: 300}  # nothing reaches that\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def labeled() -> ImageSet:
    return ImageSet(make_images(1), "noise")


@pytest.fixture
def comparison(tmp_path: Path, labeled: ImageSet) -> Comparison:
    model = load_model(write_model(tmp_path / "compared"))
    request = CompareRequest(model, labeled, CPU, ("fp16",), runs=1)
    return compare(request, ArtifactCache(tmp_path / "cache"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made" / "small_int8"


def quantize(model: Path, output: Path, *arguments: str | Path) -> int:
    return run(["quantize", str(model), "--output", str(output), *map(str, arguments)])


def read_error_line(capsys: pytest.CaptureFixture[str]) -> str:
    errors = capsys.readouterr().err
    assert errors.startswith("edge-inference: ")
    assert errors.count("\n") == 1
    return errors


def is_output_empty(output: Path) -> bool:
    return list(output.parent.iterdir()) == []


def make_row(name: str, p50: float | None, *reasons: str, failure: str = "") -> CompareRow:
    check = SelfCheckReport(1, reasons, ResultAgreement(1, 1), None)
    latency = None if p50 is None else Percentiles(p50, p50, p50, p50, p50, p50)
    backend, precision = name.split()
    return CompareRow(backend, precision, failure, check=check, latency=latency)


def test_what_could_not_be_compared_is_not_recommended(comparison: Comparison) -> None:
    reference, candidate = (
        replace(make_row(name, p50), check=SelfCheckReport(3, (), ResultAgreement(0, 0), None))
        for name, p50 in (("ort fp32", 9.0), ("ort int8", 3.0))
    )
    shown = replace(comparison, rows=(reference, candidate))
    assert shown.fastest() is reference
    assert (reference.is_unchecked, candidate.is_unchecked, candidate.passed) == (
        False,
        True,
        False,
    )
    stream = io.StringIO()
    print_comparison(shown, {"cpu": "one"}, stream)
    assert "not checked" in stream.getvalue().partition("ort int8: ")[0]
    assert "ort int8: self-check: not checked: neither side finds anything" in stream.getvalue()
    assert "with --images" in stream.getvalue()
    assert "agreement" in row_as_json(shown, candidate)
    assert row_as_json(shown, candidate)["agreement"] is None
    assert row_as_json(shown, candidate)["checked"] is False


def test_the_report_says_where_only_raw_outputs_are_compared(comparison: Comparison) -> None:
    outputs = compare_outputs({"x": np.ones(2)}, {"x": np.ones(2)})
    check = SelfCheckReport(3, (), ResultAgreement(0, 0), outputs)
    reference, *others = (replace(row, check=check) for row in comparison.rows)
    for rows, expected in (((reference, *others), 1), ((reference, *comparison.rows[1:]), 0)):
        stream = io.StringIO()
        print_comparison(replace(comparison, rows=rows), {"cpu": "one"}, stream)
        assert stream.getvalue().count("only raw outputs are compared; give images in") == expected


def test_a_detector_that_finds_nothing_is_not_recommended_in_another_precision(
    tmp_path: Path,
) -> None:
    model = load_model(write_detector(tmp_path / "model"))
    dark = ImageSet([Frame.from_array(cells_image({}))], "1 dark image")
    result = compare(CompareRequest(model, dark, CPU, ("fp16",), runs=2), ArtifactCache(tmp_path))
    assert [row.passed for row in result.rows] == [True, False]
    assert result.rows[1].is_unchecked, result.rows[1].failure
    fastest = result.fastest()
    assert fastest is not None
    assert fastest.is_reference


def test_the_size_includes_the_files_of_weights(tmp_path: Path, labeled: ImageSet) -> None:
    model = split_model(write_model(tmp_path / "split"))
    request = CompareRequest(model, labeled[:1], CPU, ("fp32",), runs=1)
    (row,) = compare(request, ArtifactCache(tmp_path / "cache")).rows
    weights = 4 * (3 * 3 * 3 * 3 + 3 * 3)
    assert row.file_bytes == (model.folder / "small.onnx").stat().st_size + weights


def test_the_hint_for_int8_names_the_model_as_a_command_finds_it(
    tmp_path: Path, labeled: ImageSet
) -> None:
    model = load_model(write_model(tmp_path / "a model"))
    request = CompareRequest(model, labeled[:1], CPU, ("int8",), runs=1)
    row = compare(request, ArtifactCache(tmp_path / "cache")).rows[1]
    assert f"edge-inference quantize '{tmp_path}/a model' --calibration IMAGES" in row.failure


def without_golden_images(model: Path, more: str = "") -> Path:
    text, golden, _ = (model / "model.yaml").read_text().partition("golden:\n")
    assert golden
    (model / "model.yaml").write_text(text + more)
    return model


def test_the_hint_for_fp16_does_not_name_what_only_int8_has(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = without_golden_images(write_model(tmp_path / "models" / "strict"), STRICT)
    assert quantize(model, output, "--precision", "fp16") == 1
    error_line = read_error_line(capsys)
    assert "--keep-fp32, or change the thresholds in self_check of model.yaml" in error_line
    assert "--method" not in error_line
    assert ": generated images: output logits: SQNR" in error_line


def test_a_model_without_golden_images_is_checked_on_a_generated_one(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = without_golden_images(write_model(tmp_path / "models" / "small"))
    assert quantize(model, output, "--precision", "fp16") == 0
    printed = capsys.readouterr().out
    assert "generated, 1" in printed
    assert "do not fit fp16 on a generated image: none" in printed


def test_a_model_of_which_nothing_can_be_compared_is_not_kept(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_detector(tmp_path / "models" / "blind", threshold=0.98)
    dark = tmp_path / "dark"
    dark.mkdir()
    for number in range(4):
        cv2.imwrite(str(dark / f"{number}.png"), cells_image({}))
    assert quantize(model, output, "--precision", "fp16", "--calibration", dark) == 1
    error_line = read_error_line(capsys)
    assert "not checked: neither side finds anything in 1 image(s)" in error_line
    assert "golden images in which the model finds something, or give them with" in error_line
    assert "--keep-fp32" not in error_line
    assert is_output_empty(output)
    cv2.imwrite(str(dark / "2.png"), cells_image({(1, 1): 1.0}))  # the one that is held out
    assert quantize(model, output, "--precision", "fp16", "--calibration", dark) == 0


@pytest.mark.parametrize("is_faint", [True, False])
def test_faint_results_that_differ_ask_for_images_with_something_to_find(
    tmp_path: Path,
    output: Path,
    is_faint: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = SelfCheckReport(1, ("bad",), ResultAgreement(1, 9), None, is_faint=is_faint)
    row = DerivedModelRow("generated", report, 1.0, 1.0)
    found = DerivedModelCheck("fp16", (row,), SelfCheckThresholds(), "", ("bad",))
    monkeypatch.setattr(quantize_module, "check_derived_model", lambda *arguments: found)
    model = write_model(tmp_path / "models" / "small")
    assert quantize(model, output, "--precision", "fp16") == 1
    hint = "bad; give images in which the model finds something, find the layers"
    assert (hint in read_error_line(capsys)) is is_faint
