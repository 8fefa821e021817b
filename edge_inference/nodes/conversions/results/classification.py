"""Classification as ``edge_inference/ClassificationResult``, where vision_msgs is not installed."""

from __future__ import annotations

from array import array

import numpy as np

from edge_inference import msg as own
from edge_inference.composition.adapter import Adapter
from edge_inference.core import results
from edge_inference.errors import InputError
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.results.bounds import (
    RESULT_BOUNDS,
    labels_by_class,
    to_scores,
)


class ClassificationAdapter(Adapter[results.Classification]):
    """Classification as ``edge_inference/ClassificationResult``."""

    message_type = own.ClassificationResult
    bounds = RESULT_BOUNDS

    def to_message(self, item: results.Classification) -> own.ClassificationResult:
        """Build the message."""
        return own.ClassificationResult(
            header=to_header(item.stamp_ns, item.frame_id),
            model=item.model,
            class_ids=array("i", item.class_ids.tolist()),
            labels=[item.label(i) for i in range(len(item))],
            confidences=array("f", item.scores.tolist()),
        )

    def from_message(self, message: own.ClassificationResult) -> results.Classification:
        """Build the object with only the labels that occur in the message."""
        counts = len(message.class_ids), len(message.labels), len(message.confidences)
        if len(set(counts)) != 1:
            raise InputError(
                "ClassificationResult: expected class_ids, labels, confidences of one length, got "
                f"{counts[0]}, {counts[1]} and {counts[2]}"
            )
        scores = to_scores(message.confidences, "ClassificationResult")
        return results.Classification(
            class_ids=np.array(message.class_ids, dtype=np.int32),
            scores=scores,
            labels=labels_by_class(message.class_ids, message.labels),
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )
