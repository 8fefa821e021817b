"""Detections as ``edge_inference/DetectionArray``, where vision_msgs is not installed."""

from __future__ import annotations

import numpy as np

from edge_inference import msg as own
from edge_inference.composition.adapter import Adapter
from edge_inference.core import results
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.results.bounds import (
    RESULT_BOUNDS,
    labels_by_class,
    to_boxes,
    to_scores,
)


class DetectionArrayAdapter(Adapter[results.Detections]):
    """Detections as ``edge_inference/DetectionArray``."""

    message_type = own.DetectionArray
    bounds = RESULT_BOUNDS

    def to_message(self, item: results.Detections) -> own.DetectionArray:
        """Build the message; boxes become x, y, width, height."""
        return own.DetectionArray(
            header=to_header(item.stamp_ns, item.frame_id),
            model=item.model,
            source_width=item.source_width or 0,
            source_height=item.source_height or 0,
            detections=[
                own.Detection(
                    class_id=int(item.class_ids[i]),
                    label=item.label(i),
                    score=float(item.scores[i]),
                    x=x1,
                    y=y1,
                    width=x2 - x1,
                    height=y2 - y1,
                )
                for i, (x1, y1, x2, y2) in enumerate(item.boxes.tolist())
            ],
        )

    def from_message(self, message: own.DetectionArray) -> results.Detections:
        """Build the object with only the labels that occur in the message."""
        found = message.detections
        corners = [(d.x, d.y, d.x + d.width, d.y + d.height) for d in found]
        labels = labels_by_class([d.class_id for d in found], [d.label for d in found])
        return results.Detections(
            boxes=to_boxes(corners, "DetectionArray"),
            scores=to_scores([d.score for d in found], "DetectionArray"),
            class_ids=np.array([d.class_id for d in found], dtype=np.int32),
            labels=labels,
            source_width=message.source_width or None,
            source_height=message.source_height or None,
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )
