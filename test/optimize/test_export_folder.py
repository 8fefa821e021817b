"""Model folders from PyTorch: complete, equal to what PyTorch computes, or not there at all."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge_inference.backends.ort import OrtBackend
from edge_inference.cli.command_line import run
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.golden_check import read_image, run_golden_check
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import self_check_images
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import prepare
from edge_inference.errors import CancelledError, ConfigError, ModelError, SourceError
from edge_inference.optimize.export import golden_images
from edge_inference.optimize.export.model_folder import export_folder
from edge_inference.optimize.training.dataset_sources import open_dataset
from edge_inference.optimize.training.evaluate import evaluate, evaluate_engine
from edge_inference.optimize.training.labeled_dataset import (
    ArrayDataset,
    DatasetSplit,
    split_dataset,
)
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import TrainingSettings, train
from optimize_kit import digits, small_cnn

SPEC = InputSpec(
    name="pixels", width=32, height=32, color="RGB", mean=(127.5,), std=(127.5,), resize="letterbox"
)


@pytest.fixture(scope="module")
def split() -> DatasetSplit:
    return split_dataset(open_dataset("digits", SPEC, limit=900))


@pytest.fixture(scope="module")
def model(split: DatasetSplit) -> TorchModel:
    torch.manual_seed(0)
    start = TorchModel(small_cnn(channels=3).eval(), SPEC, split.train.labels, "digits_cnn")
    return train(start, split.train, TrainingSettings(4, 16, 2e-2)).model


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, model: TorchModel, split: DatasetSplit
) -> ModelDescription:
    target = tmp_path_factory.mktemp("models") / "my digits"
    return export_folder(
        model, target, calibration=split.train, evaluation=split.test, license="CC0-1.0"
    )


def test_it_says_what_the_model_is_and_measured(
    folder: ModelDescription, model: TorchModel, split: DatasetSplit
) -> None:
    assert folder.name == "my digits" and folder.license == "CC0-1.0"
    assert folder.input == SPEC and folder.labels == split.train.labels
    (accuracy,) = folder.variants["fp32"].accuracy
    measured = evaluate(model, split.test)
    assert accuracy.value == round(measured.share, 4) > 0.6 and accuracy.samples == measured.total
    assert (accuracy.dataset, accuracy.metric) == ("digits", "top-1")
    assert sorted(each.name for each in folder.folder.parent.iterdir()) == ["my digits"]
    folder.verify_files()


def test_each_precision_is_ready_and_passes_the_golden_check(
    folder: ModelDescription, split: DatasetSplit, tmp_path: Path
) -> None:
    assert len({golden.expected[0].label for golden in folder.golden}) == 2
    assert self_check_images(folder)
    assert folder.calibration is not None
    ranges = Calibration.load(folder.calibration)
    assert ranges.image_count == 128 and ranges.images == "128 images of digits"
    shares = {}
    for precision in ("fp32", "fp16", "int8"):
        selection = prepare(EngineRequest(folder, "ort", precision), ArtifactCache(tmp_path))
        assert selection.backend is not None
        with selection.backend as backend:
            report = run_golden_check(folder, backend.infer)
            assert report.passed and report.images == 2
            shares[precision] = evaluate_engine(backend.infer, "pixels", split.test).share
    assert shares["fp32"] == pytest.approx(shares["int8"], abs=0.05)


def test_golden_images_are_the_source_files_or_smaller(
    tmp_path: Path, model: TorchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, class_ids = digits(200).load(range(200))
    for number in range(200):
        label = tmp_path / "data" / str(class_ids[number])
        label.mkdir(parents=True, exist_ok=True)
        image = np.uint8(pixels[number, 0] * 255)
        cv2.imwrite(str(label / f"{number}.png"), cv2.resize(image, None, fx=9, fy=5))
    spec = dataclasses.replace(SPEC, name="other")
    dataset = open_dataset(str(tmp_path / "data"), spec)
    made = export_folder(model, tmp_path / "made", golden=dataset)
    files = [golden.image for golden in made.golden]
    assert len(files) == 2 and made.calibration is None
    for file, golden in zip(files, made.golden, strict=True):
        sources = (tmp_path / "data" / golden.expected[0].label).iterdir()
        assert any(source.read_bytes() == file.read_bytes() for source in sources)
    monkeypatch.setattr(golden_images, "_MAX_GOLDEN_BYTES", 0)
    monkeypatch.setattr(golden_images, "_MAX_GOLDEN_SIDE", 126)
    smaller = export_folder(model, tmp_path / "smaller", golden=dataset)
    assert {cv2.imread(str(golden.image)).shape for golden in smaller.golden} == {(70, 126, 3)}


def test_golden_images_from_tensors_and_none_from_doubt(
    tmp_path: Path, model: TorchModel, split: DatasetSplit
) -> None:
    images, class_ids = split.test.load(range(len(split.test)))
    tensors = ArrayDataset("tensors", split.test.labels, SPEC, images, class_ids)
    sure = export_folder(model, tmp_path / "sure", golden=tensors)
    assert [golden.image.suffix for golden in sure.golden] == [".png", ".png"]
    for golden in sure.golden:
        tensor, _ = Preprocessor(SPEC)(read_image(golden.image))
        np.testing.assert_allclose(tensor[0], images[int(golden.image.stem)], atol=0.5 / 127)
    with OrtBackend(sure.variants["fp32"].file) as backend:
        report = run_golden_check(sure, backend.infer)
    assert report.max_score_difference is not None and report.max_score_difference < 0.01
    torch.manual_seed(0)
    untrained = model.with_module(small_cnn(channels=3))
    assert not export_folder(untrained, tmp_path / "doubt", golden=tensors).golden


def test_ranges_may_come_from_a_function(tmp_path: Path, model: TorchModel) -> None:
    given: list[ModelDescription] = []

    def find_ranges(written: ModelDescription) -> Calibration:
        given.append(written)
        return Calibration({"pixels": (-1, 1)}, "mse", "training", 5, "0" * 64, "1" * 64)

    made = export_folder(model, tmp_path / "made", calibration=find_ranges)
    assert given[0].variants["fp32"].sha256 == made.variants["fp32"].sha256
    assert made.calibration is not None
    assert Calibration.load(made.calibration).images == "training"


def test_nothing_is_left_after_a_failure(
    tmp_path: Path, model: TorchModel, split: DatasetSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "made"
    other_format = open_dataset("digits", None, limit=20)
    with pytest.raises(ConfigError, match=r"another format .* width 28 instead of 32"):
        export_folder(model, target, calibration=other_format)
    labels = tuple("abcdefghij")
    with pytest.raises(SourceError, match="its labels are not those of the model"):
        export_folder(dataclasses.replace(model, labels=labels), target, golden=split.test)
    with pytest.raises(ModelError, match="logits for 10 classes and 2 labels"):
        export_folder(dataclasses.replace(model, labels=("a", "b")), target)
    with pytest.raises(ConfigError, match=r"input\.dtype: expected float32"):
        dataclasses.replace(model, input=dataclasses.replace(SPEC, dtype="float16"))
    for last in range(3):  # at each of the steps
        phases: list[str] = []
        with pytest.raises(CancelledError):
            export_folder(
                model,
                target,
                calibration=split.train,
                evaluation=split.test,
                progress=lambda phase, fraction, seen=phases: seen.append(phase),  # type: ignore[misc]
                cancelled=lambda seen=phases, last=last: len({*seen}) > last,  # type: ignore[misc]
            )
    write = Path.write_bytes

    def fill_disk(path: Path, data: bytes) -> int:
        if path.suffix == ".png":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill_disk)
        with pytest.raises(ModelError, match=r"made: cannot be written \(No space left"):
            export_folder(model, target, golden=split.test)

        def run_out(path: Path, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(Path, "write_bytes", run_out)
        with pytest.raises(ModelError, match=rf"^{target}/made\.onnx: cannot be written"):
            export_folder(model, target)
    assert not [*tmp_path.iterdir()]
    target.mkdir()
    with pytest.raises(ConfigError, match="it exists already; name a new folder"):
        export_folder(model, target)


def test_what_a_killed_export_left_is_removed(tmp_path: Path, model: TorchModel) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from edge_inference.optimize.export import golden_images
from edge_inference.optimize.export.model_folder import export_folder
from optimize_kit import small_model
export_folder(
    small_model(), Path(sys.argv[1]), progress=lambda phase, fraction: fraction == 0.2
    and os.kill(os.getpid(), signal.SIGKILL)
)
"""
    target = tmp_path / "made"
    killed = subprocess.run(
        [sys.executable, "-c", program, str(target)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert [each.name[:6] for each in tmp_path.iterdir()] == [".made."]
    export_folder(model, target)
    assert [*tmp_path.iterdir()] == [target]


def test_train_and_export_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["optimize_kit:small_cnn", "--data", "digits", "--images", "600"]
    training = ["--epochs", "2", "--batch", "16", "--learning-rate", "0.02"]
    for name in ("one.pt", "two.pt"):
        assert run(["optimize", "train", *data, *training, "--output", name]) == 0
    assert Path("one.pt").read_bytes() == Path("two.pt").read_bytes()
    text = capsys.readouterr().out
    assert "epoch 2: loss" in text and "one.pt: 4106 parameters" in text
    export = ["optimize", "export", *data, "--weights", "one.pt", "--json", "--output", "made"]
    assert run(export) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all("progress" in line for line in lines[:-1])
    assert lines[-1]["model"] == "made" and lines[-1]["accuracy"][0]["samples"] == 90
    assert run(export) == 1
    assert "made: it exists already" in capsys.readouterr().err
    weights = Path("one.pt").read_bytes()
    assert run(["optimize", "train", *data, "--output", "one.pt"]) == 1
    assert "--output one.pt" in capsys.readouterr().err
    assert Path("one.pt").read_bytes() == weights
    assert run(["optimize", "train", *data, "--output", "no/where.pt"]) == 1
    assert "--output no/where.pt: its folder does not exist" in capsys.readouterr().err
