"""Activations are applied exactly once, whether the model or the decoder applies them."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.core.decoders import DecodeContext, find
from edge_inference.core.decoders.activations import activate_once
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.settings import build
from edge_inference.errors import TensorError

COUNTS = [2, 3, 5, 17, 1000]


def softmax_of(logits):
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid_of(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def logits_of(seed, count, scale, rows=1):
    return np.random.default_rng(seed).normal(0, scale, (rows, count)).astype(np.float32)


def decode(name, outputs, labels=(), **settings):
    entry = find(name)
    context = DecodeContext(tuple(labels), Geometry(32, 32, 1.0, 1.0), 32, 32, "made-up")
    return entry.function(outputs, context, build(entry.settings_class, settings))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("scale", [0.1, 1, 10])
def test_logits_are_never_taken_for_probabilities(count, scale):
    for seed in range(300):
        logits = logits_of(seed, count, scale)
        np.testing.assert_allclose(
            activate_once("softmax", logits), softmax_of(logits), rtol=1e-3, atol=1e-7
        )
        np.testing.assert_allclose(
            activate_once("sigmoid", logits), sigmoid_of(logits), rtol=1e-3, atol=1e-6
        )


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("rows", [1, 7])
def test_a_softmax_is_not_applied_twice(rows, count, half):
    for seed in range(20):
        chances = softmax_of(logits_of(seed, count, 2, rows)).astype(np.float32)
        if half:
            chances = chances.astype(np.float16).astype(np.float32)
        for name in ("softmax", "sigmoid"):
            np.testing.assert_array_equal(activate_once(name, chances), chances)


@pytest.mark.parametrize("shape", [(1, 16), (300, 80)])
def test_a_sigmoid_is_not_applied_twice(shape):
    chances = sigmoid_of(logits_of(1, shape[1], 3, shape[0])).astype(np.float32)
    for name in ("softmax", "sigmoid"):
        np.testing.assert_array_equal(activate_once(name, chances), chances)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_logarithms_of_probabilities_become_probabilities(name, count):
    for seed in range(20):
        chances = softmax_of(logits_of(seed, count, 2))
        given = np.log(chances).astype(np.float32)
        np.testing.assert_allclose(activate_once(name, given), chances, rtol=1e-4)


def test_equal_logits_stay_equal_classes():
    for value in (0.0, 0.5):
        result = activate_once("softmax", np.full((1, 20), value, np.float32))
        np.testing.assert_allclose(result, 1 / 20)


def test_nothing_is_activated_of_nothing():
    for name in ("softmax", "sigmoid", "none"):
        assert activate_once(name, np.zeros((0, 5), np.float32)).shape == (0, 5)


def test_a_classifier_that_ends_with_a_softmax():
    chances = softmax_of(logits_of(3, 1000, 3)).astype(np.float32)
    result = decode("classification", {"output0": chances}, top_k=3)
    assert result.class_ids[0] == chances.argmax()
    np.testing.assert_allclose(result.scores, np.sort(chances[0])[::-1][:3])


def test_a_softmax_of_one_class_is_refused():
    outputs = {"out": np.array([[2.0]], np.float32)}
    with pytest.raises(TensorError, match="always be 1; set activation to sigmoid or none"):
        decode("classification", outputs)
    result = decode("classification", outputs, activation="sigmoid")
    np.testing.assert_allclose(result.scores, [0.880797], rtol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_detr_that_ends_with_its_activation(activation):
    chances = np.full((1, 100, 4), 0.01, np.float32)
    chances[0, :, 3] = 0.97
    chances[0, 5] = [0.05, 0.85, 0.05, 0.05]
    outputs = {"logits": chances, "boxes": np.full((1, 100, 4), 0.5, np.float32)}
    if activation == "sigmoid":
        outputs["logits"] = chances[..., :3]
    result = decode("detr", outputs, "abc", activation=activation)
    np.testing.assert_allclose(result.scores, [0.85])
    assert result.class_ids.tolist() == [1]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_ssd_that_ends_with_its_activation(activation):
    chances = np.full((1, 50, 3), [0.98, 0.01, 0.01], np.float32)
    chances[0, 5] = [0.2, 0.1, 0.7]
    outputs = {"boxes": np.full((1, 50, 4), 0.5, np.float32), "scores": chances}
    outputs["boxes"][..., :2] = 0.1
    result = decode("ssd", outputs, "ab", activation=activation)
    np.testing.assert_allclose(result.scores, [0.7])


def test_a_nanodet_that_ends_with_its_sigmoid():
    outputs = {"scores": np.full((1, 16, 2), 0.02, np.float32), "distances": np.zeros((1, 16, 8))}
    outputs["scores"][0, 5, 1] = 0.9
    result = decode("nanodet", outputs, "ab", strides=[8], sigmoid_scores=False)
    np.testing.assert_allclose(result.scores, [0.9])


@pytest.mark.parametrize("activation", ["auto", "softmax", "sigmoid", "none"])
def test_a_segmentation_that_ends_with_a_softmax(activation):
    chances = np.full((1, 3, 4, 4), 0.1, np.float32)
    chances[0, 1] = 0.8
    result = decode("segmentation", {"out": chances}, "abc", activation=activation)
    assert (result.mask == 1).all()
    assert result.score == pytest.approx(0.8)


@pytest.mark.parametrize("activation", ["auto", "softmax", "sigmoid"])
def test_a_segmentation_that_ends_with_a_log_softmax(activation):
    chances = np.full((1, 3, 4, 4), 0.1)
    chances[0, 1] = 0.8
    outputs = {"out": np.log(chances).astype(np.float32)}
    result = decode("segmentation", outputs, "abc", activation=activation)
    assert result.score == pytest.approx(0.8)


def test_a_mask_that_ends_with_its_sigmoid():
    chances = np.full((1, 1, 4, 4), 0.1, np.float32)
    chances[0, 0, 2] = 0.7
    for activation in ("auto", "sigmoid", "none"):
        mask = decode("segmentation", {"out": chances}, "ab", activation=activation).mask
        assert mask.sum() == mask.size / 4
    assert not decode("segmentation", {"out": 0 * chances}, "ab", activation="sigmoid").mask.any()
