"""The annotated image of the README is what the model finds."""

from __future__ import annotations

import numpy as np

from edge_inference.core.images.image_file import read_image
from scripts import annotated_frame


def test_the_image_is_what_the_script_draws() -> None:
    kept = read_image(annotated_frame.FILE).astype(np.int16)
    drawn = np.asarray(annotated_frame.draw_frame().data).reshape(kept.shape).astype(np.int16)
    assert kept.shape == drawn.shape
    # The file is a JPEG; other versions of OpenCV draw an edge half a pixel beside.
    assert np.abs(kept - drawn).mean() < 4.0
    original = read_image(annotated_frame.SOURCE).astype(np.int16)
    assert np.abs(kept - original).max() > 100
