"""The inference node warns where the exporter's metadata contradicts model.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from metadata_model import write_model
from perception_rig import Pipeline
from rig import Rig, wait_for

NAMES = "{0: 'red', 1: 'green', 2: 'blue', 3: 'gray'}"


@pytest.mark.parametrize(
    ("names", "warnings"), [(NAMES, 1), ("{0: 'red', 1: 'green', 2: 'blue'}", 0)]
)
def test_contradictory_labels_are_one_warning(
    rig: Rig, tmp_path: Path, capfd: pytest.CaptureFixture[str], names: str, warnings: int
) -> None:
    folder = write_model(tmp_path / "colors", {"names": names, "task": "classify"})
    pipeline = Pipeline(rig, {"backend": "ort", "precision": "fp32"}, model=str(folder))
    wait_for(lambda: pipeline.states and pipeline.states[-1].backend == "ort", "the engine")
    errors = capfd.readouterr().err
    text = "colors: the metadata of small.onnx names 4 classes, model.yaml has 3 labels"
    assert errors.count(text) == warnings
