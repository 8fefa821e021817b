"""Overlays: what is drawn, where, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.core.images.canvas import class_colors
from edge_inference.core.results import Classification, DepthMap, Detections, Segmentation
from edge_inference.core.results.overlay import draw
from edge_inference.errors import ImageError

SIZES = [(1, 1), (7, 300), (300, 7), (48, 64), (480, 640), (1080, 1920)]


def gray(height, width):
    return np.full((height, width, 3), 90, np.uint8)


def detections(height, width, boxes, labels=("thing",)):
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        np.zeros(count, np.int32),
        labels,
        width,
        height,
    )


def results(height, width):
    ids = np.zeros((height, width), np.uint8)
    ids[: height // 2 + 1] = 1
    depth = np.linspace(1, 9, height * width, dtype=np.float32).reshape(height, width)
    return {
        "detections": detections(height, width, [[0, 0, width, height]]),
        "classification": Classification(
            np.array([1, 0], np.int32), np.array([0.8, 0.1], np.float32), ("cat", "dog")
        ),
        "segmentation": Segmentation(ids, ("background", "road"), 0.9),
        "depth": DepthMap(depth, "m"),
    }


def test_nothing_found_draws_nothing():
    image = gray(48, 64)
    empty = np.zeros(0)
    for result in (
        detections(48, 64, []),
        Classification(empty.astype(np.int32), empty.astype(np.float32), ()),
        Segmentation(np.full((48, 64), 255, np.uint8), ("road",), 0.0),
        Segmentation(np.zeros((48, 64), np.uint8), ("background", "road"), 0.9),
        DepthMap(np.full((48, 64), np.nan, np.float32), "m"),
    ):
        drawn = draw(image, result)
        np.testing.assert_array_equal(drawn, image)
        assert drawn is not image


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["detections", "classification", "segmentation", "depth"])
def test_every_size_is_drawn_and_the_input_not_modified(size, kind):
    image = gray(*size)
    image.flags.writeable = False
    drawn = draw(image, results(*size)[kind])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (drawn != image).any()
    assert (image == 90).all()


def test_a_box_is_drawn_on_its_edges_only():
    drawn = draw(gray(200, 300), detections(200, 300, [[50, 60, 150, 160]]))
    changed = (drawn != 90).any(axis=2)
    assert changed[60, 50:151].all()
    assert changed[160, 50:151].all()
    assert changed[60:161, 50].all()
    assert changed[60:161, 150].all()
    assert not changed[70:150, 60:140].any()
    assert not changed[165:].any()


def test_a_box_as_large_as_the_image_has_all_its_edges():
    drawn = draw(gray(200, 300), detections(200, 300, [[0, 0, 300, 200]]))
    changed = (drawn != 90).any(axis=2)
    for edge in (changed[0], changed[-1], changed[:, 0], changed[:, -1]):
        assert edge.all()


@pytest.mark.parametrize("box", [[0, 0, 20, 20], [280, 0, 300, 20], [290, 190, 300, 200]])
def test_a_label_at_the_edge_is_moved_into_the_image(box):
    inner = draw(gray(200, 300), detections(200, 300, [[100, 100, 120, 120]]))
    at_edge = draw(gray(200, 300), detections(200, 300, [box]))
    # The plate of class 0 is dark in red, its text is light in all channels.
    ink = [int((drawn > 140).all(axis=2).sum()) for drawn in (inner, at_edge)]
    assert ink[0] > 20
    assert ink[1] >= ink[0] * 0.9


def test_a_label_outside_ascii_is_drawn():
    image = gray(200, 300)
    drawn = draw(image, detections(200, 300, [[50, 60, 150, 160]], ("Fußgänger 人",)))
    assert (drawn != image).any()


def test_a_mask_tints_its_classes_and_neither_background_nor_unknown():
    ids = np.zeros((200, 300), np.uint8)
    ids[:, 200:] = 1
    ids[150:, :100] = 255
    drawn = draw(gray(200, 300), Segmentation(ids, ("background", "road"), 0.9))
    below_text = drawn[100:]
    assert (below_text[:, :200] == 90).all()
    assert (below_text[:, 200:] != 90).any(axis=2).all()


def test_a_mask_of_two_bytes():
    ids = np.full((60, 80), 65535, np.uint16)
    ids[30:, 40:] = 700
    drawn = draw(gray(60, 80), Segmentation(ids, (), 0.9, unknown_id=65535))
    assert (drawn[40:, 40:] != 90).any(axis=2).all()
    assert (drawn[40:, :40] == 90).all()


@pytest.mark.parametrize(("unit", "near_first"), [("m", True), ("inverse", False)])
def test_near_is_warm(unit, near_first):
    depth = np.tile(np.linspace(1, 5, 300, dtype=np.float32), (200, 1))
    drawn = draw(gray(200, 300), DepthMap(depth, unit)).astype(int)
    redness = drawn[150, :, 2] - drawn[150, :, 0]
    assert (redness[20] > redness[-20]) == near_first


def test_unknown_depth_keeps_the_image():
    depth = np.full((200, 300), np.nan, np.float32)
    depth[:, 200:] = 2
    drawn = draw(gray(200, 300), DepthMap(depth, "m"))
    assert (drawn[100:, :200] == 90).all()
    assert (drawn[100:, 200:] != 90).any()


def test_a_class_keeps_its_color_and_neighbors_differ():
    assert class_colors(0).shape == (0, 3)
    np.testing.assert_array_equal(class_colors(5), class_colors(80)[:5])
    steps = np.abs(np.diff(class_colors(80).astype(int), axis=0)).sum(axis=1)
    assert steps.min() > 60


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((48, 64), np.uint8),
        np.zeros((48, 64, 4), np.uint8),
        np.zeros((48, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
    ],
)
def test_images_of_another_form_are_refused(image):
    with pytest.raises(ImageError, match=r"expected an .* uint8 image"):
        draw(image, detections(48, 64, []))


@pytest.mark.parametrize("kind", ["detections", "segmentation", "depth"])
def test_images_of_another_size_are_refused(kind):
    with pytest.raises(ImageError, match=r"expected the 64x48 source image.*got 64x40"):
        draw(gray(40, 64), results(48, 64)[kind])


def test_detections_without_a_source_size_are_drawn():
    image = gray(100, 100)
    result = Detections(
        np.array([[10, 10, 90, 90]], np.float32),
        np.array([0.5], np.float32),
        np.array([0], np.int32),
        ("thing",),
        None,
        None,
    )
    assert (draw(image, result) != image).any()
