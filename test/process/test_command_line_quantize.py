"""``edge-inference quantize``: wrong usage, the new folder, and what a failure leaves."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import onnx
import pytest

from edge_inference.cli.command_line import run
from edge_inference.core.models.model import load_model
from edge_inference.engines.cache.artifacts import precisions
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.optimize import quantize as quantize_module
from edge_inference.optimize.calibrate import DEFAULT_METHOD
from external_weights import split_model
from small_model import write_images, write_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "models" / "small")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 12)


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


# What it refuses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--calibration"),
        (["--calibration", ""], "empty"),
        (["--calibration", "x", "--method", "max"], "minmax, percentile, mse, entropy"),
        (["--calibration", "x", "--for", "tensorrt"], "--export-onnx"),
        (["--calibration", "x", "--for", "tpu"], "'tpu'"),
        (["--calibration", "x", "--images", "0"], "'0'"),
        (["--calibration", "x", "--export-onnx", "no/such/folder/x.onnx"], "does not exist"),
        (["--calibration", "x", "--export-onnx", "."], "folder"),
        (["--precision", "fp32"], "'fp32'"),
        (["--precision", "fp16", "--method", "minmax"], "--method"),
        (["--precision", "fp16", "--topic", "/x"], "--topic"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    message: str,
    model: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert quantize(model, output, *arguments) == 2
    assert message in read_error_line(capsys)
    assert is_output_empty(output)


def test_help_has_an_example_and_names_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quantize", "--help"]) == 0
    text = capsys.readouterr().out
    assert "edge-inference quantize" in text.partition("example")[2]
    assert f"{DEFAULT_METHOD} (default)" in " ".join(text.split())


@pytest.mark.parametrize("place", ["there", "models/small/new"])
def test_an_output_that_exists_or_is_inside_the_model_is_refused(
    place: str, model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    assert quantize(model, tmp_path / place, "--calibration", images) == 2
    assert "--output" in read_error_line(capsys)
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no such file or folder"),
        ({}, "no images in this folder"),
        ({"notes.txt": b"x"}, "no images in this folder"),
        ({"._a.png": b"x"}, "no images in this folder"),
    ],
)
def test_a_source_without_images_is_refused(
    files: dict[str, bytes] | None,
    message: str,
    model: Path,
    output: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "source"
    if files is not None:
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
    assert quantize(model, output, "--calibration", source) == 1
    assert message in read_error_line(capsys)
    assert is_output_empty(output)


def test_an_unknown_node_is_refused_before_any_image_is_read(
    model: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--calibration", "no/such", "--keep-fp32", "secnod")
    assert quantize(model, output, *arguments) == 1
    assert "nearest names are second" in read_error_line(capsys)


def test_a_model_with_its_own_file_in_that_precision_is_refused(
    model: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = model / "model.yaml"
    entry = f"  int8: {{file: other.onnx, sha256: {'a' * 64}}}\n"
    description.write_text(description.read_text().replace("  fp32:\n", f"{entry}  fp32:\n"))
    assert quantize(model, output, "--calibration", images) == 1
    assert "other.onnx" in read_error_line(capsys)


def test_altered_weights_are_refused(
    model: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "small.onnx").write_bytes(b"other")
    assert quantize(model, output, "--calibration", images) == 1
    assert "sha256" in read_error_line(capsys)
    assert is_output_empty(output)


# What it writes ---------------------------------------------------------------------------------


def test_int8(model: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    assert quantize(model, output, "--calibration", images) == 0
    output_streams = capsys.readouterr()
    assert output_streams.err == ""
    for message in ("agreement", "cosine", "SQNR", "faster", "held out", "golden check: passed"):
        assert message in output_streams.out
    assert "images are few" in output_streams.out
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before

    quantized = load_model(output)
    assert quantized.name == "small_int8"
    assert precisions(quantized) == ["fp32", "fp16", "int8"]
    quantized.verify_files()
    after = {file.name: file.read_bytes() for file in output.iterdir()}
    assert quantized.calibration is not None
    calibration = Calibration.load(quantized.calibration)
    assert (calibration.method, calibration.images) == (DEFAULT_METHOD, "images")
    assert calibration.image_count == 10
    assert set(after) - set(before) == {"calibration.json"}
    old, new = before.pop("model.yaml").decode(), after.pop("model.yaml").decode()
    assert new == old + "\nderive:\n  calibration: calibration.json\n"
    assert before.items() <= after.items()
    assert list(output.parent.iterdir()) == [output]


def test_the_new_model_runs(
    model: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(model, output, "--calibration", images) == 0
    capsys.readouterr()
    assert run(["models", "check", str(output), "--precision", "int8", "--backend", "ort"]) == 0
    assert "self-check: passed" in capsys.readouterr().out
    assert run(["models", "--json", "--model-path", str(output.parent)]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (quantized,) = (entry for entry in listed if entry["name"] == "small_int8")
    assert quantized["derivable"] == ["fp16", "int8"]


def test_the_listed_size_includes_the_files_of_weights(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = split_model(model)
    assert run(["models", "--json", "--model-path", str(model.parent)]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (entry,) = (entry for entry in listed if entry["name"] == "small")
    weights = 4 * (3 * 3 * 3 * 3 + 3 * 3)
    file = split.variants["fp32"].file
    assert entry["variants"]["fp32"]["bytes"] == file.stat().st_size + weights


def test_json(model: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize(model, output, "--calibration", images, "--json") == 0
    *steps, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert steps
    assert all(set(step) == {"progress"} for step in steps)
    summary = last["summary"]
    assert summary["passed"] is True
    assert summary["folder"] == str(output)
    golden, held_out = summary["checks"]
    assert (golden["images"], held_out["images"]) == ("golden", "held out")
    assert held_out["count"] == 2
    for check in (golden, held_out):
        assert check["agreement"] == 1.0
        assert check["cosine"] > 0.99
        assert check["fp32_ms"] > 0
        assert check["int8_ms"] > 0


def test_layers_kept_come_from_the_model_and_from_the_command_line(
    tmp_path: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "derive:\n  # it matters\n  int8_keep_fp32: [first]\n"
    model = write_model(tmp_path / "models" / "picky", more)
    arguments = ("--calibration", images, "--keep-fp32", "relu", "--keep-fp32", "first")
    assert quantize(model, output, *arguments) == 0
    assert load_model(output).derive.int8_keep_fp32 == ("first", "relu")
    assert "  # it matters\n" in (output / "model.yaml").read_text()


@pytest.mark.parametrize(("target", "signed"), [("onnxruntime", False), ("tensorrt", True)])
def test_the_onnx_is_exported_for_one_engine(
    target: str,
    signed: bool,
    model: Path,
    images: Path,
    output: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "exported.onnx"
    arguments = ("--calibration", images, "--export-onnx", file, "--for", target)
    assert quantize(model, output, *arguments) == 0
    assert f"exported: {file}" in capsys.readouterr().out
    graph = onnx.load(file).graph
    types = {entry.name: entry.data_type for entry in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    (image,) = (node for node in nodes if node.input[0] == "image")
    assert types[image.input[2]] == (onnx.TensorProto.INT8 if signed else onnx.TensorProto.UINT8)


def test_fp16_keeps_overflowing_nodes_and_needs_no_images(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "models" / "large", scale=3e5)
    assert quantize(model, output, "--precision", "fp16") == 0
    kept = load_model(output).derive.fp16_keep_fp32
    assert {"first", "relu", "second"} <= set(kept)
    assert "first (" in capsys.readouterr().out


def test_fp16_keeps_nodes_whose_values_are_too_small(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "models" / "faint", scale=4e-6)
    assert quantize(model, output, "--precision", "fp16") == 0
    assert {"first", "relu", "second"} <= set(load_model(output).derive.fp16_keep_fp32)
    steps = capsys.readouterr().out
    assert "nodes whose values do not fit fp16 on the golden images: first (" in steps
    assert "e-06)" in steps.partition("first (")[2].partition(",")[0]


def test_fp16_without_an_overflow(model: Path, output: Path) -> None:
    assert quantize(model, output, "--precision", "fp16") == 0
    assert load_model(output).derive.fp16_keep_fp32 == ()


def test_a_read_only_model_is_copied(
    model: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (*model.iterdir(), model):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        assert quantize(model, output, "--calibration", images) == 0
    finally:
        model.chmod(0o755)
    assert load_model(output).calibration is not None


# Too much loss ---------------------------------------------------------------------------------

STRICT = "self_check: {sqnr_db: 300}  # nothing reaches that\n"


def test_a_model_with_too_much_loss_is_not_kept(
    tmp_path: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "models" / "strict", STRICT)
    file = tmp_path / "exported.onnx"
    assert quantize(model, output, "--calibration", images, "--export-onnx", file) == 1
    error_line = read_error_line(capsys)
    assert "at least 300 dB is needed" in error_line
    assert "edge-inference bisect" in error_line
    assert is_output_empty(output)
    assert not file.exists()


def test_an_onnx_file_needs_a_model_folder_before_it_needs_images(
    model: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(model / "small.onnx", output) == 1
    error_line = read_error_line(capsys)
    assert "expected a model folder, got a file; give its folder" in error_line
    assert "--calibration" not in error_line


def test_force_keeps_it_and_still_fails(
    tmp_path: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "models" / "strict", STRICT)
    assert quantize(model, output, "--calibration", images, "--force") == 1
    assert "is kept because of --force" in read_error_line(capsys)
    assert load_model(output).calibration is not None


def test_a_check_of_a_forced_model_fails_with_the_reason(
    tmp_path: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "models" / "strict", STRICT)
    quantize(model, output, "--calibration", images, "--force")
    capsys.readouterr()
    arguments = [str(output), "--backend", "ort", "--precision", "int8"]
    assert run(["models", "check", *arguments]) == 1
    output_streams = capsys.readouterr()
    assert "self-check: failed" in output_streams.out
    assert "set self_check to warn" in output_streams.err
    assert run(["engine", "check", *arguments]) == 1
    assert "at least 300 dB is needed" in read_error_line(capsys)


def test_a_description_that_cannot_be_edited_is_refused(
    model: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    description = model / "model.yaml"
    description.write_text(json.dumps(yaml.safe_load(description.read_text())))
    assert quantize(model, output, "--calibration", images) == 1
    assert "section derive" in read_error_line(capsys)
    assert is_output_empty(output)


def test_a_broken_image_is_reported_and_left_out(
    model: Path, images: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "000.png").write_bytes(b"no image")
    assert quantize(model, output, "--calibration", images) == 0
    assert "000.png" in read_error_line(capsys)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(
    number: signal.Signals,
    model: Path,
    images: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = quantize_module.calibration_images

    def source(*arguments: object) -> object:
        for count, frame in enumerate(real(*arguments)):
            if count == 1:  # a second signal would end this process at once
                os.kill(os.getpid(), number)
            yield frame

    monkeypatch.setattr(quantize_module, "calibration_images", source)
    assert quantize(model, output, "--calibration", images) == 128 + number
    assert capsys.readouterr().err == "edge-inference: interrupted\n"
    assert is_output_empty(output)
