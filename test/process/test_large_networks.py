"""A network whose weights exceed one ONNX file is derived with its weights in a second file.

The limit is lowered here, so that a small network exceeds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_inference.core.models.model import ModelDescription
from edge_inference.core.weights.onnx_files import external_files, model_size, onnx_digest
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import onnx_for
from edge_inference.engines.precision import external_weights, onnx_file
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.external_weights import without_weights
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.used_precision import onnxruntime_precisions
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.cost_recording import engine_configuration
from edge_inference.engines.serving.selection import prepare, select_backend
from edge_inference.optimize.bisect import BisectRequest, bisect
from edge_inference.optimize.images.image_set import ImageSet
from precision_networks import calibrated, classifier, make_images, run
from sensitive_model import load_sensitive
from sensitive_model import make_images as make_frames

FEW_BYTES = 100


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx")


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    set_low_limit(monkeypatch)


def set_low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_EMBEDDED_BYTES", FEW_BYTES)
    monkeypatch.setattr(external_weights, "MIN_LARGE_BYTES", FEW_BYTES)


@dataclass
class Pair:
    """One network in one file, and in a file with external weights."""

    one: Path
    two: Path

    def assert_same_outputs(self) -> None:
        for batch in make_images(3):
            for expected, got in zip(run(self.one, batch), run(self.two, batch), strict=True):
                np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("precision", "target"),
    [("fp16", "onnxruntime"), ("fp16", "tensorrt"), ("int8", "onnxruntime"), ("int8", "tensorrt")],
)
def test_a_derived_model_keeps_large_weights_beside_it(
    precision: str, target: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = calibrated(network) if precision == "int8" else None
    pair = Pair(tmp_path / "one.onnx", tmp_path / "two.onnx")
    one = derive(network, precision, target, pair.one, calibration=calibration)
    set_low_limit(monkeypatch)
    if precision == "int8":
        assert calibrated(network) == calibration
    two = derive(network, precision, target, pair.two, calibration=calibration)
    assert external_files(pair.one) == {}
    assert list(external_files(pair.two)) == ["two.onnx.data"]
    assert {file.name for file in tmp_path.iterdir()} == {
        *("net.onnx", "one.onnx", "two.onnx", "two.onnx.data")
    }
    pair.assert_same_outputs()
    assert (two.converted, two.kept) == (one.converted, one.kept)
    assert (
        two.bytes
        == model_size(pair.two)
        == sum(file.stat().st_size for file in tmp_path.glob("two.*"))
    )
    assert onnxruntime_precisions(pair.two) == onnxruntime_precisions(pair.one)
    onnx.checker.check_model(str(pair.two), full_check=True)


def test_its_bytes_are_the_same_each_time(network: Path, tmp_path: Path, low_limit: None) -> None:
    found = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        derive(network, "fp16", "tensorrt", folder / "derived.onnx")
        found.add(onnx_digest(folder / "derived.onnx"))
    assert len(found) == 1


def test_the_folded_network_is_the_same(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fold(network)
    set_low_limit(monkeypatch)
    assert values(fold(network)) == values(expected)
    assert types(fold(network)) == types(expected)


def values(model: onnx.ModelProto) -> dict[str, list[float]]:
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor).ravel().tolist()
        for tensor in model.graph.initializer
    }


def types(model: onnx.ModelProto) -> dict[str, bytes]:
    graph = model.graph
    return {
        entry.name: entry.type.SerializeToString() for entry in (*graph.value_info, *graph.output)
    }


def test_a_network_without_its_weights_is_small(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(network)
    monkeypatch.setattr(external_weights, "MIN_LARGE_BYTES", 1 << 30)
    assert without_weights(model) == model
    set_low_limit(monkeypatch)
    light = without_weights(model)
    assert len(light.SerializeToString()) < len(model.SerializeToString()) / 2
    assert [entry.name for entry in light.graph.initializer] == [
        entry.name for entry in model.graph.initializer
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_sensitive(tmp_path_factory.mktemp("models") / "m", is_sensitive=False)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_bisect_takes_a_large_network(
    precision: str, model: ModelDescription, low_limit: None
) -> None:
    images = ImageSet(make_frames(3), "noise")
    assert bisect(BisectRequest(model, precision, images)).before.passed


def test_both_files_of_a_derived_model_are_verified(
    model: ModelDescription, tmp_path: Path, low_limit: None
) -> None:
    cache, request = ArtifactCache(tmp_path / "cache"), EngineRequest(model, "ort", "fp16")
    selection = prepare(request, cache)
    (entry,) = cache.entries()
    assert set(entry.files) == {"model.onnx", "model.onnx.data"}
    artifact = onnx_for(model, "fp16", "onnxruntime")
    assert artifact.digest(cache) == onnx_digest(entry.path("model.onnx"))
    costs = engine_configuration(request, "ort", "fp16", cache)
    assert costs is not None and costs.artifact == artifact.digest(cache)
    with selection.backend as backend:  # type: ignore[union-attr]
        assert backend.inputs

    weights = entry.folder / "model.onnx.data"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert f"{weights}: the file was altered" in select_backend(request, cache).damaged
    prepare(request, cache)
    assert weights.read_bytes() == data


def test_a_disk_without_space_for_the_weights_is_one_sentence(
    network: Path, tmp_path: Path, low_limit: None
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "derived.onnx.data").mkdir()  # what cannot be replaced by a file
    with pytest.raises(onnx_file.ModelError, match=r"derived\.onnx\.data: cannot be written"):
        derive(network, "fp16", "tensorrt", folder / "derived.onnx")
    assert [file.name for file in folder.iterdir()] == ["derived.onnx.data"]
