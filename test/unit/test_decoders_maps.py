"""Classification, segmentation and depth: one answer for the image or for each pixel."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.core.decoders import DecodeContext, find
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.settings import build
from edge_inference.errors import TensorError

LABELS = ("road", "car", "tree")
# 64x32 in a 32x32 input: scale 0.5, 8 rows of padding above and below.
LETTERBOX = Geometry(64, 32, 0.5, 0.5, 0.0, 8.0)
# The middle 32x32 of 64x32.
CROP = Geometry(64, 32, 1.0, 1.0, -16.0, 0.0)
SAME = Geometry(32, 32, 1.0, 1.0)


def decode(name, outputs, geometry=SAME, labels=LABELS, **settings):
    entry = find(name)
    context = DecodeContext(labels, geometry, 32, 32, "made-up")
    return entry.function(outputs, context, build(entry.settings_class, settings))


def scores_of(ids, classes=3, high=4.0):
    """Return logits [1, C, h, w] whose winner is ``ids``."""
    return (np.eye(classes, dtype=np.float32)[ids] * high).transpose(2, 0, 1)[None]


def blocks(height=32, width=32):
    rows, columns = np.indices((height, width))
    return (rows // 4 + columns // 8) % 3


# classification


def test_classification_is_a_softmax_best_first():
    logits = np.array([[1.0, 3.0, 2.0]], np.float32)
    result = decode("classification", {"out": logits}, top_k=2)
    chances = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert result.class_ids.tolist() == [1, 2]
    np.testing.assert_allclose(result.scores, chances[[1, 2]], rtol=1e-6)
    assert (result.label(0), result.model) == ("car", "made-up")


def test_classification_of_huge_logits_does_not_overflow():
    result = decode("classification", {"out": np.array([[3e4, -3e4, 2e4]], np.float32)})
    np.testing.assert_allclose(result.scores, [1, 0, 0], atol=1e-7)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1), (1, 1, 1, 3)])
@pytest.mark.parametrize(
    ("activation", "given", "expected"),
    [("none", [0.1, 0.2, 0.7], [0.7, 0.2, 0.1]), ("sigmoid", [0, -200, 200], [1, 0.5, 0])],
)
def test_classification_activations_and_shapes(shape, activation, given, expected):
    outputs = {"out": np.array(given, np.float32).reshape(shape)}
    result = decode("classification", outputs, activation=activation)
    np.testing.assert_allclose(result.scores, expected, atol=1e-6)


def test_classification_below_confidence_is_empty():
    outputs = {"out": np.zeros((1, 3), np.float32)}
    assert len(decode("classification", outputs, confidence=0.5)) == 0


def test_classification_ties_go_to_the_lower_class():
    assert decode("classification", {"out": np.zeros((1, 3))}).class_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({}, "got none"),
        ({"out": np.zeros((1, 4), np.float32)}, "'out'.*3 classes.*got 4"),
        ({"out": np.zeros((1, 0), np.float32)}, "'out'.*3 classes.*got 0"),
        ({"out": np.zeros((2, 3), np.float32)}, r"'out': expected shape \[1, C\], got \[2, 3\]"),
        ({"out": np.zeros(3, np.float32)}, r"expected shape \[1, C\], got \[3\]"),
        ({"out": np.array([[1, np.nan, 2]])}, r"'out'.*1 of 3.*nan at \[0, 1\]"),
        ({"out": np.zeros((1, 3), np.int64)}, "'out'.*floating point.*int64"),
    ],
)
def test_classification_refusals(outputs, reason):
    with pytest.raises(TensorError, match=reason):
        decode("classification", outputs)


def test_classification_of_logits_called_probabilities():
    with pytest.raises(TensorError, match=r"'out'.*from 0 to 1, got -3 to 9; set activation"):
        decode("classification", {"out": np.array([[9.0, -3, 1]])}, activation="none")


# segmentation


@pytest.mark.parametrize("form", ["nchw", "nhwc", "numbers", "numbers4"])
def test_segmentation_forms_agree(form):
    ids = blocks()
    logits = scores_of(ids)
    outputs = {
        "nchw": logits,
        "nhwc": logits.transpose(0, 2, 3, 1),
        "numbers": ids[None].astype(np.int64),
        "numbers4": ids[None, None].astype(np.uint8),
    }[form]
    result = decode("segmentation", {"out": outputs})
    np.testing.assert_array_equal(result.mask, ids)
    assert (result.mask.dtype, result.unknown_id) == (np.uint8, 255)
    if form.startswith("numbers"):
        assert np.isnan(result.score)
    else:
        assert result.score == pytest.approx(np.exp(4) / (np.exp(4) + 2))


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_segmentation_undoes_a_letterbox(stride):
    small = np.random.default_rng(0).integers(0, 3, (32 // stride, 32 // stride))
    result = decode("segmentation", {"out": scores_of(small)}, LETTERBOX)
    down = (((np.arange(32) + 0.5) * 0.5 + 8) / stride).astype(int)
    across = (((np.arange(64) + 0.5) * 0.5) / stride).astype(int)
    np.testing.assert_array_equal(result.mask, small[down][:, across])


def test_segmentation_outside_a_crop_is_unknown():
    result = decode("segmentation", {"out": scores_of(blocks())}, CROP)
    np.testing.assert_array_equal(result.mask[:, 16:48], blocks())
    assert (result.mask[:, :16] == 255).all()
    assert (result.mask[:, 48:] == 255).all()


def test_segmentation_of_many_classes_needs_two_bytes():
    labels = tuple(str(i) for i in range(300))
    ids = np.full((1, 32, 32), 299)
    result = decode("segmentation", {"out": ids}, CROP, labels)
    assert (result.mask.dtype, result.unknown_id) == (np.uint16, 65535)
    assert result.mask[0, 20] == 299
    assert result.mask[0, 0] == 65535


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 1, 32, 32), (1, 32, 32, 1)])
def test_segmentation_mask_of_one_channel(shape):
    chance = np.full((32, 32), 0.2, np.float32)
    chance[4:9, 10:20] = 0.9
    labels = ("background", "person")
    result = decode("segmentation", {"out": chance.reshape(shape)}, labels=labels)
    np.testing.assert_array_equal(result.mask, chance > 0.5)
    assert result.score == pytest.approx(np.where(chance > 0.5, chance, 1 - chance).mean())
    outputs = {"out": chance.reshape(shape)}
    assert not decode("segmentation", outputs, labels=labels, threshold=0.95).mask.any()


def test_segmentation_mask_of_booleans():
    given = blocks() == 1
    result = decode("segmentation", {"out": given[None]}, labels=("a", "b"))
    np.testing.assert_array_equal(result.mask, given)


def test_segmentation_mask_of_logits():
    logits = np.full((1, 1, 32, 32), 3.0, np.float32)
    result = decode("segmentation", {"out": logits}, labels=("a", "b"), activation="sigmoid")
    assert result.mask.all()
    with pytest.raises(TensorError, match=r"from 0 to 1.*set activation to sigmoid"):
        decode("segmentation", {"out": logits}, labels=("a", "b"))


@pytest.mark.parametrize("shape", [(32, 32), (1, 32, 32), (1, 1, 32, 32), (1, 32, 32, 1)])
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64, np.float16, np.float32])
@pytest.mark.parametrize("labels", [LABELS, ()])
def test_segmentation_class_numbers_of_any_type(shape, kind, labels):
    ids = blocks()
    result = decode("segmentation", {"out": ids.astype(kind).reshape(shape)}, labels=labels)
    np.testing.assert_array_equal(result.mask, ids)
    assert np.isnan(result.score)


@pytest.mark.parametrize(("kind", "ignored"), [(np.uint8, 255), (np.float32, 255), (np.int8, -1)])
@pytest.mark.parametrize("labels", [LABELS, ("road", "car"), ()])
def test_segmentation_pixels_without_class_are_unknown(kind, ignored, labels):
    ids = blocks() % 2
    ids[:4] = ignored
    settings = {} if ignored == 255 else {"ignore_label": ignored}
    result = decode("segmentation", {"out": ids[None].astype(kind)}, labels=labels, **settings)
    assert (result.mask[:4] == result.unknown_id).all()
    np.testing.assert_array_equal(result.mask[4:], ids[4:])


def test_segmentation_class_255_is_a_class_where_it_has_a_label():
    labels = tuple(str(number) for number in range(300))
    ids = np.full((1, 32, 32), 255, np.uint8)
    result = decode("segmentation", {"out": ids}, CROP, labels)
    assert (result.mask[:, 16:48] == 255).all()
    assert (result.mask[:, :16] == result.unknown_id).all()
    assert result.unknown_id != 255


def test_segmentation_ignored_pixels_of_many_classes():
    labels = tuple(str(number) for number in range(300))
    ids = np.full((1, 32, 32), 299, np.int32)
    ids[0, 0] = 900
    result = decode("segmentation", {"out": ids}, labels=labels, ignore_label=900)
    assert (result.mask[0] == result.unknown_id).all()
    assert (result.mask[1:] == 299).all()


def test_segmentation_of_ignored_pixels_only():
    result = decode("segmentation", {"out": np.full((1, 32, 32), 255, np.uint8)})
    assert (result.mask == result.unknown_id).all()


def test_segmentation_finds_the_mask_of_three_axes_among_outputs():
    outputs = {"mask": blocks()[None], "features": np.zeros((1, 64), np.float32)}
    np.testing.assert_array_equal(decode("segmentation", outputs).mask, blocks())


def test_segmentation_ties_go_to_the_lower_class():
    assert not decode("segmentation", {"out": np.zeros((1, 3, 8, 8), np.float32)}).mask.any()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(32, np.float32), "'out': expected shape"),
        (np.zeros((2, 3, 32, 32), np.float32), "'out': expected shape.*got .2, 3"),
        (np.zeros((1, 5, 32, 32), np.float32), "3 classes.*got 5"),
        (np.zeros((1, 3, 0, 32), np.float32), "empty shape"),
        (np.full((1, 3, 32, 32), np.nan, np.float32), "'out'.*finite"),
        (np.full((1, 32, 32), 3), "class numbers 0 to 2, got 3 to 3"),
        (np.full((1, 32, 32), 7.0), "class numbers 0 to 2, got 7 to 7; correct labels"),
        (np.full((1, 32, 32), -1), "class numbers 0 to 2, got -1 to -1"),
        (np.zeros((1, 3, 32, 32), np.int32), "one plane of class numbers"),
        (np.full((1, 1, 32, 32), 0.5, np.float32), "3 labels, or whole class numbers.*0.5"),
        (np.zeros((1, 3, 32, 32), complex), "floating point.*complex"),
    ],
)
def test_segmentation_refusals(array, reason):
    with pytest.raises(TensorError, match=reason):
        decode("segmentation", {"out": array})


def test_a_softmax_of_one_channel_is_refused():
    with pytest.raises(TensorError, match="set activation"):
        decode(
            "segmentation",
            {"out": np.zeros((1, 1, 8, 8), np.float32)},
            labels=("a", "b"),
            activation="softmax",
        )


# depth


def ramp(height=32, width=32):
    """Return a plane that is linear in the input's pixels, sampled at cell centres."""
    rows = (np.arange(height) + 0.5) * 32 / height
    columns = (np.arange(width) + 0.5) * 32 / width
    return (3 * rows[:, None] + columns).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 1, 32, 32), (1, 32, 32, 1)])
