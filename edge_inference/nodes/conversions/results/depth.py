"""A depth map as ``sensor_msgs/Image``."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core import results
from edge_inference.nodes.conversions.headers import stamp_ns
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.results.planes import MAP_BYTES, to_pixels, to_plane


class DepthAdapter(Adapter[results.DepthMap]):
    """DepthMap as a 32FC1 ``sensor_msgs/Image`` (REP 118)."""

    message_type = Image
    bounds = MessageBounds(size=MAP_BYTES)
    _images = ImageAdapter()

    def to_message(self, item: results.DepthMap) -> Image:
        """Build the message."""
        return self._images.to_message(to_plane(item.depth.astype(np.float32), "32FC1", item))

    def from_message(self, message: Image) -> results.DepthMap:
        """Build the object; the unit is metres by REP 118, because an Image has no unit."""
        return results.DepthMap(
            depth=to_pixels(message, {"32FC1": np.float32}),
            unit="m",
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )
