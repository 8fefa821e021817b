"""Keypoints as a ``sensor_msgs/PointCloud2``: a row for each person, a column for each keypoint."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.errors import InputError
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from my_robot.keypoints import NAMES, Keypoints

#: ``x`` and ``y`` in source pixels; ``score`` of the keypoint, ``person_score`` of its person.
_FIELDS = ("x", "y", "z", "score", "person_score")
_STEP = 4 * len(_FIELDS)
_MAX_DISTANCE = 1e6


class KeypointsAdapter(Adapter[Keypoints]):
    """Converts keypoints; a message has neither the image's size nor the model."""

    message_type = PointCloud2
    bounds = MessageBounds(size=2 << 20, counts={"fields": len(_FIELDS)})

    def to_message(self, item: Keypoints) -> PointCloud2:
        """Build the message."""
        cloud = np.zeros((len(item), len(NAMES), len(_FIELDS)), "<f4")
        cloud[..., :2] = item.points
        cloud[..., 3] = item.point_scores
        cloud[..., 4] = item.scores[:, None]
        return PointCloud2(
            header=to_header(item.stamp_ns, item.frame_id),
            height=len(item),
            width=len(NAMES),
            fields=_fields(),
            point_step=_STEP,
            row_step=_STEP * len(NAMES),
            data=cloud.tobytes(),
            is_dense=True,
        )

    def from_message(self, message: PointCloud2) -> Keypoints:
        """Build the object. Raises InputError for another layout and for impossible numbers."""
        size = message.height * _STEP * len(NAMES)
        if (
            list(message.fields) != _fields()
            or (message.width, message.point_step) != (len(NAMES), _STEP)
            or message.is_bigendian
            or len(message.data) != size
        ):
            raise InputError(
                f"keypoints: expected {len(NAMES)} points a row with the fields "
                f"{', '.join(_FIELDS)} in {size} bytes, got {message.width} points of "
                f"{message.point_step} bytes in {len(message.data)} bytes"
            )
        cloud = np.frombuffer(message.data, "<f4").reshape(-1, len(NAMES), len(_FIELDS))
        points, scores = cloud[..., :2], cloud[..., 3:]
        if cloud.size and not np.abs(points).max() <= _MAX_DISTANCE:  # also for NaN
            raise InputError(f"keypoints: expected points within {_MAX_DISTANCE:g} pixels")
        if cloud.size and not (scores.min() >= 0 and scores.max() <= 1):
            raise InputError("keypoints: expected scores from 0 to 1")
        return Keypoints(
            points=points,
            point_scores=scores[..., 0],
            scores=scores[:, 0, 1],
            source_width=None,
            source_height=None,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


def _fields() -> list[PointField]:
    return [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(_FIELDS)
    ]
