"""Calibration: the run over the images, and its file."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.core.weights.onnx_files import onnx_digest
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.errors import (
    CancelledError,
    ConfigError,
    EdgeInferenceError,
    ModelError,
    SourceError,
    TensorError,
)
from edge_inference.optimize.calibrate import calibrate
from precision_networks import classifier, make_images

SOUND = {
    "format": 1,
    "method": "mse",
    "images": "a drive",
    "image_count": 3,
    "images_sha256": "ab",
    "onnx_sha256": "cd",
    "input": {"width": 4},
    "ranges": {"x": [-1, 2.5], "y": [0, 0]},
}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx")


def test_every_tensor_has_a_range(network: Path) -> None:
    counts: list[int] = []
    batches = make_images(3)
    found = calibrate(network, "x", batches, "minmax", counts.append, images="noise")
    assert list(found.ranges) == ["x", "c1", "r1", "c2", "r2", "g", "f", "logits"]
    assert found.ranges["x"] == (min(b.min() for b in batches), max(b.max() for b in batches))
    assert found.ranges["c1"][0] < 0
    assert found.ranges["r1"][0] == 0
    assert counts == [1, 2, 3]
    assert (found.image_count, found.method, found.images) == (3, "minmax", "noise")
    assert found.onnx_sha256 == onnx_digest(network)


def test_the_digest_is_that_of_the_images(network: Path) -> None:
    one, same, other = (calibrate(network, "x", make_images(2, seed=seed)) for seed in (1, 1, 2))
    assert one == same
    assert one.images_sha256 != other.images_sha256


def test_one_batch_at_a_time_is_in_memory(network: Path) -> None:
    alive: list[weakref.ref[NDArray[Any]]] = []

    def batches() -> Iterator[NDArray[Any]]:
        for _ in range(6):
            batch = np.random.default_rng(0).uniform(size=(1, 3, 16, 16)).astype(np.float32)
            alive.append(weakref.ref(batch))
            yield batch
            del batch
            gc.collect()
            assert sum(entry() is not None for entry in alive) <= 1

    calibrate(network, "x", batches())
    assert len(alive) == 6


def test_a_cancelled_calibration_ends_at_the_next_image(network: Path) -> None:
    counts: list[int] = []
    with pytest.raises(CancelledError, match="cancelled"):
        calibrate(
            network, "x", make_images(5), progress=counts.append, cancelled=lambda: len(counts) == 2
        )
    assert counts == [1, 2]


@pytest.mark.parametrize(
    ("changed", "kind", "says"),
    [
        ({"batches": []}, SourceError, "at least one image"),
        ({"method": "guess"}, ConfigError, "minmax, percentile, mse, entropy, got 'guess'"),
        ({"input_name": "y"}, ModelError, "only input is 'y', got x"),
        ({"batches": [np.zeros((1, 4, 16, 16), np.float32)]}, TensorError, r"\[1, 4, 16, 16\]"),
        ({"batches": [np.zeros((1, 3, 16, 16), np.uint8)]}, TensorError, "uint8"),
        ({"batches": [np.full((1, 3, 16, 16), np.nan, np.float32)]}, TensorError, "tensor 'x'"),
    ],
)
def test_unusable_images_are_errors(
    network: Path, changed: dict[str, Any], kind: type[EdgeInferenceError], says: str
) -> None:
    given = {"input_name": "x", "batches": make_images(1), "method": "mse", **changed}
    with pytest.raises(kind, match=says):
        calibrate(network, given["input_name"], given["batches"], given["method"])


def test_a_written_file_is_read_back(network: Path, tmp_path: Path) -> None:
    made = calibrate(
        network, "x", make_images(2), images='"quoted"\nü', input_settings={"a": [1.0]}
    )
    made.save(tmp_path / "calibration.json")
    read = Calibration.load(tmp_path / "calibration.json")
    assert read.to_json() == made.to_json()
    assert (read.images, read.input) == (made.images, made.input)
    assert [entry.name for entry in tmp_path.iterdir()] != ["calibration.json"]  # and the network
    for name, span in made.ranges.items():
        assert read.ranges[name] == pytest.approx(span, rel=1e-5)


def test_a_valid_file_is_read() -> None:
    read = Calibration.from_json(json.dumps(SOUND))
    assert read.ranges == {"x": (-1.0, 2.5), "y": (0.0, 0.0)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a calibration file"),
        ("{", "not a calibration file"),
        ("[" * 100_000, "not a calibration file"),
        ("[]", "format 1, got 'list'"),
        ("{}", "format 1, got None"),
        (json.dumps({**SOUND, "format": 2}), "format 1, got 2"),
        (json.dumps({**SOUND, "method": "guess"}), "method: expected one of"),
        (json.dumps({**SOUND, "images": 3}), "images: expected a text, got 3"),
        (json.dumps({**SOUND, "image_count": 0}), "image_count"),
        (json.dumps({**SOUND, "image_count": True}), "image_count"),
        (json.dumps({**SOUND, "input": 1}), "input"),
        (json.dumps({**SOUND, "ranges": {}}), "ranges"),
        (json.dumps({**SOUND, "ranges": {"x": [1]}}), "ranges.x"),
        (json.dumps({**SOUND, "ranges": {"x": [1, 2]}}), "around 0"),
        (json.dumps({**SOUND, "ranges": {"x": [-1, True]}}), "ranges.x"),
        (json.dumps({**SOUND, "ranges": {"x": [0, float("nan")]}}), "NaN is not valid JSON"),
        (json.dumps({**SOUND, "ranges": {"x": [0, float("inf")]}}), "Infinity is not valid JSON"),
        (json.dumps({**SOUND, "ranges": {"x": [0, 5]}}).replace("5]", "1e999]"), "ranges.x"),
    ],
)
def test_a_broken_file_is_refused(text: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        Calibration.from_json(text, "models/x/calibration.json")
    assert str(caught.value).startswith("models/x/calibration.json: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match=r"binary\.json: .*not UTF-8"):
        Calibration.load(binary)
    with pytest.raises(ModelError, match=r"none\.json: cannot be read"):
        Calibration.load(tmp_path / "none.json")
    with pytest.raises(ModelError, match="cannot be written"):
        Calibration.from_json(json.dumps(SOUND)).save(tmp_path / "no" / "folder.json")


def test_ranges_of_another_network_are_refused() -> None:
    made = Calibration.from_json(json.dumps(SOUND))
    made.check_fits("cd", "net.onnx")
    with pytest.raises(ModelError, match=r"net\.onnx: .*another ONNX file.*calibrate again"):
        made.check_fits("ef", "net.onnx")
