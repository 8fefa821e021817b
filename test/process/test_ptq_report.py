"""The report of post-training quantization: all methods and int8 modes beside fp32."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_inference.backends.cpu_instructions import CpuInstructions
from edge_inference.cli.command_line import run
from edge_inference.core.measured_costs import Spread
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.errors import CancelledError, ConfigError, SourceError
from edge_inference.optimize.calibrate import calibrate, calibrate_with_methods
from edge_inference.optimize.quantization.ptq_report import PtqReport, PtqRequest, compare_ptq
from edge_inference.optimize.training.dataset_sources import open_dataset
from edge_inference.optimize.training.labeled_dataset import ArrayDataset, LabeledDataset
from small_model import LABELS, make_image, write_images, write_model

VNNI = CpuInstructions("avx512_vnni", saturates=False)
AVX2 = CpuInstructions("avx2", saturates=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_model(write_model(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images") / "all", 12)


def labeled(model: ModelDescription, folder: Path) -> LabeledDataset:
    """Return labeled images; one of nine is in the folder of another class."""
    import cv2

    for index in range(9):
        named = LABELS[index % 3]
        brightest = "blue" if index == 0 else named
        target = folder / named / f"{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(target), make_image(index, brightest))
    found = open_dataset(str(folder), model.input)
    # The folder's classes are in the order of their names, the model's are not.
    order = [LABELS.index(label) for label in found.labels]
    tensors, class_ids = found.load(range(len(found)))
    return ArrayDataset("mine", LABELS, model.input, tensors, np.array(order)[class_ids])


@pytest.mark.parametrize(
    ("cpu", "forms"), [(VNNI, ["int8"]), (AVX2, ["int8", "int8 fast"])], ids=["vnni", "avx2"]
)
def test_every_method_and_mode_is_beside_fp32(
    cpu: CpuInstructions, forms: list[str], model: ModelDescription, images: Path
) -> None:
    request = PtqRequest(model, str(images), methods=("minmax", "mse"), runs=3)
    report = compare_ptq(request, cpu=cpu)
    names = ["fp32", *(f"{form} {method}" for method in ("minmax", "mse") for form in forms)]
    assert [row.name for row in report.rows] == names
    assert (report.calibration_images, report.compared_images) == (10, 2)
    assert report.fp32.agreement is None and report.fp32.sqnr_db is None
    for row in report.rows[1:]:
        assert row.agreement == 1.0 and row.sqnr_db is not None and row.sqnr_db > 20
        assert row.accuracy is None and row.bytes > 0 and row.time.median_s > 0
    assert all(row.mode is None for row in report.rows) == (cpu is VNNI)


def test_accuracy_is_measured_on_labeled_images(
    model: ModelDescription, images: Path, tmp_path: Path
) -> None:
    request = PtqRequest(
        model, str(images), methods=("mse",), labeled=labeled(model, tmp_path), runs=1
    )
    report = compare_ptq(request, cpu=VNNI)
    found = [row.accuracy for row in report.rows]
    assert all(each is not None and (each.correct, each.total) == (8, 9) for each in found)
    assert report.to_json()["rows"][1]["accuracy"] == pytest.approx(8 / 9)


def timed(report: PtqReport, *seconds: float) -> PtqReport:
    rows = zip(report.rows, seconds, strict=True)
    return replace(report, rows=tuple(replace(row, time=Spread(s, s)) for row, s in rows))


def test_the_summary_says_where_int8_is_not_faster(model: ModelDescription, images: Path) -> None:
    request = PtqRequest(model, str(images), methods=("mse",), runs=1)
    report = compare_ptq(request, cpu=AVX2)
    summary = timed(report, 2.0, 4.0, 1.0).summary()
    assert "int8 is slower than fp32 on this machine (0.50 times)" in summary
    assert "fast" not in summary.split("; ", 1)[1]
    assert "int8 fast is not faster than fp32" in timed(report, 2.0, 1.0, 2.0).summary()
    assert "not faster" not in timed(report, 2.0, 1.0, 1.0).summary()


def test_one_pass_gives_what_each_method_gives(model: ModelDescription) -> None:
    file = model.variants["fp32"].file
    batches = list(np.random.default_rng(0).random((3, 1, 3, 16, 16), dtype=np.float32))
    every = calibrate_with_methods(file, "image", batches)
    assert len(every) == 4
    for method, calibration in every.items():
        assert calibration == calibrate(file, "image", batches, method)


def test_wrong_requests_are_refused(model: ModelDescription, images: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="method: expected one of"):
        PtqRequest(model, str(images), methods=("max",))
    with pytest.raises(ConfigError, match="runs: expected at least 1, got 0"):
        PtqRequest(model, str(images), runs=0)
    other = labeled(model, tmp_path)
    other.labels = ("cat", "dog", "bird")
    with pytest.raises(SourceError, match="cat"):
        PtqRequest(model, str(images), labeled=other)
    with pytest.raises(CancelledError):
        compare_ptq(PtqRequest(model, str(images)), cancelled=lambda: True)
    with pytest.raises(SourceError):
        compare_ptq(PtqRequest(model, str(tmp_path / "missing")))


def test_the_command_prints_the_report_and_writes_nothing(
    model: ModelDescription, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["optimize", "quantize", str(model.folder), "--calibration", str(images), "--report"]
    before = sorted(model.folder.parent.iterdir())
    assert run([*command, "--method", "mse", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]
    assert [row["method"] for row in summary["rows"]][:2] == [None, "mse"]
    assert run(command[1:]) == 0
    out = capsys.readouterr().out
    assert all(method in out for method in ("minmax", "percentile", "mse", "entropy"))
    assert "closest to fp32: int8" in out
    assert sorted(model.folder.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "x", "--report"], "not allowed with argument"),
        ([], "one of the arguments --output --report is required"),
        (["--report", "--precision", "fp16"], "--report compares int8"),
        (["--report", "--export-onnx", "x.onnx"], "--export-onnx needs --output"),
        (["--report", "--force"], "--force needs --output"),
        (["--output", "x", "--data", "digits"], "--data needs --report"),
        (["--report"], "int8 needs --calibration"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str],
    message: str,
    model: ModelDescription,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calibration = [] if options == ["--report"] else ["--calibration", "sample"]
    assert run(["optimize", "quantize", str(model.folder), *calibration, *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_sensitivity_lists_every_layer(
    model: ModelDescription, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["optimize", "sensitivity", str(model.folder), "--json"]
    assert run(command) == 1 and "has no calibration" in capsys.readouterr().err
    assert run([*command, "--calibration", str(images)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    layers = [line for line in lines if "layer" in line]
    assert {layer["layer"] for layer in layers} == {"first", "second", "pool", "flatten"}
    assert all(layer["output_sqnr_db"] > 20 and layer["operator"] for layer in layers)
    assert lines[-1]["summary"]["layers"] == 4
    assert run([*command, "--method", "mse"]) == 2
    assert run([*command, "--precision", "fp16", "--calibration", "x"]) == 2


def test_the_layer_that_adds_most_noise_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["optimize", "sensitivity", "efficientnet_lite0", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    noises = [line["added_noise"] for line in lines if "layer" in line]
    assert len(noises) > 50 and noises == sorted(noises, reverse=True) and noises[0] > 0.001
