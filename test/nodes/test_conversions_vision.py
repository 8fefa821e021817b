"""The vision_msgs forms, where vision_msgs is installed."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.core.results import CLASSIFICATION, DETECTION, Classification, Detections
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter

vision_msgs = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed here")
vision = pytest.importorskip("edge_inference.nodes.conversions.results.vision")

HEAD = {"stamp_ns": 1_000_000_002, "frame_id": "camera"}


def test_they_are_preferred() -> None:
    assert isinstance(result_adapter(DETECTION), vision.VisionDetectionAdapter)
    assert isinstance(result_adapter(CLASSIFICATION), vision.VisionClassificationAdapter)


def test_detections_survive() -> None:
    sent = Detections(
        boxes=np.array([[1, 2, 31, 42], [0, 0, 4, 8]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        class_ids=np.array([1, 0], np.int32),
        labels=("cup", "dog"),
        source_width=640,
        source_height=480,
        **HEAD,
    )
    adapter = vision.VisionDetectionAdapter()
    message = adapter.to_message(sent)
    assert message.detections[0].bbox.center.position.x == 16.0
    assert message.detections[0].bbox.size_y == 40.0
    assert message.detections[0].results[0].hypothesis.class_id == "dog"
    back = adapter.from_bytes(adapter.to_bytes(sent))
    assert np.array_equal(back.boxes, sent.boxes)
    assert np.array_equal(back.scores, sent.scores)
    assert [back.label(0), back.label(1)] == ["dog", "cup"]
    assert (back.source_width, back.stamp_ns, back.frame_id) == (None, 1_000_000_002, "camera")


def test_the_best_hypothesis_counts_and_none_is_left_out() -> None:
    hypothesis = vision_msgs.ObjectHypothesisWithPose
    message = vision_msgs.Detection2DArray(
        detections=[
            vision_msgs.Detection2D(results=[hypothesis(), hypothesis()]),
            vision_msgs.Detection2D(),
        ]
    )
    message.detections[0].results[1].hypothesis.class_id = "best"
    message.detections[0].results[1].hypothesis.score = 0.5
    back = vision.VisionDetectionAdapter().from_message(message)
    assert len(back) == 1
    assert back.label(0) == "best"


@pytest.mark.parametrize("count", [0, 2])
def test_classes_survive(count: int) -> None:
    sent = Classification(
        class_ids=np.array([1, 0], np.int32)[:count],
        scores=np.array([0.5, 0.25], np.float32)[:count],
        labels=("ant", "bee"),
        **HEAD,
    )
    adapter = vision.VisionClassificationAdapter()
    back = adapter.from_bytes(adapter.to_bytes(sent))
    assert [back.label(i) for i in range(len(back))] == ["bee", "ant"][:count]
    assert np.array_equal(back.scores, sent.scores)
