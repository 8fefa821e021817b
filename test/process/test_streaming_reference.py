"""The reference of the streaming agreement: the best variant on every frame of a recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.results import Classification
from edge_inference.errors import CancelledError, SourceError
from edge_inference.observe.streaming import offline_results
from edge_inference.observe.streaming.offline_results import find_reference
from small_model import write_images, write_model


@pytest.fixture
def model(tmp_path: Path) -> ModelDescription:
    return load_model(write_model(tmp_path / "brightest"))


def test_the_reference_has_a_result_for_each_readable_frame(
    tmp_path: Path, model: ModelDescription
) -> None:
    images = write_images(tmp_path / "images", 6)
    (images / "003.png").write_bytes(b"broken")
    reference = find_reference(model, str(images))
    assert [
        result.label(0) for result in reference.results if isinstance(result, Classification)
    ] == [
        "red",
        "green",
        "blue",
        "green",
        "blue",
    ]
    assert reference.confidence is None
    assert reference.description == "brightest, ONNX Runtime fp32, offline"


def test_sources_without_a_recording_are_refused(
    tmp_path: Path, model: ModelDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"broken")
    with pytest.raises(SourceError, match=r"a\.png"):
        find_reference(model, str(images))
    with pytest.raises(SourceError, match="no such file"):
        find_reference(model, str(tmp_path / "none.mp4"))
    monkeypatch.setattr(offline_results, "MAX_FRAMES", 2)
    with pytest.raises(SourceError, match="expected at most 2 frames; use a part"):
        find_reference(model, str(write_images(tmp_path / "many", 3)))


def test_a_reference_can_be_cancelled(tmp_path: Path, model: ModelDescription) -> None:
    with pytest.raises(CancelledError):
        find_reference(model, str(write_images(tmp_path / "images", 3)), cancelled=lambda: True)
