"""compare and bisect on the shipped models. Times are measured but not checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.model_search import available_models
from edge_inference.core.models.self_check import self_check_images
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.precision.used_precision import onnxruntime_precisions
from edge_inference.optimize.bisect import BisectRequest, bisect
from edge_inference.optimize.calibrate import calibrate_model
from edge_inference.optimize.compare import CompareRequest, compare
from edge_inference.optimize.images.image_set import ImageSet, golden_image_set

MODELS = available_models([Path(__file__).parents[2] / "models"])


@pytest.fixture(scope="module", params=sorted(MODELS))
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ModelDescription:
    """Return a shipped model, calibrated on its golden images if it has no calibration."""
    shipped = load_model(MODELS[request.param])
    if shipped.calibration is not None:
        return shipped
    folder = tmp_path_factory.mktemp("models") / shipped.name
    shutil.copytree(shipped.folder, folder)
    calibrate_model(shipped, self_check_images(shipped), "its own").save(folder / "ranges.json")
    with (folder / "model.yaml").open("a") as description:
        description.write("\nderive:\n  calibration: ranges.json\n")
    return load_model(folder)


def some_images(model: ModelDescription, count: int) -> ImageSet:
    return golden_image_set(model)[:count]


def test_every_precision_of_a_shipped_model_passes(model: ModelDescription, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    found = compare(CompareRequest(model, some_images(model, 4), ("ort",), runs=2), cache)
    for row in found.rows:
        assert row.passed, (row.name, row.failure, row.check and row.check.summary())
        assert row.latency is not None
    fp32, fp16, int8 = found.rows
    assert found.fastest() is not None
    assert int8.file_bytes is not None
    assert fp32.file_bytes is not None
    assert int8.file_bytes < fp32.file_bytes
    assert int8.precision_in_use == "int8", "most layers with weights stay in fp32"
    assert (
        sum(fp16.layers_by_precision.values())
        == sum(fp32.layers_by_precision.values())
        == sum(int8.layers_by_precision.values())
    )


def test_fp32_is_computed_in_fp32(model: ModelDescription) -> None:
    assert list(onnxruntime_precisions(model.variants["fp32"].file)) == ["fp32"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_shipped_model_needs_no_more_layers_in_fp32(
    model: ModelDescription, precision: str
) -> None:
    # The test above checks the whole precision on more images.
    report = bisect(BisectRequest(model, precision, some_images(model, 1)))
    assert report.before.passed, report.before.summary()
    assert report.minimal_set.members == ()
    outputs = [
        layer.output_sqnr_db
        for layer in report.sensitivity.layers
        if layer.output_sqnr_db is not None
    ]
    assert len(outputs) > 50
    assert all(layer.is_finite for layer in report.sensitivity.layers)


@pytest.mark.parametrize("model", ["nanodet"], indirect=True)
def test_a_stricter_threshold_needs_some_layers_in_fp32(model: ModelDescription) -> None:
    images = some_images(model, 1)
    as_it_is = bisect(BisectRequest(model, "int8", images)).before.figures()["sqnr_db"]
    wanted = SelfCheckThresholds(sqnr_db=as_it_is + 0.5)
    report = bisect(BisectRequest(model, "int8", images, thresholds=wanted, max_tries=12))
    assert not report.before.passed
    assert report.minimal_set.members
    assert len(report.minimal_set.members) < report.convertible / 2
    assert report.after is not None
    assert report.after.figures()["sqnr_db"] >= wanted.sqnr_db
