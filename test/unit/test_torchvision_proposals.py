"""What is proposed for the detectors of torchvision."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.core.exports.families import propose
from edge_inference.core.exports.proposal import Evidence
from proposal_kit import BOX, CLASS, SCORE, SIDE, decode, evidence, floats, input_spec, rows

WITH_BATCH_AXIS = evidence(
    {"boxes": floats(BOX), "labels": np.array([CLASS + 1], np.int64), "scores": floats(SCORE)}
)
#: As its documentation shows: a list of images is an input without a batch axis.
WITH_MASKS = evidence(
    {
        "2288": rows(2, *BOX),
        "2257": floats([0.0, SCORE]),
        "2258": np.array([[1, CLASS + 1]], np.int64),
        "2310": np.zeros((1, 2, 1, SIDE, SIDE), np.float32),
    },
    layout=(3, SIDE, SIDE),
)


@pytest.mark.parametrize("known", [WITH_BATCH_AXIS, WITH_MASKS])
def test_the_graph_normalizes_the_image_itself(known: Evidence) -> None:
    proposal = propose(known)
    assert proposal is not None
    assert proposal.decoder == "torchvision"
    spec = input_spec(proposal)
    assert (spec.mean, spec.std) == ((0.0,), (255.0,))
    result = decode(proposal, known.outputs)
    np.testing.assert_allclose(result.boxes, [BOX], atol=1e-3)
    assert result.class_ids.tolist() == [CLASS]


def test_an_object_of_class_0_means_no_background() -> None:
    outputs = {
        "boxes": floats(BOX, BOX),
        "labels": np.array([0, CLASS], np.int64),
        "scores": floats(0.9, SCORE),
    }
    proposal = propose(evidence(outputs))
    assert proposal is not None
    assert decode(proposal, outputs).class_ids.tolist() == [0, CLASS]
    assert "classes from 0" in proposal.assumed["decoder.background"]


def test_a_classifier_of_keras_takes_pixels_from_minus_1_to_1() -> None:
    proposal = propose(evidence({"out": floats([1, 2, 3])}, layout=(1, SIDE, SIDE, 3)))
    assert proposal is not None
    spec = input_spec(proposal)
    assert [(pixel - spec.mean[0]) / spec.std[0] for pixel in (0, 255)] == [-1, 1]
