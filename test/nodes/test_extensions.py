"""What an installed package adds serves in nodes; what is broken is told in the log, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rclpy.parameter import Parameter

from edge_inference.errors import ConfigError
from installed_extension import installed, write_metadata
from perception_rig import Pipeline
from rig import Rig, wait_for
from small_model import write_model

CODE = """
from edge_inference.core.decoders import classification, register

@register("mine", classification.ClassificationSettings)
def decode(outputs, context, settings):
    return classification.decode(outputs, context, settings)
"""


@pytest.fixture
def half_broken(tmp_path: Path) -> Iterator[Path]:
    """A package with a good decoder and a broken one, and a model that has the good one."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "half.py").write_text(CODE)
    entries = "mine = half:decode\nyours = half:nothing\n"
    write_metadata(folder, "half", f"[edge_inference.decoders]\n{entries}")
    model = write_model(tmp_path / "small")
    description = model / "model.yaml"
    description.write_text(description.read_text().replace("name: classification", "name: mine"))
    with installed(folder):
        yield model


@pytest.mark.usefixtures("extension_package")
def test_a_backend_of_a_package_serves(rig: Rig) -> None:
    pipeline = Pipeline(rig, {"backend": "opencv"}, model="nanodet")
    assert pipeline.next(pipeline.detections).label(0) == "person"
    assert pipeline.states[-1].backend == "opencv"
    node = pipeline.inference
    wrong = rig.call(lambda: node.set_parameters([Parameter("backend", value="opencw")]))[0]
    assert not wrong.successful
    assert "unknown backend 'opencw'; did you mean 'opencv'?" in wrong.reason
    right = rig.call(lambda: node.set_parameters([Parameter("backend", value="ort")]))[0]
    assert right.successful
    wait_for(lambda: pipeline.states[-1].backend == "ort", "the switch to ort")


def test_a_backend_without_its_package_is_refused(rig: Rig) -> None:
    with pytest.raises(ConfigError, match="parameter backend: unknown backend 'opencv'"):
        rig.load_component("Inference", model="nanodet", backend="opencv")


def test_a_decoder_of_a_package_serves_and_a_broken_one_is_told_once(
    rig: Rig, half_broken: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline = Pipeline(rig, model=str(half_broken))
    assert len(pipeline.next(pipeline.classes))
    rig.load("Decode", "-r", "__node:=second", model=str(half_broken))
    log = capfd.readouterr().err
    assert log.count("decoder 'yours' (entry point 'half:nothing' of package half)") == 1
    assert "[WARN]" in next(line for line in log.splitlines() if "'yours'" in line)
