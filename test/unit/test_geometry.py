"""The map from source to tensor and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec, place

sides = st.integers(1, 16384)
specs = st.builds(
    InputSpec,
    name=st.just("x"),
    width=st.integers(1, 1280),
    height=st.integers(1, 1280),
    resize=st.sampled_from(["stretch", "letterbox", "center_crop"]),
    crop_fraction=st.floats(0.1, 1.0),
    letterbox_align=st.sampled_from(["center", "top_left"]),
)


def test_no_boxes_stay_no_boxes() -> None:
    boxes = Geometry(640, 480, 0.5, 0.5).boxes_to_source(np.empty((0, 4), np.float32))
    assert boxes.shape == (0, 4)
    assert boxes.dtype == np.float32


@pytest.mark.parametrize(
    ("geometry", "tensor_box", "source_box"),
    [
        (Geometry(640, 480, 0.5, 0.25), (10, 10, 20, 20), (20, 40, 40, 80)),
        (Geometry(640, 320, 0.65, 0.65, 0.0, 104.0), (0, 104, 416, 312), (0, 0, 640, 320)),
        (Geometry(640, 480, 0.5, 0.5, -40.0, 0.0), (0, 0, 240, 240), (80, 0, 560, 480)),
        (Geometry(100, 50, 1.0, 1.0), (-5, -5, 500, 500), (0, 0, 100, 50)),
    ],
    ids=["stretch", "letterbox", "crop", "clipped"],
)
def test_boxes_by_hand(geometry, tensor_box, source_box) -> None:
    found = geometry.boxes_to_source(np.array([tensor_box], np.float32))
    np.testing.assert_allclose(found, [source_box], atol=1e-4)


@given(specs, sides, sides, st.floats(0, 1), st.floats(0, 1))
def test_a_point_is_mapped_to_the_tensor_and_back(
    spec: InputSpec, width: int, height: int, part_x: float, part_y: float
) -> None:
    geometry = place(spec, width, height).geometry(width, height)
    point = np.array([[part_x * width, part_y * height]])
    back = geometry.points_to_source(geometry.points_to_tensor(point))
    np.testing.assert_allclose(back, point, atol=1e-3)


@given(specs, sides, sides)
def test_the_placed_rectangles_fit_and_are_each_other_s_image(
    spec: InputSpec, width: int, height: int
) -> None:
    placement = place(spec, width, height)
    for (x, y, w, h), (limit_x, limit_y) in (
        (placement.source, (width, height)),
        (placement.target, (spec.width, spec.height)),
    ):
        assert x >= 0
        assert y >= 0
        assert 1 <= w <= limit_x - x
        assert 1 <= h <= limit_y - y

    def corners(x: int, y: int, w: int, h: int) -> np.ndarray:
        return np.array([[x, y], [x + w, y + h]], np.float64)

    geometry = placement.geometry(width, height)
    np.testing.assert_allclose(
        geometry.points_to_tensor(corners(*placement.source)),
        corners(*placement.target),
        atol=1e-3,
    )


@given(specs, sides, sides)
def test_letterbox_and_crop_keep_the_aspect_up_to_whole_pixels(
    spec: InputSpec, width: int, height: int
) -> None:
    placement = place(spec, width, height)
    (_, _, from_width, from_height), (_, _, to_width, to_height) = (
        placement.source,
        placement.target,
    )
    if spec.resize == "letterbox":
        scale = min(spec.width / width, spec.height / height)
        assert abs(to_width - width * scale) <= max(0.5, 1 - width * scale) + 1e-6
        assert abs(to_height - height * scale) <= max(0.5, 1 - height * scale) + 1e-6
        assert to_width == spec.width or to_height == spec.height
    elif spec.resize == "center_crop":
        scale = max(spec.width / width, spec.height / height) / spec.crop_fraction
        assert abs(from_width - spec.width / scale) <= max(0.5, 1 - spec.width / scale) + 1e-6
        assert abs(from_height - spec.height / scale) <= max(0.5, 1 - spec.height / scale) + 1e-6
    else:
        assert placement.source == (0, 0, width, height)
        assert placement.target == (0, 0, spec.width, spec.height)