def test_depth_forms(shape):
    result = decode("depth", {"out": ramp().reshape(shape)}, unit="m", scale=0.5)
    np.testing.assert_allclose(result.depth, ramp() * 0.5, rtol=1e-6)
    assert (result.depth.dtype, result.unit, result.model) == (np.float32, "m", "made-up")


@pytest.mark.parametrize("cells", [8, 16, 32])
def test_depth_is_linear_between_cells_through_a_letterbox(cells):
    depth = decode("depth", {"out": ramp(cells, cells)[None]}, LETTERBOX).depth
    rows = (np.arange(32) + 0.5) * 0.5 + 8
    columns = (np.arange(64) + 0.5) * 0.5
    edge = 64 // cells  # beyond the outer cell centres the map is flat
    inner = slice(edge, -edge)
    expected = 3 * rows[:, None] + columns
    np.testing.assert_allclose(depth[:, inner], expected[:, inner], rtol=1e-5)


def test_nearest_depth_has_only_values_of_the_output():
    values = np.where(blocks(8, 8) == 0, 1, 9).astype(np.float32)[None]
    depth = decode("depth", {"out": values}, LETTERBOX, interpolation="nearest").depth
    assert set(np.unique(depth)) <= {1, 9}
    blended = decode("depth", {"out": values}, LETTERBOX).depth
    assert len(np.unique(blended)) > 2


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_depth_outside_a_crop_is_nan(interpolation):
    depth = decode("depth", {"out": ramp()[None]}, CROP, interpolation=interpolation).depth
    np.testing.assert_allclose(depth[:, 16:48], ramp(), rtol=1e-6)
    assert np.isnan(depth[:, :16]).all()
    assert np.isnan(depth[:, 48:]).all()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((32, 32), np.float32), r"'out': expected shape \[1, h, w\].*got \[32, 32\]"),
        (np.zeros((1, 3, 32, 32), np.float32), "depth_output"),
        (np.zeros((2, 32, 32), np.float32), "depth_output"),
        (np.zeros((1, 0, 32), np.float32), "depth_output"),
        (np.full((1, 32, 32), np.inf, np.float32), "'out'.*finite"),
        (np.zeros((1, 32, 32), np.uint16), "floating point"),
    ],
)
def test_depth_refusals(array, reason):
    with pytest.raises(TensorError, match=reason):
        decode("depth", {"out": array})
