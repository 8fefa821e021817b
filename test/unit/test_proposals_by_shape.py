"""Proposals at the limits of what shapes and the files of other tools tell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_inference.core.exports.families import propose
from edge_inference.core.exports.sidecars import Sidecars
from edge_inference.errors import ModelError
from proposal_kit import CELLS, evidence, floats, rows, scores, ultralytics


@pytest.mark.parametrize(
    ("classes", "score", "decoder"),
    [(1, 0.9, "nanodet"), (2, 0.9, "nanodet"), (80, 0.9, "nanodet"), (2, 7.0, "yolox")],
)
def test_nanodet_without_labels(classes: int, score: float, decoder: str) -> None:
    table = np.full((1, CELLS, classes + 32), -3, np.float32)
    table[..., :classes] = score
    found = propose(evidence({"output": table}))
    assert found is not None
    assert found.decoder == decoder


@pytest.mark.parametrize(
    ("shape", "is_map"),
    [
        ((1, 5, 8, 9), True),
        ((1, 8, 9, 5), True),
        ((1, 9, 8, 5), True),
        ((1, 5, 7, 9), False),
        ((1, 7, 9, 5), False),
        ((1, 8, 9), True),
        ((1, 7, 9), False),
    ],
)
def test_the_smallest_map(shape: tuple[int, ...], is_map: bool) -> None:
    found = propose(evidence({"out": np.ones(shape, np.float32)}))
    assert (found is not None) == is_map


@pytest.mark.parametrize(
    "shape", [(0, CELLS, 12), (0, 3 * CELLS, 12), (0, 11, CELLS), (0, 9, 6), (0, 2, 9, 9)]
)
def test_an_output_without_values_is_of_an_unknown_kind(shape: tuple[int, ...]) -> None:
    assert propose(evidence({"out": np.zeros(shape, np.float32)})) is None


def test_a_classifier_with_a_scalar() -> None:
    metadata = ultralytics(task="classify")
    proposal = propose(evidence({"out": np.zeros((), np.float32)}, metadata=metadata))
    assert proposal is not None
    assert proposal.settings == {"activation": "softmax"}


@pytest.mark.parametrize(
    ("steps", "mean"),
    [
        (None, [0.0]),
        (7, [0.0]),
        ("text", [0.0]),
        ([None, {"type": ["Resize"]}, {}], [0.0]),
        ([{"type": "NormalizeImage", "mean": [], "std": []}], [0.0]),
        ([{"type": "NormalizeImage", "mean": [0.5, 0.5], "std": [1, 1]}], [0.0]),
        ([{"type": "NormalizeImage", "mean": ["a"] * 3, "std": [1, 1, 1]}], [0.0]),
        ([{"type": "NormalizeImage", "mean": [0.5, 0.4, 0.2], "std": [1, 1, 1]}], [127.5, 102, 51]),
        ([{"type": "NormalizeImage", "mean": [0.5], "std": [0.25]}], [127.5]),
    ],
)
def test_the_steps_of_paddle(steps: object, mean: list[float]) -> None:
    sidecars = Sidecars(paddle={"Preprocess": steps})
    proposal = propose(evidence({"out": rows(4, *scores(6))[0]}, sidecars=sidecars))
    assert proposal is not None
    assert proposal.decoder == "paddle_detection"
    assert proposal.input["mean"] == mean


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        ([0.5, 0.4, 0.2], [127.5, 102, 51]),
        ([0.5], [127.5]),
        ([], [123.675, 116.28, 103.53]),
        ([0.5, 0.5], [123.675, 116.28, 103.53]),
        ("0.5", [123.675, 116.28, 103.53]),
    ],
)
def test_the_mean_of_timm(mean: object, expected: list[float]) -> None:
    timm = {"pretrained_cfg": {"mean": mean, "std": mean}}
    found = propose(evidence({"out": floats([1, 2, 3])}, sidecars=Sidecars(transformers=timm)))
    assert found is not None
    assert found.family == "timm"
    assert found.input["mean"] == expected


@pytest.mark.parametrize(
    ("name", "shape", "family"),
    [
        ("pixel_values", (1, 5, 16, 16), "segmentation (Transformers)"),
        ("input", (1, 5, 16, 16), "segmentation"),
        ("pixel_values", (1, 5), "classifier"),
    ],
)
def test_logits_of_transformers(name: str, shape: tuple[int, ...], family: str) -> None:
    logits = np.linspace(-3, 3, math.prod(shape), dtype=np.float32).reshape(shape)
    found = propose(evidence({"logits": logits}, name=name))
    assert found is not None
    assert found.family == family


@pytest.mark.parametrize("missing", ["image_mean", "image_std"])
def test_half_a_normalization_is_none(missing: str) -> None:
    values = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.4, 0.3]}
    said = {key: each for key, each in values.items() if key != missing}
    known = Sidecars(preprocessor={"do_normalize": True, **said})
    found = propose(evidence({"predicted_depth": np.ones((1, 16, 16), "f")}, sidecars=known))
    assert found is not None
    assert found.input["mean"] == [123.675, 116.28, 103.53]


def test_a_detector_of_ultralytics_without_a_table() -> None:
    known = evidence({"out": np.ones((1, 84), np.float32)}, metadata=ultralytics())
    with pytest.raises(ModelError, match="task is detect, but no output has three axes"):
        propose(known)
