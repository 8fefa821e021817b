"""The command ``optimize distill``: what it writes, and what it says about wrong options."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge_inference.cli.command_line import run
from edge_inference.core.models.model import load_model
from edge_inference.errors import SourceError
from edge_inference.optimize.distillation.students import separable_cnn
from edge_inference.optimize.distillation.unlabeled_images import open_unlabeled
from optimize_kit import digit_spec, small_cnn

NET = """\
from torch import nn
from optimize_kit import small_cnn

def boxes():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 40), nn.Unflatten(1, (10, 4)))
"""
FEW = ("--images", "200", "--epochs", "1", "--learning-rate", "0.01", "--batch", "16")
TEACHER = ("--teacher", "net.py:small_cnn", "--teacher-weights", "net.pt")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the import of net.py extends it
    monkeypatch.delitem(sys.modules, "net", raising=False)
    (tmp_path / "net.py").write_text(NET)
    torch.manual_seed(0)
    torch.save(small_cnn().state_dict(), tmp_path / "net.pt")
    return tmp_path


def distill(*arguments: str) -> int:
    return run(["optimize", "distill", "--data", "digits", *arguments])


def write_images(folder: Path, count: int) -> None:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 255, (28, 28), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)


def test_a_made_student_becomes_a_folder_that_teaches_the_next(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(folder / "more", 20)
    (folder / "more" / "bad.png").write_text("no image")
    code = distill(
        *TEACHER,
        "--ratio",
        "0.5",
        *FEW,
        *("--unlabeled", "more", "--stage", "epochs=1,alpha=1"),
        *("--stage", "epochs=1,alpha=0,unlabeled=false", "--compare-alone"),
        *("--output", "student", "--weights-output", "student.pt", "--json"),
    )
    output = capsys.readouterr()
    assert code == 0, output.err
    assert "bad.png" in output.err
    summary = json.loads(output.out.splitlines()[-1])["summary"]
    assert [each["unlabeled"] for each in summary["stages"]] == [20, 0]
    assert summary["parameters"] <= 0.5 * summary["teacher_parameters"]
    assert summary["accuracy"]["alone"] is not None and summary["speedup"] > 0
    made = load_model(folder / "student")
    assert made.variants["fp32"].accuracy[0].value == pytest.approx(
        summary["accuracy"]["after"]["share"], abs=1e-4
    )
    assert summary["student_source"]["function"].endswith(":separable_cnn")
    module = separable_cnn(**summary["student_source"]["arguments"])
    module.load_state_dict(torch.load("student.pt", weights_only=True))
    code = distill(
        "--teacher", "./student", "--student", "net.py:small_cnn", "--argument", "width=8", *FEW,
        "--output", "second",
    )  # fmt: skip
    output = capsys.readouterr()
    assert code == 0, output.err
    assert "of those of the teacher student" in output.out and "net.py:small_cnn" in output.out
    assert load_model(folder / "second").calibration is not None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((*TEACHER, "--ratio", "0.5", "--weights", "net.pt"), 2, "--weights is for --student"),
        ((*TEACHER, "--student", "net.py:small_cnn", "--kind", "vit"), 2, "--kind is for --ratio"),
        (
            ("--teacher", "efficientnet_lite0", "--teacher-weights", "net.pt", "--ratio", "0.5"),
            2,
            "efficientnet_lite0 has its weights in it",
        ),
        ((*TEACHER, "--ratio", "0.5", "--feature", "5"), 2, "a layer of the student and one of"),
        ((*TEACHER, "--ratio", "0.5", "--feature-weight", "2"), 2, "--feature-weight needs"),
        ((*TEACHER, "--ratio", "0.5", "--stage", "alpha=1"), 2, "expected epochs=N in 'alpha=1'"),
        (
            (*TEACHER, "--ratio", "0.5", "--stage", "epochs=2,alpha=yes"),
            2,
            "alpha: expected a number in 'epochs=2,alpha=yes'",
        ),
        ((*TEACHER, "--ratio", "0.5", "--stage", "epoch=2"), 2, "'epoch': expected one of epochs"),
        ((*TEACHER, "--ratio", "0.5", "--unlabeled", "empty"), 1, "unlabeled empty: expected imag"),
        (("--teacher", "net.py:boxes", "--ratio", "0.5"), 1, "expected float32 logits"),
        (("--teacher", "nanodet", "--ratio", "0.5"), 1, "its task is detection with the decoder"),
        ((*TEACHER, "--ratio", "0.001"), 1, "ratio: the smallest student (cnn) of small_cnn has"),
        ((*TEACHER, "--ratio", "0.5", "--output", "empty"), 2, "it exists already"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    (folder / "empty").mkdir()
    before = sorted(folder.iterdir())
    output = () if "--output" in arguments else ("--output", "student")
    assert distill(*arguments, *FEW, *output) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [each for each in sorted(folder.iterdir()) if each.name != "__pycache__"] == before


def test_unlabeled_images_are_read_when_they_are_needed(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 5)
    images = open_unlabeled(str(tmp_path / "images"), digit_spec(), limit=3)
    assert len(images) == 3 and images.labels == ()
    expected = cv2.imread(str(tmp_path / "images" / "4.png"), cv2.IMREAD_GRAYSCALE) / 255
    np.testing.assert_allclose(images.load([2])[0][0, 0], expected, atol=1e-6)
    with pytest.raises(SourceError, match="no such folder"):
        open_unlabeled(str(tmp_path / "nowhere"), digit_spec())
