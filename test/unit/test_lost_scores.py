"""A quantized output whose one scale serves boxes and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.core.exports.proposal import find_lost_scores

BOXES = np.random.default_rng(5).uniform(0, 320, (1, 4, 700)).astype(np.float32)
SCORES = np.random.default_rng(6).uniform(0, 1, (1, 10, 700)).astype(np.float32)
BOTH = np.concatenate([BOXES, SCORES], axis=1)


def quantized(array: NDArray[Any], scale: float) -> NDArray[Any]:
    return np.clip(np.round(array / scale), 0, 255).astype(np.float32) * np.float32(scale)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (quantized(BOTH, 2.5), "2.5 apart"),
        (quantized(BOTH, 1.25), "1.25 apart"),
        (quantized(BOTH, 0.5), "0.5 apart"),
        (BOTH, None),
        (np.concatenate([quantized(BOXES, 1.25), SCORES], axis=1), None),
        (quantized(SCORES, 1 / 255), None),
        (np.zeros((1, 84, 700), np.float32), None),
        (np.full((1, 84, 700), np.nan, np.float32), None),
        (quantized(BOTH, 1.25).astype(np.int64), None),
        (quantized(BOTH, 1.25)[0, 0], None),
        (quantized(BOTH, 50)[:, :, :2], None),
    ],
)
def test_outputs(output: NDArray[Any], words: str | None) -> None:
    found = list(find_lost_scores({"output0": output, "proto": SCORES}))
    assert len(found) == (words is not None)
    assert all(words in text and "'output0'" in text for text in found)
