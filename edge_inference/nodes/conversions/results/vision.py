"""Converts detections and classifications to vision_msgs; importing this needs vision_msgs."""

from __future__ import annotations

import numpy as np
from vision_msgs.msg import (
    BoundingBox2D,
    Classification,
    Detection2D,
    Detection2DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
)

from edge_inference.composition.adapter import Adapter
from edge_inference.core import results
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.results.bounds import RESULT_BOUNDS, to_boxes, to_scores


class VisionDetectionAdapter(Adapter[results.Detections]):
    """Detections as ``vision_msgs/Detection2DArray``; ``class_id`` is the label."""

    message_type = Detection2DArray
    bounds = RESULT_BOUNDS

    def to_message(self, item: results.Detections) -> Detection2DArray:
        """Build the message; boxes become centre and size."""
        header = to_header(item.stamp_ns, item.frame_id)
        message = Detection2DArray(header=header)
        for i, (x1, y1, x2, y2) in enumerate(item.boxes.tolist()):
            box = BoundingBox2D(size_x=x2 - x1, size_y=y2 - y1)
            box.center.position.x = (x1 + x2) / 2
            box.center.position.y = (y1 + y2) / 2
            hypothesis = ObjectHypothesis(class_id=item.label(i), score=float(item.scores[i]))
            message.detections.append(
                Detection2D(
                    header=header,
                    bbox=box,
                    results=[ObjectHypothesisWithPose(hypothesis=hypothesis)],
                )
            )
        return message

    def from_message(self, message: Detection2DArray) -> results.Detections:
        """Build the object from each detection's best hypothesis; the image size is unknown."""
        detections = [d for d in message.detections if d.results]
        best = [max(d.results, key=lambda r: r.hypothesis.score) for d in detections]
        ids: dict[str, int] = {}
        class_ids = [ids.setdefault(r.hypothesis.class_id, len(ids)) for r in best]
        corners = [
            (
                d.bbox.center.position.x - d.bbox.size_x / 2,
                d.bbox.center.position.y - d.bbox.size_y / 2,
                d.bbox.center.position.x + d.bbox.size_x / 2,
                d.bbox.center.position.y + d.bbox.size_y / 2,
            )
            for d in detections
        ]
        return results.Detections(
            boxes=to_boxes(corners, "Detection2DArray"),
            scores=to_scores([r.hypothesis.score for r in best], "Detection2DArray"),
            class_ids=np.array(class_ids, dtype=np.int32),
            labels=tuple(ids),
            source_width=None,
            source_height=None,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


class VisionClassificationAdapter(Adapter[results.Classification]):
    """Classification as ``vision_msgs/Classification``; ``class_id`` is the label."""

    message_type = Classification
    bounds = RESULT_BOUNDS

    def to_message(self, item: results.Classification) -> Classification:
        """Build the message."""
        return Classification(
            header=to_header(item.stamp_ns, item.frame_id),
            results=[
                ObjectHypothesis(class_id=item.label(i), score=float(item.scores[i]))
                for i in range(len(item))
            ],
        )

    def from_message(self, message: Classification) -> results.Classification:
        """Build the object; classes are numbered in order of appearance."""
        scores = to_scores([r.score for r in message.results], "Classification")
        return results.Classification(
            class_ids=np.arange(len(message.results), dtype=np.int32),
            scores=scores,
            labels=tuple(r.class_id for r in message.results),
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )
