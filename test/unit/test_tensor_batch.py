"""Which part of the raw outputs belongs to which image of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.core.images.geometry import Geometry
from edge_inference.core.tensors import TensorBatch
from edge_inference.errors import TensorError

GEOMETRY = Geometry(64, 32, 1.0, 1.0)


def batch(count, **tensors):
    return TensorBatch(tensors, (GEOMETRY,) * count, "made-up")


def test_each_image_has_its_row():
    rows = np.arange(12).reshape(2, 3, 2)
    for index in range(2):
        outputs = batch(2, rows=rows).outputs_of(index)
        np.testing.assert_array_equal(outputs["rows"], rows[index : index + 1])


def test_all_rows_belong_to_a_single_image():
    rows = np.zeros((5, 7), np.float32)
    assert batch(1, rows=rows).outputs_of(0)["rows"] is rows


@pytest.mark.parametrize("shape", [(5, 7), (0, 7), ()])
def test_rows_without_a_batch_axis_are_refused_for_several_images(shape):
    with pytest.raises(TensorError, match=r"'rows': expected a first axis of 2.*one image at a"):
        batch(2, rows=np.zeros(shape)).outputs_of(0)
