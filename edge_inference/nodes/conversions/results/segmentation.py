"""Segmentation as ``edge_inference/Segmentation``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_inference import msg as own
from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core import results
from edge_inference.errors import TensorError
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.numbers import SHARE, from_optional, to_optional
from edge_inference.nodes.conversions.results.planes import MAP_BYTES, to_pixels, to_plane

_MASKS: Mapping[str, type[np.generic]] = {"mono8": np.uint8, "16UC1": np.uint16}


class SegmentationAdapter(Adapter[results.Segmentation]):
    """Segmentation as ``edge_inference/Segmentation``; its mask is an Image."""

    message_type = own.Segmentation
    bounds = MessageBounds(size=MAP_BYTES, counts={"labels": 4096})
    _images = ImageAdapter()

    def to_message(self, item: results.Segmentation) -> own.Segmentation:
        """Build the message."""
        encodings = {np.dtype(dtype): name for name, dtype in _MASKS.items()}
        if item.mask.dtype not in encodings:
            raise TensorError(f"mask: expected uint8 or uint16, got {item.mask.dtype}")
        frame = to_plane(item.mask, encodings[item.mask.dtype], item)
        return own.Segmentation(
            header=to_header(item.stamp_ns, item.frame_id),
            model=item.model,
            labels=list(item.labels),
            unknown_id=item.unknown_id,
            score=item.score,
            mask=self._images.to_message(frame),
        )

    def from_message(self, message: own.Segmentation) -> results.Segmentation:
        """Build the object; the mask is a view."""
        return results.Segmentation(
            mask=to_pixels(message.mask, _MASKS),
            labels=tuple(message.labels),
            score=from_optional(to_optional(message.score, SHARE, "Segmentation: score")),
            unknown_id=message.unknown_id,
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )
